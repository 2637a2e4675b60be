"""Alerting: what people read, how it is delivered at least once, and when a maintenance window keeps it quiet."""
