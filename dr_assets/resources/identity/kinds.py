"""IAM: roles, managed policies attached to them, inline policies. May import `core` and `kinds.common`.

IAM is global; its control plane is in us-east-1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from dr_assets.core.compare import normal_policy
from dr_assets.core.model import Call, Drift, Kind, Observed, Reads, Target, changed_fields, error_code
from dr_assets.resources.tags import drifted_tags, from_tag_list, to_tag_list

_ABSENT = "NoSuchEntity"


class Role(Kind):
    """desired: AssumeRolePolicy. IAM's own names for it: AssumeRolePolicyDocument when read, PolicyDocument when updated."""

    name = "iam.role"
    label = "IAM role"
    compute_kinds = ("iam",)
    read_actions = ("iam:GetRole",)
    write_actions = ("iam:CreateRole", "iam:UpdateAssumeRolePolicy", "iam:TagRole", "iam:DeleteRole", "iam:PassRole")

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        return {target.key: self._observe(reads, target) for target in batch}

    def _observe(self, reads: Reads, target: Target) -> Observed | None:
        try:
            role = reads.call("iam", "get_role", target.region, RoleName=target.name)["Role"]
        except ClientError as error:
            if error_code(error) == _ABSENT:
                return None
            raise
        return {
            "Name": role["RoleName"],
            "Arn": role["Arn"],
            "AssumeRolePolicy": normal_policy(role["AssumeRolePolicyDocument"]),
            "Tags": from_tag_list(role.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        params = {
            "RoleName": target.name,
            "AssumeRolePolicyDocument": json.dumps(target.desired["AssumeRolePolicy"]),
            "Description": target.settings["Description"],
            "Tags": to_tag_list(target.desired["Tags"]),
        }
        return Call("iam", "create_role", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        if "AssumeRolePolicy" in changed_fields(drift):
            document = json.dumps(target.desired["AssumeRolePolicy"])
            return Call("iam", "update_assume_role_policy", {"RoleName": target.name, "PolicyDocument": document})
        return Call(
            "iam", "tag_role", {"RoleName": target.name, "Tags": to_tag_list(drifted_tags(target.desired, drift))}
        )

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("iam", "delete_role", {"RoleName": target.name})

    def console(self, target: Target) -> str:
        return f"https://console.aws.amazon.com/iam/home#/roles/details/{target.name}"


class RoleAttachment(Kind):
    """name: the managed policy's ARN. identity: RoleName. Present or absent; nothing to change."""

    name = "iam.role_attachment"
    label = "managed policy attachment"
    compute_kinds = ("iam",)
    read_actions = ("iam:ListAttachedRolePolicies",)
    write_actions = ("iam:AttachRolePolicy", "iam:DetachRolePolicy")

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        return {target.key: self._observe(reads, target) for target in batch}

    def _observe(self, reads: Reads, target: Target) -> Observed | None:
        role = target.identity["RoleName"]
        try:
            attached = reads.pages(
                "iam", "list_attached_role_policies", target.region, "AttachedPolicies", RoleName=role
            )
        except ClientError as error:
            if error_code(error) == _ABSENT:
                return None
            raise
        return {"PolicyArn": target.name} if any(p["PolicyArn"] == target.name for p in attached) else None

    def _params(self, target: Target) -> dict[str, Any]:
        return {"RoleName": target.identity["RoleName"], "PolicyArn": target.name}

    def create(self, target: Target) -> Call:
        return Call("iam", "attach_role_policy", self._params(target))

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        return self.create(target)

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("iam", "detach_role_policy", self._params(target))


class RolePolicy(Kind):
    """An inline policy. name: its name. identity: RoleName."""

    name = "iam.role_policy"
    label = "inline role policy"
    compute_kinds = ("iam",)
    read_actions = ("iam:GetRolePolicy",)
    write_actions = ("iam:PutRolePolicy", "iam:DeleteRolePolicy")

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        return {target.key: self._observe(reads, target) for target in batch}

    def _params(self, target: Target) -> dict[str, Any]:
        return {"RoleName": target.identity["RoleName"], "PolicyName": target.name}

    def _observe(self, reads: Reads, target: Target) -> Observed | None:
        try:
            found = reads.call("iam", "get_role_policy", target.region, **self._params(target))
        except ClientError as error:
            if error_code(error) == _ABSENT:
                return None
            raise
        return {"Policy": normal_policy(found["PolicyDocument"])}

    def create(self, target: Target) -> Call:
        return Call(
            "iam", "put_role_policy", {**self._params(target), "PolicyDocument": json.dumps(target.desired["Policy"])}
        )

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        return self.create(target)

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("iam", "delete_role_policy", self._params(target))


KINDS: tuple[Kind, ...] = (Role(), RoleAttachment(), RolePolicy())
