"""KMS: how a key without a name is found, what is done about each difference, and who may use it."""

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.core.model import Target
from dr_assets.resources.registry import KINDS
from dr_assets.stack import SITES, Site, Stack
from tests.support.aws_double import (
    ACCOUNT,
    FakeReads,
    creation,
    deletion,
    drift,
    error,
    fields,
    look,
    next_call,
    target,
)

OURS, THEIRS = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
AT = "primary/encryption"


@pytest.fixture
def key(stack: Stack) -> Target:
    return target(stack, f"{AT}/data-key")


class Region:
    """The keys and aliases of one region, as KMS shows them."""

    def __init__(self, key: Target) -> None:
        self._want = key.desired
        self.alias = key.identity["AliasName"]
        self.aliases: dict[str, str] = {}
        self.keys: dict[str, dict[str, Any]] = {}

    def add(self, key_id: str, state: str = "Enabled", rotation: bool = True, **tags: str | None) -> "Region":
        every = {**self._want["Tags"], **{name.replace("_", "-"): value for name, value in tags.items()}}
        shown = [{"TagKey": name, "TagValue": value} for name, value in every.items() if value is not None]
        self.keys[key_id] = {"state": state, "rotation": rotation, "tags": shown, "policy": self._want["Policy"]}
        return self

    def named(self, key_id: str, alias: str | None = None) -> "Region":
        self.aliases[alias or self.alias] = key_id
        return self

    def reads(self, kind: str = "kms.key") -> FakeReads:
        def metadata(KeyId: str) -> dict[str, Any]:
            if KeyId not in self.keys:
                raise error("NotFoundException")
            state = self.keys[KeyId]["state"]
            arn = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{KeyId}"
            shown = {"KeyId": KeyId, "Arn": arn, "KeyState": state, "Enabled": state == "Enabled"}
            shown["Description"] = self.keys[KeyId].get("description", "")
            if state == "PendingDeletion":
                shown["DeletionDate"] = self.keys[KeyId].get("date", datetime(2026, 12, 3, 20, tzinfo=timezone.utc))
            return {"KeyMetadata": shown}

        def tags(KeyId: str) -> dict[str, Any]:
            if KeyId not in self.keys:
                raise error("NotFoundException")
            if self.keys[KeyId]["state"] == "closed":
                raise error("AccessDeniedException")
            return {"Tags": self.keys[KeyId]["tags"]}

        return FakeReads(
            KINDS[kind],
            list_aliases={"Aliases": [{"AliasName": n, "TargetKeyId": k} for n, k in self.aliases.items()]},
            list_keys={"Keys": [{"KeyId": key_id} for key_id in self.keys]},
            list_resource_tags=tags,
            describe_key=metadata,
            get_key_policy=lambda KeyId, PolicyName: {"Policy": json.dumps(self.keys[KeyId]["policy"])},
            get_key_rotation_status=lambda KeyId: {"KeyRotationEnabled": self.keys[KeyId]["rotation"]},
        )


