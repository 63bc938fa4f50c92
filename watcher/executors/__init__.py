"""Where units run: one file per kind, its name is the ``type:`` in the configuration."""
