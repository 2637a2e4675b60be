"""IAM: roles, managed policies attached to them, inline policies, permissions boundaries.

IAM is global; its control plane is in us-east-1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dr_assets.core.compare import normal_policy
from dr_assets.core.model import Call, Drift, Kind, Observed, Reads, Target, changed_fields, permit
from dr_assets.resources.names import arn
from dr_assets.resources.tags import changed_tags, from_tag_list, to_tag_list

_ABSENT = ("NoSuchEntity",)


class Boundary(Kind):
    """A managed policy that serves as permissions boundary. desired: Policy.

    Whoever may change it can lift the limits of the stack's roles, so its document is created and never changed here.
    """

    name = "iam.policy"
    label = "permissions boundary"
    compute_kinds = ("iam",)
    absent_codes = _ABSENT
    resource_arn = "iam::{account}:policy/{name}"
    read_actions = permit("iam:GetPolicy", "iam:GetPolicyVersion")
    write_actions = permit(
        "iam:CreatePolicy", "iam:TagPolicy", "iam:ListPolicyVersions", "iam:DeletePolicyVersion", "iam:DeletePolicy"
    )
    remedies: ClassVar[Mapping[str, str]] = {
        "Policy": "it limits the stack's roles, so provisioning does not change it. As an administrator, run `dr permissions "
        "--boundary --account NUMBER > boundary.json` and `aws iam create-policy-version --policy-document "
        "file://boundary.json --set-as-default --policy-arn` with its ARN. IAM keeps five versions: before a sixth, delete the oldest "
        "with `aws iam delete-policy-version`."
    }
    least_reads = (2, 0)  # the policy with its tags, and the document of its default version
    terraform = ("aws_iam_policy",)
    import_field = "Arn"
    console_url = "https://console.aws.amazon.com/iam/home#/policies"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        of = {"PolicyArn": arn("iam", f"policy/{target.name}", account=reads.account, home=target.region)}
        found = reads.call("iam", "get_policy", target.region, **of)["Policy"]
        version = found["DefaultVersionId"]
        document = reads.call("iam", "get_policy_version", target.region, **of, VersionId=version)["PolicyVersion"]
        return {
            "Arn": found["Arn"],
            "Policy": normal_policy(document["Document"]),
            "Tags": from_tag_list(found.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        params = {
            "PolicyName": target.name,
            "PolicyDocument": json.dumps(target.desired["Policy"]),
            "Description": target.settings["Description"],
            "Tags": to_tag_list(target.desired["Tags"]),
        }
        return Call("iam", "create_policy", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        return Call("iam", "tag_policy", {"PolicyArn": observed["Arn"], "Tags": changed_tags(target, drift)})

    def before_delete(self, reads: Reads, target: Target, observed: Observed) -> Observed:
        """IAM deletes a policy that has its default version alone (IAM API, DeletePolicy): an administrator may have added others."""
        found = reads.pages("iam", "list_policy_versions", target.region, "Versions", PolicyArn=observed["Arn"])
        return {**observed, "Versions": [each["VersionId"] for each in found if not each["IsDefaultVersion"]]}

    def delete(self, target: Target, observed: Observed) -> Call:
        of = {"PolicyArn": observed["Arn"]}
        if others := observed.get("Versions"):
            return Call("iam", "delete_policy_version", {**of, "VersionId": others[0]})
        return Call("iam", "delete_policy", of)


class Role(Kind):
    """desired: AssumeRolePolicy, PermissionsBoundary (its ARN).

    IAM's own names for the former: AssumeRolePolicyDocument when read, PolicyDocument when updated.
    """

    name = "iam.role"
    label = "IAM role"
    compute_kinds = ("iam",)
    absent_codes = _ABSENT
    resource_arn = "iam::{account}:role/{name}"
    read_actions = permit("iam:GetRole")
    write_actions = permit(
        "iam:CreateRole",
        "iam:UpdateAssumeRolePolicy",
        "iam:PutRolePermissionsBoundary",
        "iam:TagRole",
        "iam:DeleteRole",
    )
    least_reads = (1, 0)
    terraform = ("aws_iam_role",)
    console_url = "https://console.aws.amazon.com/iam/home#/roles/details/{name}"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        role = reads.call("iam", "get_role", target.region, RoleName=target.name)["Role"]
        return {
            "Name": role["RoleName"],
            "Arn": role["Arn"],
            "AssumeRolePolicy": normal_policy(role["AssumeRolePolicyDocument"]),
            "PermissionsBoundary": (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn"),
            "Tags": from_tag_list(role.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        params = {
            "RoleName": target.name,
            "AssumeRolePolicyDocument": json.dumps(target.desired["AssumeRolePolicy"]),
            "PermissionsBoundary": target.desired["PermissionsBoundary"],
            "Description": target.settings["Description"],
            "Tags": to_tag_list(target.desired["Tags"]),
        }
        return Call("iam", "create_role", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        # Every other change of a role is permitted only within the boundary.
        if "PermissionsBoundary" in changed_fields(drift):
            boundary = target.desired["PermissionsBoundary"]
            params = {"RoleName": target.name, "PermissionsBoundary": boundary}
            return Call("iam", "put_role_permissions_boundary", params)
        if "AssumeRolePolicy" in changed_fields(drift):
            document = json.dumps(target.desired["AssumeRolePolicy"])
            return Call("iam", "update_assume_role_policy", {"RoleName": target.name, "PolicyDocument": document})
        return Call("iam", "tag_role", {"RoleName": target.name, "Tags": changed_tags(target, drift)})

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("iam", "delete_role", {"RoleName": target.name})


class RoleAttachment(Kind):
    """name: the managed policy's ARN. identity: RoleName. Present or absent; nothing to change."""

    name = "iam.role_attachment"
    label = "managed policy attachment"
    compute_kinds = ("iam",)
    absent_codes = _ABSENT
    read_actions = permit("iam:ListAttachedRolePolicies", on="iam.role")
    write_actions = permit("iam:AttachRolePolicy", "iam:DetachRolePolicy", on="iam.role")
    least_reads = (1, 0)
    terraform = ("aws_iam_role_policy_attachment",)

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        role = target.identity["RoleName"]
        attached = reads.pages("iam", "list_attached_role_policies", target.region, "AttachedPolicies", RoleName=role)
        return {"PolicyArn": target.name} if any(p["PolicyArn"] == target.name for p in attached) else None

    def _params(self, target: Target) -> dict[str, Any]:
        return {"RoleName": target.identity["RoleName"], "PolicyArn": target.name}

    def import_id(self, target: Target, observed: Observed) -> str:
        return f"{target.identity['RoleName']}/{target.name}"

    def create(self, target: Target) -> Call:
        return Call("iam", "attach_role_policy", self._params(target))

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("iam", "detach_role_policy", self._params(target))


class RolePolicy(Kind):
    """An inline policy. name: its name. identity: RoleName."""

    name = "iam.role_policy"
    label = "inline role policy"
    compute_kinds = ("iam",)
    absent_codes = _ABSENT
    read_actions = permit("iam:GetRolePolicy", on="iam.role")
    write_actions = permit("iam:PutRolePolicy", "iam:DeleteRolePolicy", on="iam.role")
    least_reads = (1, 0)
    terraform = ("aws_iam_role_policy",)

    def _params(self, target: Target) -> dict[str, Any]:
        return {"RoleName": target.identity["RoleName"], "PolicyName": target.name}

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        found = reads.call("iam", "get_role_policy", target.region, **self._params(target))
        return {"Policy": normal_policy(found["PolicyDocument"])}

    def import_id(self, target: Target, observed: Observed) -> str:
        return f"{target.identity['RoleName']}:{target.name}"

    def create(self, target: Target) -> Call:
        return Call(
            "iam", "put_role_policy", {**self._params(target), "PolicyDocument": json.dumps(target.desired["Policy"])}
        )

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("iam", "delete_role_policy", self._params(target))


KINDS: tuple[Kind, ...] = (Boundary(), Role(), RoleAttachment(), RolePolicy())
