"""Thin Dagster adapters, one folder per domain: assets, checks, jobs, schedules, sensors. No logic of their own."""
