"""Answers by which AWS refuses a call for a while only: what was just created or deleted is not known everywhere yet.

Such a call is made again, after a read, until the row's time is over. The rows are those that terraform-provider-aws retries by
name, as far as this stack makes the calls, and those that AWS's API references announce. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PROVIDER = "terraform-provider-aws, internal/service/"


@dataclass(frozen=True)
class NotYet:
    """One such answer.

    service / operation   boto3 names; the operation is a regular expression that must match wholly
    code / message        AWS's error code (whole) and text (anywhere), as regular expressions
    seconds               how long it is waited out, from the first such answer on
    source                where that is from
    """

    service: str
    operation: str
    code: str
    message: str
    seconds: float
    source: str

    def matches(self, service: str, operation: str, code: str, message: str) -> bool:
        return (
            service == self.service
            and re.fullmatch(self.operation, operation) is not None
            and re.fullmatch(self.code, code) is not None
            and re.search(self.message, message, re.IGNORECASE) is not None
        )


# RDS refuses until a person acts: the provider gives up on the first (rds/cluster.go); a stopped cluster or instance is named so. The
# second line has a row of its own below: after a removal or a deletion these pass, soon or never.
_LASTING = (
    r"without a primary instance|\bstopped\b|already in a global cluster"
    r"|part of a global cluster|primary member of global cluster|last instance of the master|non-deleting state"
)
_WRITES = r"(?!delete_|remove_|detach_|disassociate_).*"

NOT_YET: tuple[NotYet, ...] = (
    NotYet(
        "rds",
        r"(create|modify)_db_(cluster|instance)",
        "InvalidParameterValue",
        "IAM role ARN value is invalid or does not include the required permissions",
        120,
        f"{_PROVIDER}rds/cluster.go, cluster_instance.go: propagationTimeout",
    ),
    # The first RDS call of an account that touches its VPC makes RDS create its service-linked role, which IAM shows later.
    NotYet(
        "rds",
        r"create_.*",
        "InvalidParameterValue",
        r"service linked role|ServiceLinkedRoles",
        120,
        "Aurora user guide, Using service-linked roles (wait and try again later); terraform-aws-modules/terraform-aws-rds#364 "
        "(CreateDBSubnetGroup: Missing necessary credentials); aws-samples/aws-fault-injection-simulator-workshop-v2#195",
    ),
    NotYet(
        "rds",
        r"(create|modify|delete)_db_(cluster|instance)|(modify|remove_from)_global_cluster|create_global_cluster",
        r"InvalidDBClusterStateFault|InvalidDBInstanceState|InvalidGlobalClusterStateFault",
        rf"^(?!.*({_LASTING}))",
        600,
        f"{_PROVIDER}rds/cluster.go (InvalidDBClusterStateFault), global_cluster.go",
    ),
    # A member was just removed, or another cluster or instance just deleted, and RDS does not know it yet. Where that is not so
    # (a member of another global cluster, an instance of somebody else), waiting long is in vain.
    NotYet(
        "rds",
        r"delete_db_(cluster|instance)",
        r"InvalidDBClusterStateFault|InvalidGlobalClusterStateFault",
        "part of a global cluster|primary member of global cluster|last instance of the master|non-deleting state",
        120,
        f"{_PROVIDER}rds/cluster.go: clusterTimeoutDelete (is a part of a global cluster)",
    ),
    # DescribeGlobalClusters may list a member for a while after its removal.
    NotYet(
        "rds",
        "remove_from_global_cluster",
        "InvalidParameterValue",
        "is not found in global cluster",
        120,
        f"{_PROVIDER}rds/cluster.go: resourceClusterDelete takes this answer for a removal",
    ),
    NotYet(
        "rds",
        "delete_global_cluster",
        "InvalidGlobalClusterStateFault",
        "is not empty",
        300,
        f"{_PROVIDER}rds/global_cluster.go: globalClusterClusterDeleteTimeout",
    ),
    NotYet(
        "rds",
        r"(delete|reset|modify)_db_(cluster_)?parameter_group",
        "InvalidDBParameterGroupState",
        "",
        180,
        f"{_PROVIDER}rds/cluster_parameter_group.go (has pending changes; in use)",
    ),
    NotYet(
        "rds", "delete_db_subnet_group", "InvalidDBSubnetGroupStateFault", "", 180, f"{_PROVIDER}rds/subnet_group.go"
    ),
    NotYet(
        "rds",
        r"create_db_(cluster|instance)",
        r"DBClusterParameterGroupNotFound|DBParameterGroupNotFound|DBSubnetGroupNotFoundFault|DBClusterNotFoundFault"
        r"|GlobalClusterNotFoundFault",
        "",
        300,
        "Aurora user guide, working with DB cluster parameter groups: wait at least 5 minutes after creation",
    ),
    NotYet(
        "rds",
        r"create_db_(cluster|instance)",
        "KMSKeyNotAccessibleFault",
        "",
        120,
        "AWS KMS API reference: changes are eventually consistent, usually within seconds, at times minutes",
    ),
    NotYet(
        "rds",
        r"(create|modify)_event_subscription",
        "SNSNoAuthorization|SNSTopicArnNotFound|SourceNotFound",
        "",
        120,
        "Amazon SNS developer guide: a topic's policy takes up to 60 seconds to be in force",
    ),
    NotYet(
        "rds",
        "create_db_subnet_group",
        "InvalidSubnet|DBSubnetGroupDoesNotCoverEnoughAZs",
        "",
        60,
        "EC2 API reference, eventual consistency: a subnet just created may not be known to the next call, here RDS's own",
    ),
    NotYet("s3", r"put_.*", "NoSuchBucket", "", 120, f"{_PROVIDER}s3: bucketPropagationTimeout"),
    NotYet(
        "s3",
        "put_bucket_replication",
        "InvalidRequest",
        "Versioning must be 'Enabled' on the bucket|Destination bucket must have versioning enabled",
        120,
        f"{_PROVIDER}s3/bucket_replication_configuration.go (the source's text); the destination's: guess",
    ),
    NotYet("s3", r"put_bucket_policy", "MalformedPolicy", "invalid principal", 120, f"{_PROVIDER}s3/bucket_policy.go"),
    NotYet(
        "s3", _WRITES, "OperationAborted", "", 120, f"{_PROVIDER}s3/bucket.go: a conflicting operation is in progress"
    ),
    NotYet(
        "kms",
        r"create_key|put_key_policy",
        "MalformedPolicyDocumentException",
        "",
        120,
        f"{_PROVIDER}kms/key.go: principals are eventually consistent",
    ),
    NotYet(
        "kms",
        r"(?!create_key$).*",
        "NotFoundException",
        "",
        120,
        f"{_PROVIDER}kms/key.go, alias.go: propagationTimeout",
    ),
    NotYet(
        "kms",
        r"cancel_key_deletion|enable_key.*|(create|update)_alias|tag_resource",
        "KMSInvalidStateException",
        "pending deletion",
        120,
        "AWS KMS API reference, CancelKeyDeletion: eventual consistency",
    ),
    NotYet("kms", "enable_key_rotation", "DisabledException", "", 120, f"{_PROVIDER}kms/key.go: a key just enabled"),
    NotYet(
        "secretsmanager",
        r"create_secret|put_secret_value|restore_secret|tag_resource",
        "InvalidRequestException",
        "scheduled for deletion|was deleted|marked for deletion",
        120,
        f"{_PROVIDER}secretsmanager/secret.go: CreateSecret (scheduled for deletion; was deleted). Secrets Manager's text for the "
        "other calls: marked for deletion; that they pass soon after a restoration: guess",
    ),
    NotYet(
        "secretsmanager",
        "put_resource_policy",
        "MalformedPolicyDocumentException",
        "unsupported principal",
        120,
        f"{_PROVIDER}secretsmanager/secret.go",
    ),
    NotYet(
        "secretsmanager",
        r"put_.*|update_secret|tag_resource",
        "ResourceNotFoundException",
        "",
        120,
        f"{_PROVIDER}secretsmanager/secret.go: RetryWhenNotFound after creation",
    ),
    NotYet(
        "iam",
        r"create_role|update_assume_role_policy",
        "MalformedPolicyDocument",
        "Invalid principal in policy",
        120,
        f"{_PROVIDER}iam/role.go: propagationTimeout",
    ),
    NotYet(
        "iam",
        # create_role: a permissions boundary just made ("Scope ARN: … does not exist or is not attachable").
        r"create_role|put_.*|attach_.*|tag_role|update_.*",
        "NoSuchEntity",
        "",
        120,
        f"{_PROVIDER}iam/role.go: propagationTimeout; hashicorp/boundary#4255 (the text); IAM user guide, Troubleshoot IAM: changes "
        "are not always immediately visible",
    ),
    NotYet("iam", ".*", "ConcurrentModification", "", 120, f"{_PROVIDER}iam/role_policy_attachment.go"),
    NotYet(
        "iam",
        "delete_role|delete_policy",
        "DeleteConflict",
        "",
        120,
        f"{_PROVIDER}iam/role.go: DeleteRole; IAM user guide, Troubleshoot IAM (roles just deleted): changes are not always immediately "
        "visible",
    ),
    NotYet(
        "ec2",
        r"delete_.*",
        r"DependencyViolation|InvalidGroup\.InUse",
        "",
        900,
        f"{_PROVIDER}ec2/vpc_security_group.go, vpc_subnet.go, vpc_.go: network interfaces of deleted instances linger",
    ),
    NotYet(
        "ec2",
        _WRITES,
        r"Invalid\w+\.NotFound",
        "",
        120,
        "EC2 API reference, eventual consistency; terraform-provider-aws, internal/service/ec2: ec2PropagationTimeout, "
        "vpc_peering_connection.go (a request takes time to reach the other region)",
    ),
    NotYet(
        "ec2",
        "accept_vpc_peering_connection",
        "InvalidStateTransition",
        "",
        120,
        f"{_PROVIDER}ec2/vpc_peering_connection.go quotes the answer for a deletion; EC2 API, VpcPeeringConnectionStateReason: the accepting "
        "region may still have the request as initiating-request [guess]",
    ),
    NotYet(
        "sqs", "create_queue", r"(AWS\.SimpleQueueService\.)?QueueDeletedRecently", "", 90, f"{_PROVIDER}sqs/queue.go"
    ),
    NotYet(
        "sqs",
        r"set_queue_attributes|tag_queue",
        r"(AWS\.SimpleQueueService\.)?(NonExistentQueue|QueueDoesNotExist)",
        "",
        120,
        f"{_PROVIDER}sqs/queue.go: queueAttributePropagationTimeout",
    ),
    NotYet(
        "sns", r"subscribe|set_.*|tag_resource", "NotFound", "", 120, f"{_PROVIDER}sns/topic.go: propagationTimeout"
    ),
    NotYet(
        "sns",
        "subscribe|set_topic_attributes",
        "InvalidParameter",
        "(endpoint|queue|principal|policy)",
        60,
        f"{_PROVIDER}sns/topic_policy.go (a principal just created); a new queue: guess",
    ),
    NotYet(
        "logs",
        _WRITES,
        "OperationAbortedException",
        "",
        60,
        "CloudWatch Logs API reference, OperationAbortedException: concurrent requests to the same resource",
    ),
    NotYet("logs", r"delete_.*", "OperationAbortedException", "", 60, f"{_PROVIDER}logs/group.go: try again"),
    NotYet("logs", r"put_.*|tag_.*", "ResourceNotFoundException", "", 60, "a group just created: guess"),
    NotYet(
        "route53",
        ".*",
        "PriorRequestNotComplete|ConcurrentModification",
        "",
        300,
        "Route 53 API reference, PriorRequestNotComplete; terraform-provider-aws, internal/service/route53/zone.go",
    ),
    NotYet(
        "route53",
        "change_resource_record_sets",
        "NoSuchHostedZone|NoSuchHealthCheck",
        "",
        60,
        f"{_PROVIDER}route53/record.go",
    ),
    NotYet(
        "route53",
        "delete_hosted_zone",
        "HostedZoneNotEmpty",
        "",
        60,
        f"{_PROVIDER}route53/zone.go: records just deleted still count",
    ),
)
"""Every row is tested with its answer given a few times, and for ever."""


def not_yet(service: str, operation: str, code: str, message: str) -> NotYet | None:
    """The row that an error answer matches, or None: then the answer is final."""
    return next((row for row in NOT_YET if row.matches(service, operation, code, message)), None)
