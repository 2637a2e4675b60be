"""S3 export buckets and the replication between them: kinds and rows."""
