"""The MPS wire format, both directions. The only place that reads or writes PascalCase keys."""
