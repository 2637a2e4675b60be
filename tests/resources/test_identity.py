"""IAM: roles and what hangs on them."""

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.core.compare import compare
from dr_assets.core.converge import fixed, remedy
from dr_assets.core.model import Target
from dr_assets.resources.registry import KINDS
from dr_assets.resources.row import GLOBAL_REGION
from dr_assets.stack import SITES, Site, Stack
from tests.support.aws_double import (
    ACCOUNT,
    FakeReads,
    creation,
    deletion,
    error,
    fields,
    look,
    next_call,
    tag_list,
    target,
)

AT = "primary/identity"
MONITORING_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"


BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/aurora-dr-boundary-l6p3z2w4"
ROLE_BOUNDARY = "global/identity/boundary#Arn"  # the double's value of a reference


@pytest.fixture
def role(stack: Stack) -> Target:
    return target(stack, f"{AT}/monitoring-role")


@pytest.fixture
def attachment(stack: Stack) -> Target:
    return target(stack, f"{AT}/monitoring-attachment")


@pytest.fixture
def inline(stack: Stack) -> Target:
    return target(stack, "global/backup/replication-role-policy")


def role_reads(role: Target, trust: Any = None, **tags: str) -> FakeReads:
    shown = {
        "RoleName": role.name,
        "Arn": f"arn:aws:iam::{ACCOUNT}:role/{role.name}",
        "AssumeRolePolicyDocument": trust or role.desired["AssumeRolePolicy"],
        # What AWS documents as the type is "Policy"; botocore's model has the older name alone.
        "PermissionsBoundary": {"PermissionsBoundaryArn": ROLE_BOUNDARY},
        "Tags": tag_list({**role.desired["Tags"], **tags}),
    }
    return FakeReads(KINDS["iam.role"], get_role={"Role": shown})


@pytest.mark.parametrize("site", SITES)
def test_iam_is_asked_where_its_control_plane_is(stack: Stack, site: Site) -> None:
    for name in ("monitoring-role", "monitoring-attachment"):
        assert target(stack, f"{site}/identity/{name}").region == GLOBAL_REGION


def test_a_role_in_order(role: Target) -> None:
    found = look(role_reads(role), role)
    assert found is not None
    assert found["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/{role.name}"
    assert fields(role, found) == []
    assert deletion(role, found) == ("delete_role", {"RoleName": role.name})


def test_iams_own_spelling_of_a_trust_policy_is_no_difference(role: Target) -> None:
    """IAM gives back a text where a list of one was sent."""
    spelt = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "monitoring.rds.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": ACCOUNT},
                "ArnLike": {"aws:SourceArn": f"arn:aws:rds:us-east-1:{ACCOUNT}:db:aurora-primary-instance-*-l6p3z2w4"},
            },
        },
    }
    assert fields(role, look(role_reads(role, spelt), role)) == []


def test_the_roles_next_call(role: Target) -> None:
    everybody = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:*"}]}
    found = look(role_reads(role, everybody, Site="secondary"), role)
    assert fields(role, found) == ["AssumeRolePolicy", "Tags.Site"]
    operation, params = next_call(role, found)
    assert operation == "update_assume_role_policy"
    assert json.loads(params["PolicyDocument"]) == role.desired["AssumeRolePolicy"]
    found = look(role_reads(role, Site="secondary"), role)
    assert next_call(role, found) == (
        "tag_role",
        {"RoleName": role.name, "Tags": [{"Key": "Site", "Value": "primary"}]},
    )


def test_a_role_is_created_with_its_tags(role: Target) -> None:
    operation, params = creation(role)
    assert operation == "create_role"
    assert params["Tags"] == sorted(tag_list(role.desired["Tags"]), key=lambda tag: tag["Key"])
    assert json.loads(params["AssumeRolePolicyDocument"]) == role.desired["AssumeRolePolicy"]


def test_a_role_is_created_within_the_boundary_and_brought_back_into_it_first(role: Target) -> None:
    assert creation(role)[1]["PermissionsBoundary"] == ROLE_BOUNDARY
    shown = {
        "RoleName": role.name,
        "Arn": f"arn:aws:iam::{ACCOUNT}:role/{role.name}",
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []},
        "Tags": tag_list(role.desired["Tags"]),
    }
    found = look(FakeReads(KINDS["iam.role"], get_role={"Role": shown}), role)
    assert fields(role, found) == ["AssumeRolePolicy", "PermissionsBoundary"]
    assert next_call(role, found) == (
        "put_role_permissions_boundary",
        {"RoleName": role.name, "PermissionsBoundary": ROLE_BOUNDARY},
    )


def boundary_reads(of: Target, document: Any = None, **tags: str) -> FakeReads:
    """GetPolicy and GetPolicyVersion, as the IAM API reference has them."""
    shown = {
        "PolicyName": of.name,
        "Arn": BOUNDARY,
        "DefaultVersionId": "v3",
        "Tags": tag_list({**of.desired["Tags"], **tags}),
    }
    version = {"Document": document or of.desired["Policy"], "VersionId": "v3", "IsDefaultVersion": True}
    return FakeReads(KINDS["iam.policy"], get_policy={"Policy": shown}, get_policy_version={"PolicyVersion": version})


