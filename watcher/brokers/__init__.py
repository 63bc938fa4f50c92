"""Connections to message brokers, for the sources and the notifiers that use them."""
