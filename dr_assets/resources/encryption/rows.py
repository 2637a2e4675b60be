"""Encryption: each site's key for data and key for notifications, with alias and policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr_assets.core.expressions import Ref, Text
from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.row import from_source, policy, resource, statement
from dr_assets.stack import Site, Stack

# Without these, an alarm or an RDS event that is published to the encrypted topic is lost without a trace.
PUBLISHERS = ("cloudwatch.amazonaws.com", "events.rds.amazonaws.com")


LOST = "a failover would leave an unreadable cluster"
LOST_WITH_KEY = {"data": LOST, "notifications": "alerts would be lost on their way"}


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    yield from _pair(stack, site, "data", names.data_key(stack, site), _data_policy(stack, site))
    yield from _pair(
        stack, site, "notifications", names.notifications_key(stack, site), _notifications_policy(stack, site)
    )


def _pair(stack: Stack, site: Site, purpose: str, name: str, document: dict[str, Any]) -> Iterator[Resource]:
    at = f"{site}/encryption"
    description = f"DR Assets: {purpose} of the {site} site"
    yield resource(
        stack,
        f"{at}/{purpose}-key",
        "kms.key",
        name,
        {"Enabled": True, "DeletionDate": None, "KeyRotationEnabled": True, "Policy": document},
        identity={"AliasName": f"alias/{name}", "TaskID": stack.environment_suffix, "Description": description},
        settings={"Description": description},
        terraform=f"module.{site}.aws_kms_key.{purpose}",
        lost=LOST_WITH_KEY[purpose],
        title=f"Customer managed key for {purpose}, rotated every year.",
    )
    yield resource(
        stack,
        f"{at}/{purpose}-alias",
        "kms.alias",
        f"alias/{name}",
        {"TargetKeyId": Ref(f"{at}/{purpose}-key", "KeyId")},
        tagged=False,
        terraform=f"module.{site}.aws_kms_alias.{purpose}",
        lost=LOST_WITH_KEY[purpose],
        title=f"The name under which the {purpose} key is found.",
    )


def _root(stack: Stack) -> dict[str, Any]:
    return statement("kms:*", "*", sid="AccountAdministration", principal={"AWS": names.account_root(stack)})


def _data_policy(stack: Stack, site: Site) -> dict[str, Any]:
    """RDS acts with the caller's rights (kms:ViaService), and creates grants for the volumes it keeps encrypted.

    S3 acts with the replication role, which is named by a condition: as a principal it would have to exist before the key.
    """
    region, everyone = stack.region(site), {"AWS": "*"}
    via_rds = {"kms:CallerAccount": Text(names.ACCOUNT), "kms:ViaService": f"rds.{region}.amazonaws.com"}
    use = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    grants = ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"]
    for_aws = {"StringEquals": via_rds, "Bool": {"kms:GrantIsForAWSResource": "true"}}
    via_s3 = {**via_rds, "kms:ViaService": f"s3.{region}.amazonaws.com"}
    replication = {"StringEquals": via_s3, "ArnEquals": {"aws:PrincipalArn": names.replication_role_arn(stack)}}
    copying = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
    return policy(
        _root(stack),
        statement(use, "*", sid="UseThroughRDS", principal=everyone, condition={"StringEquals": via_rds}),
        statement(grants, "*", sid="GrantsForRDS", principal=everyone, condition=for_aws),
        statement(copying, "*", sid="ReplicateThroughS3", principal=everyone, condition=replication),
    )


def _notifications_policy(stack: Stack, site: Site) -> dict[str, Any]:
    """Publishers encrypt for the topic ("Key management", SNS developer guide, which documents the condition for all services but
    EventBridge); SNS encrypts for the queue it delivers to. Whether it sends KMS aws:SourceAccount then is not documented; its use of
    aws:SourceArn is shown by aws-cdk#20339, and a topic's ARN names the account."""
    use = ["kms:Decrypt", "kms:GenerateDataKey*"]
    delivery = {"ArnLike": {"aws:SourceArn": names.topic_arn(stack, site)}}
    return policy(
        _root(stack),
        statement(use, "*", sid="PublishEncrypted", service=list(PUBLISHERS), condition=from_source()),
        statement(use, "*", sid="DeliverEncrypted", service="sns.amazonaws.com", condition=delivery),
    )
