"""S3: what "not set" is called, whose bucket it is, and the one call that each difference leads to."""

import json
from typing import Any

import pytest

from dr_assets.errors import AwsCallError
from dr_assets.resources.backup.kinds import Bucket
from dr_assets.resources.registry import KINDS
from dr_assets.stack import SITES, Site, Stack
from tests.support.aws_double import (
    ACCOUNT,
    FakeReads,
    checked,
    creation,
    deletion,
    error,
    fields,
    look,
    next_call,
    tag_list,
    target,
)

BUCKET = f"db-exports-primary-l6p3z2w4-{ACCOUNT}"
HEAD = {"BucketRegion": "us-east-1"}
SETTINGS = {
    "versioning": ("get_bucket_versioning", None),
    "encryption": ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
    "public-access-block": ("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
    "policy": ("get_bucket_policy", "NoSuchBucketPolicy"),
    "lifecycle": ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
}
ROWS = [*SETTINGS, "replication"]


def key(what: str) -> str:
    return "global/backup/replication-from-primary" if what == "replication" else f"primary/backup/{what}"


def getter(what: str) -> tuple[str, str | None]:
    return (
        ("get_bucket_replication", "ReplicationConfigurationNotFoundError") if what == "replication" else SETTINGS[what]
    )


def bucket_reads(stack: Stack, **tags: str) -> FakeReads:
    want = target(stack, "primary/backup/bucket").desired["Tags"]
    return FakeReads(KINDS["s3.bucket"], head_bucket=HEAD, get_bucket_tagging={"TagSet": tag_list({**want, **tags})})


def test_the_bucket_in_sync_is_told_without_listing_what_is_in_it(stack: Stack) -> None:
    reads = bucket_reads(stack, CostCentre="7")
    of = target(stack, "primary/backup/bucket")
    observed = look(reads, of)
    assert observed is not None
    assert fields(of, observed) == []
    assert (observed["Name"], observed["Arn"]) == (BUCKET, f"arn:aws:s3:::{BUCKET}")
    assert [call[0] for call in reads.calls] == ["head_bucket", "get_bucket_tagging"]


def test_only_outside_us_east_1_the_region_is_said(stack: Stack) -> None:
    assert creation(target(stack, "primary/backup/bucket")) == ("create_bucket", {"Bucket": BUCKET})
    _, params = creation(target(stack, "secondary/backup/bucket"))
    assert params["CreateBucketConfiguration"] == {"LocationConstraint": "us-west-2"}


@pytest.mark.parametrize("code", ["404", "NoSuchBucket"])
def test_no_bucket_is_absent_and_so_is_everything_on_it(stack: Stack, code: str) -> None:
    of = target(stack, "primary/backup/bucket")
    assert look(FakeReads(KINDS[of.kind], head_bucket=error(code)), of) is None
    for what in ROWS:
        of = target(stack, key(what))
        assert look(FakeReads(KINDS[of.kind], **{getter(what)[0]: error("NoSuchBucket")}), of) is None


@pytest.mark.parametrize(("code", "told"), [("403", "another account"), ("301", "region other than us-east-1")])
def test_somebody_elses_bucket_is_said_to_be_that(stack: Stack, code: str, told: str) -> None:
    of = target(stack, "primary/backup/bucket")
    with pytest.raises(AwsCallError, match=told) as caught:
        look(FakeReads(KINDS[of.kind], head_bucket=error(code)), of)
    assert BUCKET in str(caught.value)
    assert "environment_suffix" in str(caught.value)


def test_other_errors_pass_through(stack: Stack) -> None:
    for name, operation in (("bucket", "head_bucket"), ("policy", "get_bucket_policy")):
        of = target(stack, f"primary/backup/{name}")
        problem = error("SlowDown", status=503)
        with pytest.raises(type(problem)):
            look(FakeReads(KINDS[of.kind], **{operation: problem}), of)


def test_a_fresh_untagged_bucket_is_adopted_and_tagged_with_what_others_put_there_kept(stack: Stack) -> None:
    of = target(stack, "primary/backup/bucket")
    bare = look(FakeReads(KINDS[of.kind], head_bucket=HEAD, get_bucket_tagging=error("NoSuchTagSet")), of)
    assert bare is not None
    assert bare["Tags"] == {} and Bucket.adopts_untagged
    operation, params = next_call(of, look(bucket_reads(stack, Site="elsewhere", CostCentre="7"), of))
    assert operation == "put_bucket_tagging"
    sent = {tag["Key"]: tag["Value"] for tag in params["Tagging"]["TagSet"]}
    assert sent == {**of.desired["Tags"], "CostCentre": "7"}


def test_a_bucket_in_another_region_differs_in_what_nobody_can_change(stack: Stack) -> None:
    of = target(stack, "primary/backup/bucket")
    reads = bucket_reads(stack)
    reads._answers["head_bucket"] = {"BucketRegion": "eu-west-1"}
    assert fields(of, look(reads, of)) == ["BucketRegion"]
    assert "BucketRegion" in Bucket.immutable


def test_it_is_emptied_a_thousand_at_a_time_and_then_deleted(stack: Stack) -> None:
    of, kind = target(stack, "primary/backup/bucket"), KINDS["s3.bucket"]
    full = {
        "Versions": [{"Key": "a", "VersionId": "1", "Size": 3}],
        "DeleteMarkers": [{"Key": "a", "VersionId": "2", "IsLatest": True}],
    }
    observed = look(bucket_reads(stack), of)
    assert observed is not None
    held = kind.before_delete(FakeReads(kind, list_object_versions=full), of, observed)
    operation, params = checked(kind, kind.delete(of, held))
    assert operation == "delete_objects"
    assert params["Delete"]["Objects"] == [{"Key": "a", "VersionId": "1"}, {"Key": "a", "VersionId": "2"}]
    empty = kind.before_delete(FakeReads(kind, list_object_versions={}), of, observed)
    assert checked(kind, kind.delete(of, empty)) == ("delete_bucket", {"Bucket": BUCKET})


# --- settings ----------------------------------------------------------------------------------------------------------


def in_sync(stack: Stack, what: str) -> dict[str, Any]:
    """The answer S3 gives to what we set, with what it adds."""
    want = target(stack, key(what)).desired
    if what == "versioning":
        return {"Status": "Enabled"}
    if what == "encryption":
        by_default = {
            "ApplyServerSideEncryptionByDefault": {
                "SSEAlgorithm": "aws:kms",
                "KMSMasterKeyID": "primary/encryption/data-key#Arn",
            },
            "BucketKeyEnabled": True,
        }
        return {"ServerSideEncryptionConfiguration": {"Rules": [by_default]}}
    if what == "public-access-block":
        return {"PublicAccessBlockConfiguration": dict(want)}
    if what == "policy":
        without, old = want["Policy"]["Statement"]
        without = {**without, "Action": "s3:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
        old = {**old, "Action": "s3:*", "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}}}
        return {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [without, old]})}
    if what == "lifecycle":
        (rule,) = want["Rules"]
        return {"Rules": [{**rule, "Filter": {}}], "TransitionDefaultMinimumObjectSize": "all_storage_classes_128K"}
    (rule,) = want["Rules"]
    return {"ReplicationConfiguration": {"Role": want["Role"], "Rules": [{**rule, "Filter": {}}]}}


@pytest.mark.parametrize("what", ROWS)
def test_what_s3_answers_to_what_we_set_is_no_drift(stack: Stack, what: str) -> None:
    of = target(stack, key(what))
    assert fields(of, look(FakeReads(KINDS[of.kind], **{getter(what)[0]: in_sync(stack, what)}), of)) == []


@pytest.mark.parametrize("what", ROWS)
def test_never_set_is_absent(stack: Stack, what: str) -> None:
    of, (operation, code) = target(stack, key(what)), getter(what)
    unset: Any = error(code) if code else {}
    assert look(FakeReads(KINDS[of.kind], **{operation: unset}), of) is None


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("what", SETTINGS)
def test_making_and_mending_are_the_same_call(stack: Stack, what: str, site: Site) -> None:
    of = target(stack, f"{site}/backup/{what}")
    kind = KINDS[of.kind]
    made = creation(of)
    assert checked(kind, kind.update(of, {}, ())) == made
    assert made[1]["Bucket"] == f"db-exports-{site}-l6p3z2w4-{ACCOUNT}"


def test_a_new_buckets_own_encryption_is_not_ours(stack: Stack) -> None:
    of = target(stack, "primary/backup/encryption")
    fresh = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    reads = FakeReads(KINDS[of.kind], get_bucket_encryption={"ServerSideEncryptionConfiguration": fresh})
    assert fields(of, look(reads, of)) == ["BucketKeyEnabled", "KMSMasterKeyID", "SSEAlgorithm"]


@pytest.mark.parametrize("what", ["versioning", "encryption"])
def test_what_cannot_be_taken_away_goes_with_the_bucket(stack: Stack, what: str) -> None:
    of = target(stack, key(what))
    observed = look(FakeReads(KINDS[of.kind], **{getter(what)[0]: in_sync(stack, what)}), of)
    assert observed is not None
    assert KINDS[of.kind].delete(of, observed) is None


@pytest.mark.parametrize(
    ("what", "operation"),
    [
        ("public-access-block", "delete_public_access_block"),
        ("policy", "delete_bucket_policy"),
        ("lifecycle", "delete_bucket_lifecycle"),
        ("replication", "delete_bucket_replication"),
    ],
)
def test_what_can_be_taken_away_is(stack: Stack, what: str, operation: str) -> None:
    of = target(stack, key(what))
    assert deletion(of, {}) == (operation, {"Bucket": BUCKET})


def test_the_policy_denies_everything_without_tls_to_the_bucket_and_its_objects(stack: Stack) -> None:
    _, params = creation(target(stack, "primary/backup/policy"))
    without, old = json.loads(params["Policy"])["Statement"]
    for deny in (without, old):
        assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", ["s3:*"])
        assert deny["Resource"] == [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    assert without["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}
    assert old["Condition"] == {"NumericLessThan": {"s3:TlsVersion": ["1.2"]}}


def test_replication_copies_delete_markers_to_the_other_sites_bucket(stack: Stack) -> None:
    _, params = creation(target(stack, key("replication")))
    (rule,) = params["ReplicationConfiguration"]["Rules"]
    assert rule["ID"] == "replicate-all"
    assert rule["DeleteMarkerReplication"] == {"Status": "Enabled"}
    assert rule["Destination"]["Bucket"] == f"arn:aws:s3:::db-exports-secondary-l6p3z2w4-{ACCOUNT}"


def test_a_rule_with_a_prefix_is_not_taken_for_everything(stack: Stack) -> None:
    of = target(stack, "primary/backup/lifecycle")
    (rule,) = of.desired["Rules"]
    for narrowed in (
        {**rule, "Filter": {"Prefix": "logs/"}},
        {**{k: v for k, v in rule.items() if k != "Filter"}, "Prefix": "x"},
    ):
        reads = FakeReads(KINDS[of.kind], get_bucket_lifecycle_configuration={"Rules": [narrowed]})
        assert fields(of, look(reads, of)) == ["Rules"]


def test_the_replication_role_may_do_nothing_but_replicate_between_the_two_buckets(stack: Stack) -> None:
    policy = target(stack, "global/backup/replication-role-policy").desired["Policy"]
    of_s3 = [statement for statement in policy["Statement"] if statement["Action"][0].startswith("s3:")]
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    resources = {arn for statement in of_s3 for arn in statement["Resource"]}
    both = {f"arn:aws:s3:::db-exports-{site}-l6p3z2w4-{ACCOUNT}" for site in SITES}
    assert resources == both | {f"{arn}/*" for arn in both}
    assert not any("*" in action or action.startswith(("s3:Put", "s3:Delete")) for action in actions)
    assert {statement["Effect"] for statement in policy["Statement"]} == {"Allow"}


@pytest.mark.parametrize("site", SITES)
def test_aws_15_the_replication_role_decrypts_and_encrypts_through_s3_for_the_sites_bucket_only(
    stack: Stack, site: Site
) -> None:
    """S3 user guide, "Replicating encrypted objects": kms:Decrypt at the source's key, kms:Encrypt at the replica's, and with a
    bucket key the bucket's ARN in the encryption context and kms:Decrypt at the replica's key."""
    region, bucket = stack.region(site), f"arn:aws:s3:::db-exports-{site}-l6p3z2w4-{ACCOUNT}"
    policy = target(stack, "global/backup/replication-role-policy").desired["Policy"]
    found = {statement["Sid"]: statement for statement in policy["Statement"]}
    decrypt, encrypt = found[f"Decrypt{site.capitalize()}"], found[f"Encrypt{site.capitalize()}"]
    assert decrypt["Action"] == ["kms:Decrypt"]
    assert "kms:Encrypt" in encrypt["Action"]
    assert decrypt["Resource"] == [f"arn:aws:kms:{region}:{ACCOUNT}:key/*"]
    assert encrypt["Resource"] == [f"{site}/encryption/data-key#Arn"]
    for statement in (decrypt, encrypt):
        assert statement["Condition"] == {
            "StringEquals": {"kms:ViaService": [f"s3.{region}.amazonaws.com"]},
            "StringLike": {"kms:EncryptionContext:aws:s3:arn": [bucket, f"{bucket}/*"]},
        }


@pytest.mark.parametrize(("site", "other"), [("primary", "secondary"), ("secondary", "primary")])
def test_aws_15_the_rule_selects_sse_kms_objects_and_names_the_other_sites_key(
    stack: Stack, site: Site, other: Site
) -> None:
    of = target(stack, f"global/backup/replication-from-{site}")
    _, params = creation(of)
    (rule,) = params["ReplicationConfiguration"]["Rules"]
    assert rule["SourceSelectionCriteria"] == {"SseKmsEncryptedObjects": {"Status": "Enabled"}}
    assert rule["Destination"]["EncryptionConfiguration"] == {"ReplicaKmsKeyID": f"{other}/encryption/data-key#Arn"}
    # A rule of earlier versions, without either, is a difference.
    old = {name: value for name, value in rule.items() if name != "SourceSelectionCriteria"}
    reads = FakeReads(
        KINDS[of.kind],
        get_bucket_replication={"ReplicationConfiguration": {"Role": of.desired["Role"], "Rules": [old]}},
    )
    assert fields(of, look(reads, of)) == ["Rules"]
