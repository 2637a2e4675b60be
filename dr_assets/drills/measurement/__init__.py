"""Drill measurement: commit ledger, client probe, and the RPO and RTO computed from them."""
