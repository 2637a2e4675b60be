"""Monitoring sources: what is polled in AWS and at the databases; their table is in `monitoring/rules.py`."""
