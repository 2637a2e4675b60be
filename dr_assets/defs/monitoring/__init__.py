"""Dagster adapters of the monitoring: sensors and the checks they evaluate."""
