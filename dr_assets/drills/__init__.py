"""Drills: run, measure and record a switchover, failover or failback."""
