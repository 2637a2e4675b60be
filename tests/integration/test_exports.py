"""Exports in the provisioned stack: SSE-KMS objects, as RDS writes them, are at both sites, and the drill's check proves it."""

import json
from datetime import timedelta
from typing import Any

import pytest

from dr_assets.aws import Aws
from dr_assets.drills import bucket_replication
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.bucket_replication import bucket_replicated
from dr_assets.emulator import ACCOUNT_ID, EmbeddedAws
from dr_assets.reconcile import service
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.row import other
from dr_assets.stack import SITES, Site, Stack


class Exports:
    """The buckets of both sites, and their keys."""

    def __init__(self, stack: Stack) -> None:
        self.state = StackState(stack, Aws())
        self.s3 = {site: Aws().client("s3", stack.region(site), writing=True) for site in SITES}
        self.bucket = {site: str(self.state.field(f"{site}/backup/bucket", "Name")) for site in SITES}
        self.key = {site: str(self.state.field(f"{site}/encryption/data-key", "Arn")) for site in SITES}
        self.view = AwsView(stack, Aws(), "switchover", from_site="primary", to_site="secondary")

    def put(self, site: Site, key: str, **more: Any) -> None:
        self.s3[site].put_object(Bucket=self.bucket[site], Key=key, Body=key.encode(), **more)

    def head(self, site: Site, key: str) -> Any:
        return self.s3[site].head_object(Bucket=self.bucket[site], Key=key)


@pytest.fixture
def exports(built: EmbeddedAws, stack: Stack) -> Exports:
    return Exports(stack)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("how", ["the bucket's default", "the site's key, as RDS exports", "AWS's own key", "SSE-S3"])
def test_case_a3_exports_are_replicated_whatever_encrypts_them(exports: Exports, site: Site, how: str) -> None:
    """Replicas of SSE-KMS objects are encrypted with the other site's key: they stay readable there without this region."""
    settings = {
        "the bucket's default": {},
        "the site's key, as RDS exports": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": exports.key[site]},
        "AWS's own key": {"ServerSideEncryption": "aws:kms"},
        "SSE-S3": {"ServerSideEncryption": "AES256"},
    }[how]
    name, there = f"exports/{site}/{how}", other(site)
    exports.put(site, name, **settings)
    assert exports.head(site, name)["ReplicationStatus"] == "COMPLETED"
    replica = exports.head(there, name)
    assert replica["ReplicationStatus"] == "REPLICA"
    if how != "SSE-S3":
        assert (replica["ServerSideEncryption"], replica["SSEKMSKeyId"]) == ("aws:kms", exports.key[there])
    found = exports.s3[there].get_object(Bucket=exports.bucket[there], Key=name)
    assert found["Body"].read() == name.encode()


@pytest.mark.parametrize("site", SITES)
def test_case_a2_an_object_written_while_replication_was_off_is_named(
    built: EmbeddedAws, stack: Stack, exports: Exports, site: Site
) -> None:
    """Restoring the rule replicates nothing that is there already (S3 user guide, "What isn't replicated")."""
    assert bucket_replicated(exports.view) is None
    key = f"global/backup/replication-from-{site}"
    exports.s3[site].delete_bucket_replication(Bucket=exports.bucket[site])
    exports.put(site, "exports/between")
    exports.state.reconcile(exports.state.resources[key])
    assert service.verify(stack).in_sync
    exports.put(site, "exports/after")
    reason = bucket_replicated(exports.view.fresh())
    assert f"exports/between is at the {site} site only (no rule selected it)" in str(reason)
    assert "exports/after" not in str(reason)
    # The remedy that the check names: copied onto itself it is a new version.
    source = {"Bucket": exports.bucket[site], "Key": "exports/between"}
    exports.s3[site].copy_object(**source, CopySource=source, MetadataDirective="REPLACE")
    assert bucket_replicated(exports.view.fresh()) is None