def test_the_alias_leads_to_the_key_without_a_search(key: Target) -> None:
    reads = Region(key).add(OURS).named(OURS).reads()
    found = look(reads, key)
    assert found is not None
    assert (found["KeyId"], found["Arn"]) == (OURS, f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{OURS}")
    assert fields(key, found) == []
    assert "list_keys" not in [operation for operation, _, _ in reads.calls]


def test_after_a_crash_before_the_alias_the_key_is_found_by_its_tags(key: Target) -> None:
    found = look(Region(key).add(THEIRS, TaskID="another").add(OURS).reads(), key)
    assert found is not None
    assert found["KeyId"] == OURS


def test_an_alias_that_leads_to_another_key_does_not_mislead(key: Target) -> None:
    region = Region(key).add(THEIRS, Name="sns-us-east-1-l6p3z2w4").add(OURS).named(THEIRS)
    found = look(region.named(THEIRS, "alias/sns-us-east-1-l6p3z2w4").reads(), key)
    assert found is not None
    assert found["KeyId"] == OURS
    del region.keys[OURS]
    assert look(region.reads(), key) is None


def test_an_alias_may_outlive_its_key(key: Target) -> None:
    """Else every run would make one more key: the alias, which is corrected afterwards, never shows the new one."""
    region = Region(key).named(THEIRS)
    assert look(region.reads(), key) is None
    found = look(region.add(OURS).reads(), key)
    assert found is not None
    assert found["KeyId"] == OURS


@pytest.mark.parametrize("how", ["alias", "tags", "alias, Name tag changed"])
def test_case_a1_aws_14_a_key_scheduled_for_deletion_is_recovered_and_never_replaced(key: Target, how: str) -> None:
    """KMS API reference: CancelKeyDeletion leaves the key disabled, EnableKey must follow; no other call before."""
    region = Region(key).add(OURS, state="PendingDeletion", rotation=False)
    if how != "tags":
        region.named(OURS)
    if "changed" in how:
        region.add(OURS, state="PendingDeletion", rotation=False, Name="renamed").named(OURS)
    seen = []
    for state in ("Disabled", "Enabled"):
        found = look(region.reads(), key)
        assert found is not None and found["KeyId"] == OURS
        operation, params = next_call(key, found)
        seen.append((operation, params))
        region.keys[OURS]["state"] = state
        region.keys[OURS]["rotation"] = True  # as it was before
    assert seen == [("cancel_key_deletion", {"KeyId": OURS}), ("enable_key", {"KeyId": OURS})]
    assert fields(key, look(region.reads(), key)) == (["Tags.Name"] if "changed" in how else [])


def test_case_a1_the_date_and_the_remedy_are_named(key: Target) -> None:
    region = Region(key).add(OURS, state="PendingDeletion").named(OURS)
    found = look(region.reads(), key)
    assert found is not None
    assert {"DeletionDate", "Enabled"} <= set(fields(key, found))
    text = KINDS["kms.key"].explain(drift(key, found), found)
    assert "KMS destroys this key on 2026-12-03T20:00:00.000Z" in text
    assert "dr provision" in text and f"cancel-key-deletion --key-id {OURS}" in text
    assert "destroy " not in text and "delete" not in text


def test_case_a1_a_usable_key_comes_before_those_on_their_way_out_and_the_last_of_these_before_the_others(
    key: Target,
) -> None:
    region = Region(key).add(THEIRS, state="PendingDeletion").add(OURS, state="PendingDeletion")
    region.keys[OURS]["date"] = datetime(2026, 12, 4, tzinfo=timezone.utc)
    found = look(region.reads(), key)
    assert found is not None and found["KeyId"] == OURS
    region.keys[THEIRS]["state"] = "Disabled"
    found = look(region.reads(), key)
    assert found is not None and found["KeyId"] == THEIRS


def test_what_destroy_leaves_counts_as_absent_and_a_key_that_its_alias_still_leads_to_does_not(key: Target) -> None:
    kind, region = KINDS["kms.key"], Region(key).add(OURS, state="PendingDeletion")
    found = look(region.reads(), key)
    assert found is not None
    assert "until then provisioning recovers it" in str(kind.released(found))
    found = look(region.named(OURS).reads(), key)
    assert found is not None
    assert kind.released(found) is None


def test_a_key_that_is_destroyed_while_it_is_read_is_absent(key: Target) -> None:
    region = Region(key).add(OURS, state="PendingDeletion")
    reads = region.reads()
    reads._answers["get_key_policy"] = error("NotFoundException")
    assert look(reads, key) is None


@pytest.mark.parametrize("name", [None, "renamed"])
def test_a_key_that_lost_its_name_tag_is_not_made_again(key: Target, name: str | None) -> None:
    found = look(Region(key).add(OURS, Name=name).named(OURS).reads(), key)
    assert fields(key, found) == ["Tags.Name"]
    operation, params = next_call(key, found)
    assert (operation, params["Tags"]) == ("tag_resource", [{"TagKey": "Name", "TagValue": key.name}])


BARE = {"Name": None, "TaskID": None, "ManagedBy": None}


def test_case_a1_a_key_that_lost_all_its_tags_is_not_made_again(key: Target) -> None:
    """The cluster stays encrypted with it; a second one would take the alias and leave the cluster behind."""
    region = Region(key).add(OURS, **BARE).named(OURS)
    found = look(region.reads(), key)
    assert found is not None and found["KeyId"] == OURS
    assert set(fields(key, found)) == {"Tags.Name", "Tags.TaskID", "Tags.ManagedBy"}
    assert next_call(key, found)[0] == "tag_resource"
    assert KINDS["kms.key"].adopts_untagged
    # Destroying the stack does not take what no tag shows to be the stack's.
    assert KINDS["kms.key"].delete(key, found) is None
    # A key with our tags comes before one that our alias was pointed at, also when it waits for deletion.
    found = look(region.add(THEIRS, state="PendingDeletion").reads(), key)
    assert found is not None and found["KeyId"] == THEIRS


def test_case_a1_a_key_without_name_tag_and_alias_is_found_by_its_description(key: Target) -> None:
    region = Region(key).add(THEIRS, Name=None).add(OURS, Name=None)
    region.keys[THEIRS]["description"] = "DR Assets: notifications of the primary site"
    region.keys[OURS]["description"] = "DR Assets: data of the primary site"
    found = look(region.reads(), key)
    assert found is not None and found["KeyId"] == OURS
    del region.keys[OURS]
    assert look(region.reads(), key) is None


def test_case_a1_an_alias_on_a_key_that_may_not_be_read_hides_neither_ours_nor_makes_a_second(key: Target) -> None:
    region = Region(key).add(THEIRS, state="closed").add(OURS).named(THEIRS)
    found = look(region.reads(), key)
    assert found is not None and found["KeyId"] == OURS
    region.add(OURS, TaskID="another")
    with pytest.raises(ClientError, match="AccessDenied"):
        look(region.reads(), key)


def test_keys_of_others_may_be_closed_to_us_but_not_all_of_them(key: Target) -> None:
    region = Region(key).add(THEIRS, state="closed")
    with pytest.raises(ClientError, match="AccessDenied"):
        look(region.reads(), key)
    found = look(region.add(OURS).reads(), key)
    assert found is not None
    assert found["KeyId"] == OURS


def test_each_difference_has_its_call_and_enabling_comes_first(key: Target) -> None:
    region = Region(key).add(OURS, state="Disabled", rotation=False, DR_Tier="casual").named(OURS)
    region.keys[OURS]["policy"] = {"Version": "2012-10-17", "Statement": []}
    seen = []
    for heal in (("state", "Enabled"), ("rotation", True), ("policy", key.desired["Policy"]), None):
        found = look(region.reads(), key)
        operation, params = next_call(key, found)
        assert params["KeyId"] == OURS
        seen.append(operation)
        if heal:
            region.keys[OURS][heal[0]] = heal[1]
    assert seen == ["enable_key", "enable_key_rotation", "put_key_policy", "tag_resource"]


def test_a_key_is_created_with_its_tags_and_goes_in_seven_days(key: Target) -> None:
    operation, params = creation(key)
    assert operation == "create_key"
    assert {tag["TagKey"]: tag["TagValue"] for tag in params["Tags"]} == key.desired["Tags"]
    assert json.loads(params["Policy"]) == key.desired["Policy"]
    found = look(Region(key).add(OURS).named(OURS).reads(), key)
    assert deletion(key, found) == ("schedule_key_deletion", {"KeyId": OURS, "PendingWindowInDays": 7})


def test_a_key_in_the_making_is_waited_for(key: Target) -> None:
    kind = KINDS["kms.key"]
    for state, waits in (("Creating", True), ("Updating", True), ("Enabled", False), ("Disabled", False)):
        found = look(Region(key).add(OURS, state=state).named(OURS).reads(), key)
        assert found is not None
        assert bool(kind.waiting(found)) is waits, state


def test_the_alias(stack: Stack, key: Target) -> None:
    alias = target(stack, f"{AT}/data-alias", TargetKeyId=OURS)
    assert look(Region(key).reads("kms.alias"), alias) is None
    assert creation(alias) == ("create_alias", {"AliasName": alias.name, "TargetKeyId": OURS})
    assert fields(alias, look(Region(key).named(OURS).reads("kms.alias"), alias)) == []
    astray = look(Region(key).named(THEIRS).reads("kms.alias"), alias)
    assert next_call(alias, astray) == ("update_alias", {"AliasName": alias.name, "TargetKeyId": OURS})
    assert deletion(alias, astray) == ("delete_alias", {"AliasName": alias.name})


# --- who may use them ----------------------------------------------------------------------------------------------------


def statements(stack: Stack, site: Site, purpose: str) -> dict[str, dict[str, Any]]:
    policy = target(stack, f"{site}/encryption/{purpose}-key").desired["Policy"]
    return {statement["Sid"]: statement for statement in policy["Statement"]}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("purpose", ["data", "notifications"])
def test_the_account_administers_each_key(stack: Stack, site: Site, purpose: str) -> None:
    root = statements(stack, site, purpose)["AccountAdministration"]
    assert root["Principal"] == {"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}
    assert root["Action"] == ["kms:*"]


@pytest.mark.parametrize("site", SITES)
def test_data_is_used_through_rds_of_its_region_by_this_account_only(stack: Stack, site: Site) -> None:
    found = statements(stack, site, "data")
    for sid in ("UseThroughRDS", "GrantsForRDS"):
        tests = found[sid]["Condition"]["StringEquals"]
        assert tests == {"kms:CallerAccount": [ACCOUNT], "kms:ViaService": [f"rds.{stack.region(site)}.amazonaws.com"]}
    assert found["GrantsForRDS"]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": ["true"]}


@pytest.mark.parametrize("site", SITES)
def test_aws_15_the_replication_role_may_use_the_data_key_through_s3_and_no_one_else_by_this_policy(
    stack: Stack, site: Site
) -> None:
    found = statements(stack, site, "data")["ReplicateThroughS3"]
    assert {"kms:Decrypt", "kms:Encrypt"} <= set(found["Action"])
    tests = found["Condition"]
    assert tests["ArnEquals"] == {"aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:role/s3-replication-role-l6p3z2w4"]}
    assert tests["StringEquals"]["kms:ViaService"] == [f"s3.{stack.region(site)}.amazonaws.com"]
    assert tests["StringEquals"]["kms:CallerAccount"] == [ACCOUNT]


@pytest.mark.parametrize("site", SITES)
def test_the_publishers_may_encrypt_for_this_account_only(stack: Stack, site: Site) -> None:
    found = statements(stack, site, "notifications")
    publish, deliver = found["PublishEncrypted"], found["DeliverEncrypted"]
    assert publish["Principal"] == {"Service": ["cloudwatch.amazonaws.com", "events.rds.amazonaws.com"]}
    assert publish["Condition"] == {"StringEquals": {"aws:SourceAccount": [ACCOUNT]}}
    assert deliver["Principal"] == {"Service": ["sns.amazonaws.com"]}
    topic = f"arn:aws:sns:{stack.region(site)}:{ACCOUNT}:db-events-{site}-l6p3z2w4"
    # Whether SNS sends aws:SourceAccount when it delivers is not documented; aws-cdk#20339 and #20521 use the ARN alone.
    assert deliver["Condition"] == {"ArnLike": {"aws:SourceArn": [topic]}}
    assert publish["Action"] == deliver["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]
