"""The table of answers that mean "not yet": each row against answers as AWS's documents and terraform-provider-aws quote them."""

import pytest

from dr_assets.core.not_yet import NOT_YET, not_yet

# (service, operation, code, message): the texts stand in the comments and tests of terraform-provider-aws, in botocore's service
# models, or in the API references.
ANSWERS = [
    (
        "rds",
        "create_db_instance",
        "InvalidParameterValue",
        "IAM role ARN value is invalid or does not include the required permissions for: ENHANCED_MONITORING",
    ),
    (
        "rds",
        "create_db_cluster",
        "InvalidParameterValue",
        "IAM role ARN value is invalid or does not include the required permissions",
    ),
    (
        "rds",
        "modify_db_cluster",
        "InvalidDBClusterStateFault",
        "Cannot modify engine version without a healthy primary instance",
    ),
    # terraform-aws-modules/terraform-aws-rds#364, crossplane-contrib/provider-aws#479: the first RDS call of a new account
    (
        "rds",
        "create_db_subnet_group",
        "InvalidParameterValue",
        "Missing necessary credentials. Please check "
        "http://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAM.ServiceLinkedRoles.html",
    ),
    # aws-samples/eks-workshop-v2#1609; RDS user guide, "Using service-linked roles"
    (
        "rds",
        "create_db_cluster",
        "InvalidParameterValue",
        "Unable to create the resource. Verify that you have permission to create service linked role. Otherwise wait and try again later",
    ),
    # terraform-provider-aws, rds/cluster.go: resourceClusterDelete
    (
        "rds",
        "remove_from_global_cluster",
        "InvalidParameterValue",
        "Cluster arn:aws:rds:us-west-2:123456789012:cluster:x is not found in global cluster y",
    ),
    # the wording as quoted for a deletion in terraform-provider-aws, ec2/vpc_peering_connection.go
    (
        "ec2",
        "accept_vpc_peering_connection",
        "InvalidStateTransition",
        "Invalid state transition for pcx-0000000000000000, attempted to transition from initiating-request to active",
    ),
    # RDS API, CreateDBSubnetGroup: InvalidSubnet
    (
        "rds",
        "create_db_subnet_group",
        "InvalidSubnet",
        "The requested subnet is invalid, or multiple subnets were requested that are not all in a common VPC.",
    ),
    # hashicorp/boundary#4255
    (
        "iam",
        "create_role",
        "NoSuchEntity",
        "Scope ARN: arn:aws:iam::123456789012:policy/x does not exist or is not attachable.",
    ),
    ("iam", "delete_policy", "DeleteConflict", "Cannot delete a policy attached to entities."),
    ("kms", "enable_key", "KMSInvalidStateException", "arn:aws:kms:us-east-1:123456789012:key/x is pending deletion."),
    # terraform-provider-aws, rds/cluster.go: retried after the cluster's removal
    (
        "rds",
        "delete_db_cluster",
        "InvalidDBClusterStateFault",
        "This cluster is a part of a global cluster, please remove it from globalcluster first",
    ),
    ("rds", "create_global_cluster", "InvalidDBClusterStateFault", "Source cluster is not in available state"),
    (
        "rds",
        "delete_global_cluster",
        "InvalidGlobalClusterStateFault",
        "Global Cluster arn:aws:rds::123456789012:global-cluster:x is not empty",
    ),
    (
        "rds",
        "delete_db_parameter_group",
        "InvalidDBParameterGroupState",
        "One or more database instances are still members of this parameter group x",
    ),
    (
        "rds",
        "reset_db_cluster_parameter_group",
        "InvalidDBParameterGroupState",
        "The parameter group x has pending changes",
    ),
    (
        "rds",
        "delete_db_subnet_group",
        "InvalidDBSubnetGroupStateFault",
        "Cannot delete the subnet group because at least one database is still using it",
    ),
    ("rds", "create_db_cluster", "DBClusterParameterGroupNotFound", "DBClusterParameterGroup not found: x"),
    (
        "rds",
        "create_db_cluster",
        "KMSKeyNotAccessibleFault",
        "The specified KMS key does not exist, is not enabled or you do not have permissions",
    ),
    (
        "rds",
        "create_event_subscription",
        "SNSNoAuthorization",
        "You do not have permission to publish to the SNS topic ARN",
    ),
    ("s3", "put_bucket_versioning", "NoSuchBucket", "The specified bucket does not exist"),
    (
        "s3",
        "put_bucket_replication",
        "InvalidRequest",
        "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
    ),
    ("s3", "put_bucket_policy", "MalformedPolicy", "Invalid principal in policy"),
    (
        "s3",
        "create_bucket",
        "OperationAborted",
        "A conflicting conditional operation is currently in progress against this resource. Please try again.",
    ),
    (
        "kms",
        "create_key",
        "MalformedPolicyDocumentException",
        "Policy contains a statement with one or more invalid principals.",
    ),
    (
        "kms",
        "put_key_policy",
        "MalformedPolicyDocumentException",
        "Policy contains a statement with one or more invalid principals.",
    ),
    ("kms", "create_alias", "NotFoundException", "Key 'arn:aws:kms:us-east-1:123456789012:key/x' does not exist"),
    ("kms", "enable_key_rotation", "DisabledException", "arn:aws:kms:us-east-1:123456789012:key/x is disabled."),
    (
        "secretsmanager",
        "create_secret",
        "InvalidRequestException",
        "You can't create this secret because a secret with this name is already scheduled for deletion.",
    ),
    (
        "secretsmanager",
        "put_resource_policy",
        "MalformedPolicyDocumentException",
        "This resource policy contains an unsupported principal.",
    ),
    (
        "secretsmanager",
        "put_secret_value",
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret.",
    ),
    (
        "iam",
        "create_role",
        "MalformedPolicyDocument",
        'Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:role/x"',
    ),
    ("iam", "put_role_policy", "NoSuchEntity", "The role with name x cannot be found."),
    (
        "iam",
        "attach_role_policy",
        "ConcurrentModification",
        "The request was rejected because multiple requests to change this object were submitted simultaneously.",
    ),
    ("iam", "delete_role", "DeleteConflict", "Cannot delete entity, must detach all policies first."),
    ("ec2", "delete_security_group", "DependencyViolation", "resource sg-1 has a dependent object"),
    ("ec2", "delete_subnet", "DependencyViolation", "The subnet 'subnet-1' has dependencies and cannot be deleted."),
    ("ec2", "delete_vpc", "DependencyViolation", "The vpc 'vpc-1' has dependencies and cannot be deleted."),
    ("ec2", "create_subnet", "InvalidVpcID.NotFound", "The vpc ID 'vpc-1' does not exist"),
    (
        "ec2",
        "accept_vpc_peering_connection",
        "InvalidVpcPeeringConnectionID.NotFound",
        "The vpcPeeringConnection ID 'pcx-1' does not exist",
    ),
    (
        "sqs",
        "create_queue",
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    ),
    ("sqs", "set_queue_attributes", "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."),
    ("sns", "subscribe", "NotFound", "Topic does not exist"),
    ("sns", "subscribe", "InvalidParameter", "Invalid parameter: SQS endpoint ARN"),
    (
        "logs",
        "create_log_group",
        "OperationAbortedException",
        "A conflicting operation is currently in progress against this resource. Please try again.",
    ),
    (
        "logs",
        "delete_log_group",
        "OperationAbortedException",
        "A conflicting operation is currently in progress against this resource. Please try again.",
    ),
    ("logs", "put_retention_policy", "ResourceNotFoundException", "The specified log group does not exist."),
    (
        "route53",
        "change_resource_record_sets",
        "PriorRequestNotComplete",
        "The request was rejected because Route 53 was still processing a prior request.",
    ),
    ("route53", "change_resource_record_sets", "NoSuchHostedZone", "No hosted zone found with ID: Z1"),
    (
        "route53",
        "delete_hosted_zone",
        "HostedZoneNotEmpty",
        "The specified hosted zone contains non-required resource record sets and so cannot be deleted.",
    ),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: f"{answer[1]}-{answer[2]}")
