"""Preflight: read-only checks of account, regions, quotas and permissions before the first write to AWS."""
