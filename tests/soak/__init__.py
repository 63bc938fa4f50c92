"""Discovery for as long as one likes, with faults all the time: ``python -m tests.soak 3600`` runs for an hour."""
