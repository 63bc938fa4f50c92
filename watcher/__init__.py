"""watcher: drop a file in a bucket, and what should happen to it happens: once, fast, and visibly."""

__version__ = "0.1.0"
