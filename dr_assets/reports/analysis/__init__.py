"""The figures of the reports, as pure functions over samples and records: RPO, RTO, exposure, readiness."""
