"""The history of a stack: samples in Parquet and the records of drills and incidents, on local disk or in S3."""
