"""The embedded S3: replication of objects and the parts of bucket policies that are evaluated."""
