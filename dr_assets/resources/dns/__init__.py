"""Route 53 health checks, private zone, failover records: kinds and rows."""
