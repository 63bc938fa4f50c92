"""Where task events go: one file per kind, its name is the ``type:`` in the configuration."""
