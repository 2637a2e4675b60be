"""The one comparison that serves every kind, and the one spelling of policies."""

import json

import pytest

from dr_assets.core.compare import compare, normal_policy
from dr_assets.core.expressions import Unresolved


def fields(desired: dict, observed: dict, owned: frozenset[str] = frozenset()) -> list[str]:
    return [item.field for item in compare(desired, observed, owned)]


def test_only_desired_fields_are_compared() -> None:
    assert fields({"A": 1}, {"A": 1, "B": 2}) == []
    assert fields({"A": 1}, {"A": 2}) == ["A"]
    assert fields({"A": 1}, {}) == ["A"]


def test_lists_have_no_order() -> None:
    assert fields({"A": ["x", "y"]}, {"A": ["y", "x"]}) == []
    assert fields({"A": ["x", "y"]}, {"A": ["x"]}) == ["A"]
    assert fields({"A": ["x"]}, {"A": ["x", "x"]}) == ["A"]


def test_fields_that_aws_owns_are_never_drift() -> None:
    assert fields({"EngineVersion": "14.13"}, {"EngineVersion": "14.15"}, frozenset({"EngineVersion"})) == []


def test_tags_are_told_one_by_one_and_may_have_company() -> None:
    want = {"Tags": {"DR-Tier": "critical", "Site": "primary"}}
    assert fields(want, {"Tags": {"DR-Tier": "low", "Site": "primary", "CostCentre": "7"}}) == ["Tags.DR-Tier"]
    assert fields(want, {}) == ["Tags.DR-Tier", "Tags.Site"]


def test_either_of_our_tools_may_own_a_resource_and_nobody_else() -> None:
    want = {"Tags": {"ManagedBy": "dr-assets"}}
    assert fields(want, {"Tags": {"ManagedBy": "terraform"}}) == []
    assert fields(want, {"Tags": {"ManagedBy": "somebody"}}) == ["Tags.ManagedBy"]
    assert fields(want, {"Tags": {}}) == ["Tags.ManagedBy"]


def test_a_parameter_set_beside_ours_is_drift() -> None:
    drift = compare(
        {"Parameters": {"log_statement": "all"}}, {"Parameters": {"log_statement": "all", "rds.global_db_rpo": "20"}}
    )
    assert [(d.field, d.desired, d.observed) for d in drift] == [("Parameters.rds.global_db_rpo", None, "20")]


def test_a_reference_to_nothing_is_drift() -> None:
    assert fields({"KmsKeyId": Unresolved("primary/encryption/data-key", "Arn")}, {"KmsKeyId": "arn:x"}) == ["KmsKeyId"]


def test_policies_have_one_spelling() -> None:
    one = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Deny",
            "Action": "s3:*",
            "Principal": "*",
            "Resource": ["b", "a"],
            "Condition": {"Bool": {"aws:SecureTransport": False}},
        },
    }
    two = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Resource": ["a", "b"],
                "Action": ["s3:*"],
                "Effect": "Deny",
                "Principal": "*",
                "Condition": {"Bool": {"aws:SecureTransport": ["false"]}},
            }
        ],
    }
    assert normal_policy(one) == normal_policy(two)
    assert normal_policy({"Statement": []}) != normal_policy(one)


# One statement as it is sent, and what AWS may answer for it. IAM user guide, "AWS JSON policy elements: Principal": "*" and {"AWS": "*"}
# are equivalent in resource-based policies, and so are an account's number and arn:aws:iam::NUMBER:root. "Action": the names are
# case-insensitive. "Condition": context key names are not case-sensitive. SNS and SQS write their own prefix in capitals
# (SNS developer guide, default topic policy: "SNS:Publish", "AWS:SourceOwner").
SENT = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": ["sqs:SendMessage"],
    "Resource": ["arn:aws:sqs:us-east-1:123456789012:q"],
    "Condition": {"Bool": {"aws:SecureTransport": ["false"]}},
}
ROOT = {"AWS": ["arn:aws:iam::123456789012:root"]}


@pytest.mark.parametrize(
    "sent, answered",
    [
        ({}, {"Principal": {"AWS": "*"}}),
        ({"Principal": {"AWS": ["*"]}}, {"Principal": "*"}),
        ({"Principal": ROOT}, {"Principal": {"AWS": "123456789012"}}),
        ({}, {"Action": "SQS:SendMessage"}),
        ({}, {"Condition": {"Bool": {"AWS:SecureTransport": "false"}}}),
    ],
)
def test_aws_policies_that_mean_the_same_are_no_drift(sent: dict, answered: dict) -> None:
    want, have = (
        {"Policy": normal_policy({"Version": "2012-10-17", "Statement": [{**SENT, **change}]})}
        for change in (sent, {**sent, **json.loads(json.dumps(answered))})
    )
    assert fields(want, have) == []


@pytest.mark.parametrize(
    "answered",
    [
        {"Principal": {"Service": "*"}},
        {"Principal": {"AWS": "123456789012"}},
        {"Action": "sqs:*"},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
        {"Condition": {"StringEquals": {"aws:SecureTransport": "false"}}},
        {"Resource": "arn:aws:sqs:us-east-1:123456789012:Q"},
        {"Effect": "Allow"},
    ],
)
def test_policies_that_mean_something_else_are_drift(answered: dict) -> None:
    want, have = (
        {"Policy": normal_policy({"Version": "2012-10-17", "Statement": [{**SENT, **change}]})}
        for change in ({}, answered)
    )
    assert fields(want, have) == ["Policy"]
