"""The sensors' policy reaches what the sensors call: IAM is not enforced by the embedded AWS, so this is asserted by rule."""

from typing import Any

from dr_assets.resources.iam_policy import policy
from dr_assets.stack import Stack


def scopes(document: dict[str, Any], action: str) -> set[str]:
    """Every resource on which the document allows the action."""
    found: set[str] = set()
    for statement in document["Statement"]:
        if action in statement["Action"]:
            resources = statement["Resource"]
            found |= {resources} if isinstance(resources, str) else set(resources)
    return found


def test_global_clusters_are_described_without_an_identifier(stack: Stack) -> None:
    """A describe without an identifier is authorised against all clusters (aws/neptune-export#120, DescribeDBClusters)."""
    assert "*" in scopes(policy(stack, write=False, sensors=True), "rds:DescribeGlobalClusters")
    assert "*" not in scopes(policy(stack, write=False), "rds:DescribeGlobalClusters")


def test_publishing_to_the_encrypted_topic_needs_its_key(stack: Stack) -> None:
    """SNS developer guide, "Key management": publishers need kms:GenerateDataKey and kms:Decrypt."""
    document = policy(stack, write=False, sensors=True)
    for action in ("kms:GenerateDataKey", "kms:Decrypt"):
        assert any(":kms:" in arn for arn in scopes(document, action)), action
    assert scopes(policy(stack, write=False), "kms:GenerateDataKey") == set()
