"""Dagster adapters of the history and the reports: assets and schedules."""
