"""S3 export buckets with cross-region replication (not Aurora's own backups): kinds and rows."""
