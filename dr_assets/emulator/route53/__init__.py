"""The embedded Route 53: health checks, failover records, and a nameserver that answers for them."""
