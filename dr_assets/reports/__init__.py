"""Reports from the history: RPO, RTO, exposure, readiness, what-if; their charts and the evidence pack."""
