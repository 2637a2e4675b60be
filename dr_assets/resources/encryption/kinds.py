"""KMS: customer managed keys and their aliases.

A key has no name: ours is found through its alias, or, while that is missing or leads elsewhere, by the tags that are set
in the call that creates it. So neither a crash between key and alias nor removed tags ever make a second key.

A key that is scheduled for deletion can be recovered until its date, and everything encrypted with it is lost afterwards. It is
observed as what it is, and recovered (CancelKeyDeletion, which leaves it disabled, then EnableKey) instead of being replaced:
also the one that a destroyed stack left behind, since its snapshots and exports cannot be read with another.
Source: KMS developer guide, "Deleting AWS KMS keys", and API reference, CancelKeyDeletion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from dr_assets import utc
from dr_assets.core.compare import normal_policy
from dr_assets.core.model import (
    ALL,
    OWN,
    TAGGED,
    UNTAGGED,
    Call,
    Drift,
    Kind,
    Observed,
    Reads,
    Target,
    changed_fields,
    error_code,
    permit,
)
from dr_assets.resources.names import arn
from dr_assets.resources.tags import changed_tags, from_tag_list, to_tag_list

DELETION_DAYS = 7
_TAG = {"key": "TagKey", "value": "TagValue"}


def aliases(reads: Reads, region: str) -> dict[str, str]:
    """Alias name -> key id, of the whole region in one call."""
    found = reads.pages("kms", "list_aliases", region, "Aliases")
    return {alias["AliasName"]: alias["TargetKeyId"] for alias in found if alias.get("TargetKeyId")}


class Key(Kind):
    """identity: AliasName, TaskID, Description. name: the Name tag. `Enabled` false covers a disabled key.

    `DeletionDate` is the time at which KMS destroys the key; None where that is not scheduled.
    """

    name = "kms.key"
    unnamed = True
    adopts_untagged = True
    keeps_data = (
        "What it encrypts is lost with it, so it is never deleted for this: make a key beside it, copy the data to that "
        "(snapshot copy, PutObject), or ask AWS Support."
    )
    label = "KMS key"
    compute_kinds = ("kms",)
    parity = ("Enabled", "KeyRotationEnabled")
    resource_arn = "kms:{region}:{account}:key/*"
    confined = TAGGED
    # Read of every key of the regions: ours is searched among them, and must be found when its tags were changed.
    read_actions = permit(
        "kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags", on=resource_arn
    ) | permit("kms:ListAliases", "kms:ListKeys", on=ALL)
    write_actions = (
        permit(
            "kms:CancelKeyDeletion",
            "kms:EnableKey",
            "kms:EnableKeyRotation",
            "kms:PutKeyPolicy",
            "kms:ScheduleKeyDeletion",
        )
        | permit("kms:TagResource", on=(OWN, UNTAGGED))
        | permit("kms:CreateKey", on=ALL)
    )
    least_reads = (4, 0)  # describe, policy, rotation, tags
    terraform = ("aws_kms_key",)
    import_field = "KeyId"
    console_url = "https://{region}.console.aws.amazon.com/kms/home?region={region}#/kms/keys"

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        return {target.key: self._find(reads, target) for target in batch}

    def _find(self, reads: Reads, target: Target) -> Observed | None:
        region, task = target.region, target.identity["TaskID"]
        names = aliases(reads, region)
        through_alias = names.get(target.identity["AliasName"])
        behind = self._readable_tags(reads, region, through_alias) if through_alias else {}
        if through_alias and behind is not None and behind.get("Name") == target.name:
            found = self._observe(reads, region, through_alias, behind, aliased=True)
            if found:
                return found
        readable, closed, pending, nameless = 0, None, [], []
        for key in reads.pages("kms", "list_keys", region, "Keys"):
            try:
                tags = self._tags(reads, region, key["KeyId"])
            except ClientError as error:
                # Keys of others may be closed to us; ours never are.
                if error_code(error) != "AccessDeniedException":
                    raise
                closed = error
                continue
            readable += 1
            if (tags.get("Name"), tags.get("TaskID")) == (target.name, task):
                found = self._observe(reads, region, key["KeyId"], tags, aliased=key["KeyId"] == through_alias)
                if found and not found["DeletionDate"]:
                    return found
                pending += [found] if found else []
            elif tags.get("TaskID") == task and "Name" not in tags:
                nameless.append((key["KeyId"], tags))
        if closed and not readable:
            raise closed  # no key may be read: ours could be among them, so "absent" would be a guess
        # Ours with its Name tag changed; unless it goes by the name of another alias: then ours was pointed at that one.
        if through_alias and behind and behind.get("TaskID") == task and f"alias/{behind.get('Name')}" not in names:
            return self._observe(reads, region, through_alias, behind, aliased=True)
        if pending:
            # Of several that wait for deletion, the one in use last.
            return max(pending, key=lambda found: str(found["DeletionDate"]))
        return self._without_tags(reads, target, through_alias, behind, nameless)

    def _without_tags(
        self,
        reads: Reads,
        target: Target,
        through_alias: str | None,
        behind: dict[str, str] | None,
        nameless: Sequence[tuple[str, dict[str, str]]],
    ) -> Observed | None:
        """Ours that lost its tags: what it encrypts is still encrypted with it, so a new one must not take its place.

        Raises ClientError where our alias leads to a key that may not be read: it may be ours.
        """
        if through_alias and behind is None:
            self._tags(reads, target.region, through_alias)
        if through_alias and behind is not None and not behind.keys() & {"Name", "TaskID", "ManagedBy"}:
            # No one else can own our alias's name; an absent key (its alias may outlive it) is none.
            return self._observe(reads, target.region, through_alias, behind, aliased=True)
        for key_id, tags in nameless:
            meta = reads.call("kms", "describe_key", target.region, KeyId=key_id)["KeyMetadata"]
            if meta.get("Description") == target.identity["Description"]:
                return self._observe(reads, target.region, key_id, tags, aliased=key_id == through_alias)
        return None

    def _readable_tags(self, reads: Reads, region: str, key_id: str) -> dict[str, str] | None:
        """None where they may not be read."""
        try:
            return self._tags(reads, region, key_id)
        except ClientError as error:
            if error_code(error) == "AccessDeniedException":
                return None
            raise

    def _tags(self, reads: Reads, region: str, key_id: str) -> dict[str, str]:
        try:
            return from_tag_list(reads.pages("kms", "list_resource_tags", region, "Tags", KeyId=key_id), **_TAG)
        except ClientError as error:
            if error_code(error) == "NotFoundException":
                return {}  # gone since it was listed
            raise

    def _observe(self, reads: Reads, region: str, key_id: str, tags: dict[str, str], aliased: bool) -> Observed | None:
        try:
            meta = reads.call("kms", "describe_key", region, KeyId=key_id)["KeyMetadata"]
            policy = reads.call("kms", "get_key_policy", region, KeyId=key_id, PolicyName="default")["Policy"]
            rotation = reads.call("kms", "get_key_rotation_status", region, KeyId=key_id)
        except ClientError as error:
            if error_code(error) == "NotFoundException":
                return None  # destroyed since it was listed
            raise
        return {
            "KeyId": meta["KeyId"],
            "Arn": meta["Arn"],
            "Status": meta["KeyState"],
            "Enabled": meta["Enabled"],
            "DeletionDate": _deletion_date(meta),
            "Aliased": aliased,
            "KeyRotationEnabled": rotation["KeyRotationEnabled"],
            "Policy": normal_policy(json.loads(policy)),
            "Tags": tags,
        }

    def create(self, target: Target) -> Call:
        params = {
            "Description": target.settings["Description"],
            "Policy": json.dumps(target.desired["Policy"]),
            "Tags": to_tag_list(target.desired["Tags"], "TagKey", "TagValue"),
        }
        return Call("kms", "create_key", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        key = {"KeyId": observed["KeyId"]}
        # Nothing else can be changed before; rotation can be switched on for an enabled key only.
        if "DeletionDate" in changed:
            return Call("kms", "cancel_key_deletion", key)
        if "Enabled" in changed:
            return Call("kms", "enable_key", key)
        if "KeyRotationEnabled" in changed:
            return Call("kms", "enable_key_rotation", key)
        if "Policy" in changed:
            return Call(
                "kms",
                "put_key_policy",
                {**key, "PolicyName": "default", "Policy": json.dumps(target.desired["Policy"])},
            )
        return Call("kms", "tag_resource", {**key, "Tags": changed_tags(target, drift, "TagKey", "TagValue")})

    def delete(self, target: Target, observed: Observed) -> Call | None:
        if "TaskID" not in observed["Tags"]:
            return None  # that our alias leads to it is reason enough to tag it, not to destroy what it encrypts
        return Call("kms", "schedule_key_deletion", {"KeyId": observed["KeyId"], "PendingWindowInDays": DELETION_DAYS})

    def released(self, observed: Observed) -> str | None:
        """What `destroy` leaves: a key without its alias, on its way out."""
        if observed["DeletionDate"] is None or observed["Aliased"]:
            return None
        return f"scheduled for deletion on {observed['DeletionDate']}; until then provisioning recovers it"

    def explain(self, drift: Sequence[Drift], observed: Observed) -> str:
        if "DeletionDate" not in changed_fields(drift):
            return ""
        return (
            f"scheduled for deletion: KMS destroys this key on {observed['DeletionDate']}, and nothing that it encrypts can be read again after "
            f"that. Run `dr provision`, which cancels the deletion and enables the key, or at once: aws kms "
            f"cancel-key-deletion --key-id {observed['KeyId']}, then aws kms enable-key"
        )

    def waiting(self, observed: Observed) -> str | None:
        return f"the key is {observed['Status']}" if observed["Status"] in ("Creating", "Updating") else None


def _deletion_date(meta: Mapping[str, Any]) -> str | None:
    """The date as text. A key whose replicas have to go first has none yet."""
    if meta["KeyState"] not in ("PendingDeletion", "PendingReplicaDeletion"):
        return None
    at = meta.get("DeletionDate")
    return utc.to_text(at) if at else "the day its replicas are gone"


class Alias(Kind):
    name = "kms.alias"
    label = "KMS alias"
    compute_kinds = ("kms",)
    resource_arn = "kms:{region}:{account}:{name}"
    read_actions = permit("kms:ListAliases", on=ALL)
    write_actions = permit("kms:CreateAlias", "kms:UpdateAlias", "kms:DeleteAlias", on=(OWN, "kms.key"))
    least_reads = (0, 1)
    terraform = ("aws_kms_alias",)

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        found = aliases(reads, target.region)
        own = arn("kms", target.name, region=target.region, account=reads.account)
        return {"Arn": own, "TargetKeyId": found[target.name]} if target.name in found else None

    def create(self, target: Target) -> Call:
        return Call("kms", "create_alias", {"AliasName": target.name, "TargetKeyId": target.desired["TargetKeyId"]})

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        return Call("kms", "update_alias", {"AliasName": target.name, "TargetKeyId": target.desired["TargetKeyId"]})

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("kms", "delete_alias", {"AliasName": target.name})


KINDS: tuple[Kind, ...] = (Key(), Alias())
