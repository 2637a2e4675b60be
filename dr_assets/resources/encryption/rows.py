"""Encryption: each site's key for data and key for notifications, with alias and policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr_assets.core.compare import normal_policy
from dr_assets.core.expressions import Ref, Text
from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.row import resource
from dr_assets.stack import Site, Stack

# Without these, an alarm or an RDS event that is published to the encrypted topic is lost without a trace.
PUBLISHERS = ("cloudwatch.amazonaws.com", "events.rds.amazonaws.com", "sns.amazonaws.com")


LOST = "a failover would leave an unreadable cluster"
LOST_WITH_KEY = {"data": LOST, "notifications": "alerts would be lost on their way"}


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    yield from _pair(stack, site, "data", names.data_key(stack, site), _data_policy(stack, site))
    yield from _pair(stack, site, "notifications", names.notifications_key(stack, site), _notifications_policy(stack))


def _pair(stack: Stack, site: Site, purpose: str, name: str, policy: dict[str, Any]) -> Iterator[Resource]:
    at = f"{site}/encryption"
    yield resource(
        stack,
        f"{at}/{purpose}-key",
        "kms.key",
        name,
        {"Enabled": True, "KeyRotationEnabled": True, "Policy": normal_policy(policy)},
        identity={"AliasName": f"alias/{name}", "TaskID": stack.environment_suffix},
        settings={"Description": f"DR Assets: {purpose} of the {site} site"},
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
    return {
        "Sid": "AccountAdministration",
        "Effect": "Allow",
        "Principal": {"AWS": names.account_root(stack)},
        "Action": "kms:*",
        "Resource": "*",
    }


def _data_policy(stack: Stack, site: Site) -> dict[str, Any]:
    """RDS acts with the caller's rights (kms:ViaService), and makes grants for the volumes it keeps encrypted."""
    through_rds = {"kms:CallerAccount": Text("{account}"), "kms:ViaService": f"rds.{stack.region(site)}.amazonaws.com"}
    return {
        "Version": "2012-10-17",
        "Statement": [
            _root(stack),
            {
                "Sid": "UseThroughRDS",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
                "Resource": "*",
                "Condition": {"StringEquals": through_rds},
            },
            {
                "Sid": "GrantsForRDS",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"],
                "Resource": "*",
                "Condition": {"StringEquals": through_rds, "Bool": {"kms:GrantIsForAWSResource": "true"}},
            },
        ],
    }


def _notifications_policy(stack: Stack) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            _root(stack),
            {
                "Sid": "PublishEncrypted",
                "Effect": "Allow",
                "Principal": {"Service": list(PUBLISHERS)},
                "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:SourceAccount": Text("{account}")}},
            },
        ],
    }
