"""Where object events come from: one file per kind, its name is the ``type:`` in the configuration."""