def test_aws_13_answers_that_pass_with_time_are_known_with_a_bound(answer: tuple[str, str, str, str]) -> None:
    row = not_yet(*answer)
    assert row is not None
    assert 60 <= row.seconds <= 900
    assert row.source


def test_aws_13_every_row_is_met_by_an_answer() -> None:
    assert {not_yet(*answer) for answer in ANSWERS} == set(NOT_YET)


@pytest.mark.parametrize(
    "answer",
    [
        ("rds", "create_db_instance", "InvalidParameterValue", "Invalid DB engine"),
        ("rds", "create_db_cluster", "AccessDenied", "User is not authorized to perform rds:CreateDBCluster"),
        # terraform-provider-aws, rds/cluster.go: not retried
        (
            "rds",
            "modify_db_cluster",
            "InvalidDBClusterStateFault",
            "Cannot modify engine version without a primary instance in DB cluster x",
        ),
        ("rds", "modify_db_cluster", "InvalidDBClusterStateFault", "DB cluster x is stopped"),
        ("rds", "create_db_instance", "InvalidDBClusterStateFault", "The DB cluster x is in the stopped state"),
        (
            "rds",
            "create_global_cluster",
            "InvalidDBClusterStateFault",
            "Source cluster arn:aws:rds:us-east-1:123456789012:cluster:x is already in a global cluster",
        ),
        (
            "rds",
            "modify_db_cluster",
            "InvalidDBClusterStateFault",
            "This cluster is a part of a global cluster, please remove it from globalcluster first",
        ),
        ("s3", "put_bucket_replication", "InvalidRequest", "Destination bucket must exist."),
        ("ec2", "delete_vpc", "InvalidVpcID.NotFound", "The vpc ID 'vpc-1' does not exist"),
        ("kms", "create_key", "LimitExceededException", "You have reached the limit of keys"),
        ("ec2", "create_vpc", "VpcLimitExceeded", "The maximum number of VPCs has been reached."),
    ],
)
def test_final_answers_are_not_waited_out(answer: tuple[str, str, str, str]) -> None:
    assert not_yet(*answer) is None


def test_a_refusal_that_may_be_final_is_waited_out_for_two_minutes_only() -> None:
    """RDS gives the same text for a member just removed and for one that nobody removes."""
    text = "This cluster is a part of a global cluster, please remove it from globalcluster first"
    row = not_yet("rds", "delete_db_cluster", "InvalidDBClusterStateFault", text)
    assert row is not None and row.seconds == 120
    text = "Unable to delete cluster that is a primary member of global cluster while there are other global cluster members"
    row = not_yet("rds", "delete_db_cluster", "InvalidGlobalClusterStateFault", text)
    assert row is not None and row.seconds == 120
