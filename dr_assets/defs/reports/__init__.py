"""Dagster adapters of the history and the reports: assets, checks, schedules."""
