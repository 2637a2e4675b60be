"""Thin Dagster adapters over `world` and `core`: assets, checks, jobs, schedules. No logic of their own."""
