"""DR Assets: a two-region disaster-recovery stack on AWS, provisioned, verified and rehearsed through Dagster."""
