"""What is done to media: one file per kind of step, named as in ``watcher.model.inputs.KINDS``."""
