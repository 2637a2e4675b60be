"""Dagster adapters of the drills: jobs, schedules."""
