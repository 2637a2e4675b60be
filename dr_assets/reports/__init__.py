"""Reports from the history: RPO, RTO, exposure, readiness, what-if; their pictures and the evidence pack. Imports nothing."""
