"""The MPS API over HTTP: one address, actions by name (contract api.md)."""
