"""Dagster adapters of the stack's resources: assets, checks, jobs, schedules."""
