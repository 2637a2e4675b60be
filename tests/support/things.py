"""What a provisioned stack consists of in AWS, counted past the product: a thing that was made twice shows here."""

from __future__ import annotations

from collections import Counter

from dr_assets.aws import Aws
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack

# Every call with which some kind is created; CREATED_BY asserts that no kind is forgotten.
CREATING = (
    ("cloudwatch", "PutMetricAlarm"),
    *(
        ("ec2", name)
        for name in (
            "CreateVpc",
            "CreateSubnet",
            "CreateRouteTable",
            "AssociateRouteTable",
            "CreateSecurityGroup",
            "CreateVpcPeeringConnection",
            "CreateRoute",
        )
    ),
    *(("iam", name) for name in ("CreatePolicy", "CreateRole", "AttachRolePolicy", "PutRolePolicy")),
    *(("kms", name) for name in ("CreateKey", "CreateAlias")),
    ("logs", "CreateLogGroup"),
    *(
        ("rds", name)
        for name in (
            "CreateGlobalCluster",
            "CreateDBCluster",
            "CreateDBInstance",
            "CreateDBSubnetGroup",
            "CreateDBClusterParameterGroup",
            "CreateDBParameterGroup",
            "CreateEventSubscription",
        )
    ),
    *(("route53", name) for name in ("CreateHealthCheck", "CreateHostedZone", "ChangeResourceRecordSets")),
    *(
        ("s3", name)
        for name in (
            "CreateBucket",
            "PutBucketVersioning",
            "PutBucketEncryption",
            "PutBucketPolicy",
            "PutBucketLifecycleConfiguration",
            "PutBucketReplication",
        )
    ),
    *(("secretsmanager", name) for name in ("CreateSecret", "PutSecretValue")),
    *(("sns", name) for name in ("CreateTopic", "SetTopicAttributes", "Subscribe")),
    *(("sqs", name) for name in ("CreateQueue", "SetQueueAttributes")),
)


def things(stack: Stack) -> dict[str, int]:
    """How many there are of what AWS lets exist twice under one name or tag."""
    aws, count = Aws(), Counter[str]()
    for region in (stack.primary_region, stack.secondary_region):
        reads = aws.reads()
        for name, operation, result in (
            ("ec2.vpc", "describe_vpcs", "Vpcs"),
            ("ec2.subnet", "describe_subnets", "Subnets"),
            ("ec2.security_group", "describe_security_groups", "SecurityGroups"),
            ("ec2.route_table", "describe_route_tables", "RouteTables"),
        ):
            filters = [{"Name": "tag:TaskID", "Values": [stack.environment_suffix]}]
            count[name] += len(reads.pages("ec2", operation, region, result, Filters=filters))
        for key in reads.pages("kms", "list_keys", region, "Keys"):
            meta = reads.call("kms", "describe_key", region, KeyId=key["KeyId"])["KeyMetadata"]
            count["kms.key"] += meta["KeyManager"] == "CUSTOMER"
    count["route53.health_check"] = len(aws.reads().pages("route53", "list_health_checks", "us-east-1", "HealthChecks"))
    count["route53.zone"] = len(aws.reads().pages("route53", "list_hosted_zones", "us-east-1", "HostedZones"))
    return dict(count)


def wanted(stack: Stack, found: dict[str, int]) -> dict[str, int]:
    kinds = Counter(resource.kind for resource in catalog(stack))
    return {name: kinds[name] for name in found}
