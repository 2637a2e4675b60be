"""The IAM action that each recorded API call needs (Service Authorization Reference)."""

# S3's actions have other names than its operations (Service Authorization Reference, Amazon S3).
S3_ACTIONS = {
    "HeadBucket": "ListBucket",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketReplication": "GetReplicationConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "ListBuckets": "ListAllMyBuckets",
    "ListObjectVersions": "ListBucketVersions",
    "DeleteObjects": "DeleteObjectVersion",
    "GetBucketTagging": "GetBucketTagging",
}
PREFIX = {"monitoring": "cloudwatch"}


def action(call: dict[str, str]) -> str:
    """The action of a call recorded by the embedded AWS, as `service:Operation`."""
    service_name = PREFIX.get(call["service"], call["service"])
    operation = S3_ACTIONS.get(call["operation"], call["operation"]) if service_name == "s3" else call["operation"]
    return f"{service_name}:{operation}"
