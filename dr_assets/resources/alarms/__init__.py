"""CloudWatch alarms of each site: kinds and rows."""