def test_aws_20_the_boundary_is_created_and_its_document_never_changed(stack: Stack) -> None:
    """Whoever may change a boundary may lift it (IAM user guide, "Permissions boundaries for IAM entities")."""
    of = target(stack, "global/identity/boundary")
    operation, params = creation(of)
    assert (operation, params["PolicyName"]) == ("create_policy", "aurora-dr-boundary-l6p3z2w4")
    assert json.loads(params["PolicyDocument"]) == of.desired["Policy"]
    assert fields(of, look(boundary_reads(of), of)) == []
    retagged = look(boundary_reads(of, Site="primary"), of)
    assert next_call(of, retagged) == (
        "tag_policy",
        {"PolicyArn": BOUNDARY, "Tags": [{"Key": "Site", "Value": "global"}]},
    )
    wide = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    widened = look(boundary_reads(of, wide, Site="primary"), of)
    assert fields(of, widened) == ["Policy", "Tags.Site"]
    policy, tags = compare(of.desired, widened or {})
    assert fixed(KINDS[of.kind], policy)
    assert not fixed(KINDS[of.kind], tags)
    assert "As an administrator, run `dr permissions --boundary" in remedy(KINDS[of.kind], [policy])
    gone = FakeReads(KINDS["iam.policy"], get_policy=error("NoSuchEntity", status=404))
    assert look(gone, of) is None
    assert deletion(of, retagged) == ("delete_policy", {"PolicyArn": BOUNDARY})


def test_a_boundary_s_other_versions_are_deleted_before_it(stack: Stack) -> None:
    """IAM API, DeletePolicy: "you must delete all the policy's versions", the default one goes with the policy."""
    of = target(stack, "global/identity/boundary")
    observed = look(boundary_reads(of), of)
    versions = [{"VersionId": each, "IsDefaultVersion": each == "v3"} for each in ("v3", "v2", "v1")]
    reads = FakeReads(KINDS["iam.policy"], list_policy_versions={"Versions": versions, "IsTruncated": False})
    kind = KINDS["iam.policy"]
    before = kind.before_delete(reads, of, observed or {})
    assert deletion(of, before) == ("delete_policy_version", {"PolicyArn": BOUNDARY, "VersionId": "v2"})


def test_aws_20_the_boundary_permits_what_the_roles_policies_do(stack: Stack) -> None:
    """A boundary that lacks a permission takes it away, without an error anywhere but in the service that misses it."""
    boundary = target(stack, "global/identity/boundary").desired["Policy"]
    replication = target(stack, "global/backup/replication-role-policy").desired["Policy"]
    within = {
        (action, resource)
        for each in boundary["Statement"]
        for action in each["Action"]
        for resource in each["Resource"]
    }
    for statement in replication["Statement"]:
        for action in statement["Action"]:
            for named in statement["Resource"]:
                # The double's value of a reference to a key.
                resource = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1" if named.endswith("-key#Arn") else named
                assert any(action == allowed and fnmatchcase(resource, pattern) for allowed, pattern in within), (
                    action,
                    resource,
                )


def test_the_attachment(attachment: Target) -> None:
    kind = KINDS["iam.role_attachment"]
    both = {"RoleName": "rds-monitoring-role-primary-l6p3z2w4", "PolicyArn": MONITORING_POLICY}
    other = {"PolicyName": "Other", "PolicyArn": "arn:aws:iam::aws:policy/Other"}
    ours = {"PolicyName": "AmazonRDSEnhancedMonitoringRole", "PolicyArn": MONITORING_POLICY}
    assert look(FakeReads(kind, list_attached_role_policies={"AttachedPolicies": [other]}), attachment) is None
    found = look(FakeReads(kind, list_attached_role_policies={"AttachedPolicies": [other, ours]}), attachment)
    assert found == {"PolicyArn": MONITORING_POLICY}
    assert creation(attachment) == ("attach_role_policy", both)
    assert deletion(attachment, found) == ("detach_role_policy", both)


def test_the_inline_policy(inline: Target) -> None:
    kind = KINDS["iam.role_policy"]
    name = {"RoleName": inline.identity["RoleName"], "PolicyName": inline.name}
    document = inline.desired["Policy"]
    found = look(FakeReads(kind, get_role_policy={**name, "PolicyDocument": document}), inline)
    assert fields(inline, found) == []
    wide = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    found = look(FakeReads(kind, get_role_policy={**name, "PolicyDocument": wide}), inline)
    assert fields(inline, found) == ["Policy"]
    assert next_call(inline, found) == creation(inline)
    operation, params = creation(inline)
    assert operation == "put_role_policy"
    assert json.loads(params["PolicyDocument"]) == document
    assert deletion(inline, found) == ("delete_role_policy", name)


def test_nothing_of_the_kind_is_absent_and_a_refusal_is_not(role: Target, attachment: Target, inline: Target) -> None:
    asked = ((role, "get_role"), (attachment, "list_attached_role_policies"), (inline, "get_role_policy"))
    for of, operation in asked:
        assert look(FakeReads(KINDS[of.kind], **{operation: error("NoSuchEntity", status=404)}), of) is None
        with pytest.raises(ClientError):
            look(FakeReads(KINDS[of.kind], **{operation: error("AccessDenied", status=403)}), of)
