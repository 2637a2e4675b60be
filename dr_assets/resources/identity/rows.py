"""Identity: the role with which each site's instances send enhanced-monitoring figures, and the boundary of all roles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr_assets.core.expressions import Ref, Text
from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.row import GLOBAL_REGION, from_source, policy, resource, statement, trust
from dr_assets.stack import SITES, Site, Stack

BOUNDARY = Ref("global/identity/boundary", "Arn")
LOST = "the database's own monitoring would be blind"


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    role = names.monitoring_role(stack, site)
    yield resource(
        stack,
        f"{site}/identity/monitoring-role",
        "iam.role",
        role,
        {
            "AssumeRolePolicy": trust("monitoring.rds.amazonaws.com", from_source(names.instances_arn(stack, site))),
            "PermissionsBoundary": BOUNDARY,
        },
        region=GLOBAL_REGION,
        settings={"Description": f"Enhanced monitoring of the {site} Aurora instances"},
        terraform=f"module.{site}.aws_iam_role.monitoring",
        title="Lets RDS deliver operating-system figures of the instances to CloudWatch Logs.",
    )
    yield resource(
        stack,
        f"{site}/identity/monitoring-attachment",
        "iam.role_attachment",
        names.monitoring_policy(stack),
        {},
        tagged=False,
        region=GLOBAL_REGION,
        identity={"RoleName": role},
        after=(f"{site}/identity/monitoring-role",),
        terraform=f"module.{site}.aws_iam_role_policy_attachment.monitoring",
        title="AWS's own policy for enhanced monitoring, attached to the role.",
    )


def global_rows(stack: Stack) -> Iterator[Resource]:
    yield resource(
        stack,
        "global/identity/boundary",
        "iam.policy",
        names.boundary(stack),
        {"Policy": boundary(stack)},
        region=GLOBAL_REGION,
        settings={"Description": "The most that the roles of this stack may ever be permitted"},
        terraform="aws_iam_policy.boundary",
        lost="the stack's roles could be given any permission",
        title="Limits the stack's roles, whatever their policies say; created once and never changed by provisioning.",
    )


def boundary(stack: Stack) -> dict[str, Any]:
    """All that the stack's roles may ever do: enhanced monitoring as AWS's managed policy permits it, and the replication of
    the two export buckets. A boundary permits nothing by itself."""
    home = stack.primary_region
    logs = names.arn("logs", "log-group:RDS*", region="*", account=names.ACCOUNT, home=home)
    monitoring = ["CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "GetLogEvents"]
    monitoring += ["PutLogEvents", "PutRetentionPolicy"]
    buckets = [names.bucket_arn(stack, site) for site in SITES]
    objects = [names.bucket_arn(stack, site, "/*") for site in SITES]
    through_s3 = {
        "StringEquals": {"kms:ViaService": [f"s3.{stack.region(site)}.amazonaws.com" for site in SITES]},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": [*buckets, *objects]},
    }
    keys = Text(names.arn("kms", "key/*", region="*", account=names.ACCOUNT, home=home))
    copying = ["GetObjectVersionAcl", "GetObjectVersionForReplication", "GetObjectVersionTagging"]
    copying += ["ReplicateDelete", "ReplicateObject", "ReplicateTags"]
    return policy(
        statement([f"logs:{action}" for action in monitoring], Text(logs), sid="EnhancedMonitoring"),
        statement(["s3:GetReplicationConfiguration", "s3:ListBucket"], buckets, sid="ReplicationConfiguration"),
        statement([f"s3:{action}" for action in copying], objects, sid="Replication"),
        statement(
            ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"], keys, sid="ReplicationKeys", condition=through_s3
        ),
    )