def test_aws_15_a_rule_that_leaves_sse_kms_objects_out_is_drift_and_what_it_left_out_is_named(
    built: EmbeddedAws, stack: Stack, exports: Exports
) -> None:
    bucket, s3 = exports.bucket["primary"], exports.s3["primary"]
    shown = s3.get_bucket_replication(Bucket=bucket)["ReplicationConfiguration"]
    (rule,) = shown["Rules"]
    bare = {name: value for name, value in rule.items() if name != "SourceSelectionCriteria"}
    bare["Destination"] = {
        name: value for name, value in rule["Destination"].items() if name != "EncryptionConfiguration"
    }
    s3.put_bucket_replication(Bucket=bucket, ReplicationConfiguration={**shown, "Rules": [bare]})
    exports.put("primary", "exports/left-out")
    drift = {o.key: [d.field for d in o.drift] for o in service.verify(stack).outcomes if o.drift}
    reason = bucket_replicated(exports.view.fresh())
    exports.state.reconcile(exports.state.resources["global/backup/replication-from-primary"])
    assert drift == {"global/backup/replication-from-primary": ["Rules"]}
    assert "exports/left-out is at the primary site only (no rule selected it)" in str(reason)
    assert service.verify(stack).in_sync
    source = {"Bucket": bucket, "Key": "exports/left-out"}
    s3.copy_object(**source, CopySource=source, MetadataDirective="REPLACE")
    assert bucket_replicated(exports.view.fresh()) is None


def test_case_a2_what_was_deleted_while_replication_was_off_is_named(
    built: EmbeddedAws, stack: Stack, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule replicates delete markers too; restoring it replicates none that is there already."""
    exports.put("primary", "exports/deleted")
    exports.put("primary", "exports/deleted at both")
    exports.s3["primary"].delete_object(Bucket=exports.bucket["primary"], Key="exports/deleted at both")
    exports.s3["primary"].delete_bucket_replication(Bucket=exports.bucket["primary"])
    exports.s3["primary"].delete_object(Bucket=exports.bucket["primary"], Key="exports/deleted")
    exports.state.reconcile(exports.state.resources["global/backup/replication-from-primary"])
    assert bucket_replicated(exports.view.fresh()) is None, "it may still be on its way"
    monkeypatch.setattr(bucket_replication, "GRACE", timedelta(seconds=-5))
    reason = str(bucket_replicated(exports.view.fresh()))
    exports.s3["secondary"].delete_object(Bucket=exports.bucket["secondary"], Key="exports/deleted")
    assert "exports/deleted was deleted at the primary site only" in reason and "at both" not in reason
    assert "was deleted" not in str(bucket_replicated(exports.view.fresh()))


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("fault", ["disabled", "another prefix", "another key", "a third key"])
def test_case_a2_an_object_that_the_rule_or_its_key_leaves_out_is_named(
    built: EmbeddedAws, stack: Stack, exports: Exports, site: Site, fault: str
) -> None:
    """The rule is disabled, selects another prefix or names a key that S3 may not use; or the object is encrypted with one."""
    bucket, s3, key = exports.bucket[site], exports.s3[site], f"exports/{site}/{fault}"
    shown = s3.get_bucket_replication(Bucket=bucket)["ReplicationConfiguration"]
    (rule,) = shown["Rules"]
    kms = Aws().client("kms", stack.region(site), writing=True)
    statements = [
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "kms:Decrypt",
            "Resource": "*",
            "Condition": {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT_ID}:role/s3-replication-role-*"}},
        },
    ]
    closed = kms.create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    third = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": closed["KeyMetadata"]["Arn"]}
    foreign = Aws().client("kms", stack.region(other(site)), writing=True).create_key()["KeyMetadata"]["Arn"]
    wrong = {
        "disabled": {"Status": "Disabled"},
        "another prefix": {"Filter": {"Prefix": "logs/"}},
        "another key": {
            "Destination": {**rule["Destination"], "EncryptionConfiguration": {"ReplicaKmsKeyID": foreign}}
        },
    }.get(fault, {})
    s3.put_bucket_replication(Bucket=bucket, ReplicationConfiguration={**shown, "Rules": [{**rule, **wrong}]})
    exports.put(site, key, **(third if fault == "a third key" else {}))
    reason = str(bucket_replicated(exports.view.fresh()))
    drift = {o.key for o in service.verify(stack).outcomes if o.drift}
    exports.state.reconcile(exports.state.resources[f"global/backup/replication-from-{site}"])
    s3.delete_object(Bucket=bucket, Key=key)
    assert f"{key} is at the {site} site only" in reason
    assert drift == ({f"global/backup/replication-from-{site}"} if wrong else set())
    assert service.verify(stack).in_sync
