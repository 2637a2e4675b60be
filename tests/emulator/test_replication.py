"""S3 replication of objects: what is copied, what is not, and the status at both ends."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import EmbeddedAws
from dr_assets.emulator.s3.replication import matching

from .conftest import PRIMARY, SECONDARY, Clients

LONG = 3600.0
ACTIONS = (
    "s3:GetReplicationConfiguration",
    "s3:ListBucket",
    "s3:GetObjectVersionForReplication",
    "s3:GetObjectVersionTagging",
    "s3:ReplicateObject",
    "s3:ReplicateDelete",
)
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class Bench:
    """Two versioned buckets, one in each region, and a role that may copy from one to the other."""

    def __init__(self, aws: EmbeddedAws, client: Clients, name: str) -> None:
        self.aws, self.name = aws, name
        self.iam = client("iam")
        self.here, self.there = f"{name}-here", f"{name}-there"
        self.s3 = {self.here: client("s3", PRIMARY), self.there: client("s3", SECONDARY)}
        self.s3[self.here].create_bucket(Bucket=self.here)
        self.s3[self.there].create_bucket(
            Bucket=self.there, CreateBucketConfiguration={"LocationConstraint": SECONDARY}
        )
        for bucket, s3 in self.s3.items():
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        self.role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        self.allow(*ACTIONS)

    def allow(self, *actions: str, also: tuple[dict[str, Any], ...] = ()) -> None:
        everything = [f"arn:aws:s3:::{bucket}{tail}" for bucket in self.s3 for tail in ("", "/*")]
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": everything}
        policy = {"Version": "2012-10-17", "Statement": [statement, *also]}
        self.iam.put_role_policy(RoleName=self.name, PolicyName="copy", PolicyDocument=json.dumps(policy))

    def rule(self, source: str = "", **more: Any) -> None:
        source = source or self.here
        target = self.there if source == self.here else self.here
        rule = {
            "ID": "all",
            "Priority": 1,
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "DeleteMarkerReplication": {"Status": "Enabled"},
            "Destination": {"Bucket": f"arn:aws:s3:::{target}"},
            **more,
        }
        rule = {key: value for key, value in rule.items() if value is not None}
        self.s3[source].put_bucket_replication(
            Bucket=source, ReplicationConfiguration={"Role": self.role, "Rules": [rule]}
        )

    def put(self, key: str = "a", body: bytes = b"x", bucket: str = "", **more: Any) -> str:
        bucket = bucket or self.here
        return str(self.s3[bucket].put_object(Bucket=bucket, Key=key, Body=body, **more)["VersionId"])

    def status(self, bucket: str, key: str = "a", **more: Any) -> str | None:
        """`None`: the object is there and has none. "absent": there is no object."""
        try:
            found: str | None = self.s3[bucket].head_object(Bucket=bucket, Key=key, **more).get("ReplicationStatus")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "404"
            return "absent"
        return found

    def versions(self, bucket: str) -> list[tuple[str, str, str]]:
        """(what, key, version) of everything in a bucket."""
        found = self.s3[bucket].list_object_versions(Bucket=bucket)
        return sorted(
            (kind, item["Key"], item["VersionId"])
            for kind in ("Versions", "DeleteMarkers")
            for item in found.get(kind, [])
        )


@pytest.fixture
def bench(aws: EmbeddedAws, client: Clients, name: str) -> Bench:
    return Bench(aws, client, name)


def test_pending_then_completed_and_a_replica(bench: Bench) -> None:
    bench.put("before")
    bench.rule()
    bench.aws.control.settle(LONG)
    more = {"Metadata": {"drill": "7"}, "ContentType": "text/plain", "StorageClass": "STANDARD_IA"}
    version = bench.put("a", b"one", Tagging="Site=primary&Kind=pack", **more)
    assert (bench.status(bench.here), bench.status(bench.there)) == ("PENDING", "absent")
    assert bench.s3[bench.here].get_object(Bucket=bench.here, Key="a")["ReplicationStatus"] == "PENDING"
    bench.aws.control.settle(0)
    assert (bench.status(bench.here), bench.status(bench.there)) == ("COMPLETED", "REPLICA")
    copy = bench.s3[bench.there].get_object(Bucket=bench.there, Key="a")
    assert (copy["Body"].read(), copy["VersionId"], copy["ReplicationStatus"]) == (b"one", version, "REPLICA")
    assert (copy["Metadata"], copy["ContentType"], copy["StorageClass"]) == (
        {"drill": "7"},
        "text/plain",
        "STANDARD_IA",
    )
    tags = bench.s3[bench.there].get_object_tagging(Bucket=bench.there, Key="a")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"Site": "primary", "Kind": "pack"}
    # What was there before the rule stays where it is.
    assert (bench.status(bench.here, "before"), bench.status(bench.there, "before")) == (None, "absent")


def test_versions_keep_their_order_and_their_own_content(bench: Bench) -> None:
    bench.rule(Destination={"Bucket": f"arn:aws:s3:::{bench.there}", "StorageClass": "GLACIER_IR"})
    first, second = bench.put(body=b"one"), bench.put(body=b"two")
    assert bench.versions(bench.there) == bench.versions(bench.here)
    s3 = bench.s3[bench.there]
    assert s3.head_object(Bucket=bench.there, Key="a")["VersionId"] == second
    assert s3.head_object(Bucket=bench.there, Key="a")["StorageClass"] == "GLACIER_IR"
    # Deleting a version is not replicated, and does not touch the replica's content.
    bench.s3[bench.here].delete_object(Bucket=bench.here, Key="a", VersionId=first)
    assert len(bench.versions(bench.here)) == 1
    assert s3.get_object(Bucket=bench.there, Key="a", VersionId=first)["Body"].read() == b"one"
    s3.delete_object(Bucket=bench.there, Key="a", VersionId=second)
    assert bench.s3[bench.here].get_object(Bucket=bench.here, Key="a")["Body"].read() == b"two"


def test_uploads_in_parts_and_copies_are_replicated(bench: Bench) -> None:
    bench.rule()
    s3 = bench.s3[bench.here]
    upload = s3.create_multipart_upload(Bucket=bench.here, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bench.here, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    parts = {"Parts": [{"ETag": part, "PartNumber": 1}]}
    s3.complete_multipart_upload(Bucket=bench.here, Key="parts", UploadId=upload, MultipartUpload=parts)
    s3.copy_object(Bucket=bench.here, Key="copy", CopySource={"Bucket": bench.here, "Key": "parts"})
    for key in ("parts", "copy"):
        assert bench.status(bench.here, key) == "COMPLETED"
        assert bench.s3[bench.there].get_object(Bucket=bench.there, Key=key)["Body"].read() == b"part"


def test_delete_markers(bench: Bench) -> None:
    bench.rule()
    bench.put("a")
    bench.put("b")
    bench.s3[bench.here].delete_object(Bucket=bench.here, Key="a")
    assert bench.status(bench.there) == "absent"
    assert bench.versions(bench.there) == bench.versions(bench.here)
    bench.rule(DeleteMarkerReplication={"Status": "Disabled"})
    bench.s3[bench.here].delete_object(Bucket=bench.here, Key="b")
    assert (bench.status(bench.here, "b"), bench.status(bench.there, "b")) == ("absent", "REPLICA")


def test_both_directions_do_not_chase_each_other(bench: Bench) -> None:
    bench.rule(bench.here)
    bench.rule(bench.there)
    bench.put("a", b"from here")
    bench.put("b", b"from there", bench.there)
    for _ in range(5):  # any request lets time pass
        assert [bench.status(bench.here, key) for key in "ab"] == ["COMPLETED", "REPLICA"]
        assert [bench.status(bench.there, key) for key in "ab"] == ["REPLICA", "COMPLETED"]
    bench.s3[bench.there].delete_object(Bucket=bench.there, Key="a")
    # A replica's tags are its own.
    bench.s3[bench.here].put_object_tagging(
        Bucket=bench.here, Key="b", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]}
    )
    for _ in range(3):
        assert bench.versions(bench.here) == bench.versions(bench.there)
    assert [kind for kind, _, _ in bench.versions(bench.here)] == ["DeleteMarkers", "Versions", "Versions"]
    assert bench.s3[bench.there].get_object_tagging(Bucket=bench.there, Key="b")["TagSet"] == []
    # Writing the key again makes an object, not a replica.
    bench.put("b", b"again", bench.here)
    assert (bench.status(bench.here, "b"), bench.status(bench.there, "b")) == ("COMPLETED", "REPLICA")


def test_changed_tags_follow(bench: Bench) -> None:
    bench.rule()
    bench.put()
    tags = {"TagSet": [{"Key": "Kind", "Value": "pack"}]}

    def there() -> Any:
        return bench.s3[bench.there].get_object_tagging(Bucket=bench.there, Key="a")["TagSet"]

    assert there() == []
    bench.s3[bench.here].put_object_tagging(Bucket=bench.here, Key="a", Tagging=tags)
    assert (there(), bench.status(bench.here)) == (tags["TagSet"], "COMPLETED")
    bench.s3[bench.here].delete_object_tagging(Bucket=bench.here, Key="a")
    assert there() == []
    assert len(bench.versions(bench.there)) == 1


@pytest.mark.parametrize("lacking", [action for action in ACTIONS if not action.endswith(("Tagging", "Delete"))])
def test_without_permission_it_fails_for_good(bench: Bench, lacking: str) -> None:
    bench.rule()
    bench.allow(*(action for action in ACTIONS if action != lacking))
    bench.put()
    assert (bench.status(bench.here), bench.status(bench.there)) == ("FAILED", "absent")
    bench.allow(*ACTIONS)
    assert (bench.status(bench.here), bench.status(bench.there)) == ("FAILED", "absent")
    bench.put("b")
    assert bench.status(bench.here, "b") == "COMPLETED"


def test_lesser_permissions(bench: Bench) -> None:
    bench.rule()
    bench.allow(*(action for action in ACTIONS if not action.endswith(("Tagging", "Delete"))))
    bench.put(Tagging="k=v")
    assert bench.status(bench.here) == "COMPLETED"
    # The object goes without its tags, the delete marker does not go.
    assert bench.s3[bench.there].get_object_tagging(Bucket=bench.there, Key="a")["TagSet"] == []
    bench.s3[bench.here].delete_object(Bucket=bench.here, Key="a")
    assert (bench.status(bench.here), bench.status(bench.there)) == ("absent", "REPLICA")


def test_a_deny_wins_and_a_role_that_s3_may_not_assume_copies_nothing(bench: Bench) -> None:
    bench.rule()
    deny = {"Effect": "Deny", "Action": "s3:Replicate*", "Resource": f"arn:aws:s3:::{bench.there}/secret/*"}
    bench.allow(*ACTIONS, also=(deny,))
    bench.put("open")
    bench.put("secret/a")
    assert [bench.status(bench.here, key) for key in ("open", "secret/a")] == ["COMPLETED", "FAILED"]
    others = json.dumps(TRUST).replace("s3.amazonaws.com", "ec2.amazonaws.com")
    bench.iam.update_assume_role_policy(RoleName=bench.name, PolicyDocument=others)
    bench.put("b")
    assert bench.status(bench.here, "b") == "FAILED"


@pytest.mark.parametrize("sent", [False, True])
def test_aws_20_s3_perhaps_names_its_source_when_it_assumes_the_role(
    aws: EmbeddedAws, bench: Bench, sent: bool
) -> None:
    """S3 user guide, "Setting up permissions for live replication": its trust policy has no condition."""
    bench.rule()
    bench.allow(*ACTIONS)
    bench.put("a")
    condition = {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bench.here}"}}
    asked = {**TRUST, "Statement": [{**TRUST["Statement"][0], "Condition": condition}]}
    bench.iam.update_assume_role_policy(RoleName=bench.name, PolicyDocument=json.dumps(asked))
    aws.control.answers(undocumented_source_keys=sent)
    bench.put("b")
    assert bench.status(bench.here, "b") == ("COMPLETED" if sent else "FAILED")


def test_a_destination_that_is_gone_or_keeps_no_versions(bench: Bench) -> None:
    bench.rule()
    bench.s3[bench.there].put_bucket_versioning(Bucket=bench.there, VersioningConfiguration={"Status": "Suspended"})
    bench.put("a")
    assert bench.status(bench.here) == "FAILED"
    bench.s3[bench.there].delete_bucket(Bucket=bench.there)
    bench.put("b")
    assert bench.status(bench.here, "b") == "FAILED"


@pytest.mark.parametrize("region", [PRIMARY, SECONDARY])
def test_a_dark_region_at_either_end_delays(bench: Bench, region: str) -> None:
    bench.rule()
    bench.aws.control.settle(LONG)
    bench.put()
    bench.aws.control.fault("dark", region=region)
    bench.aws.control.settle(0)
    bright = bench.there if region == PRIMARY else bench.here
    assert bench.status(bright) == ("absent" if bright == bench.there else "PENDING")
    assert bench.status(bright) == ("absent" if bright == bench.there else "PENDING")
    bench.aws.control.clear_faults()
    assert (bench.status(bench.here), bench.status(bench.there)) == ("COMPLETED", "REPLICA")


def test_an_object_that_is_gone_before_its_time_is_not_copied(bench: Bench) -> None:
    bench.rule()
    bench.aws.control.settle(LONG)
    version = bench.put()
    bench.s3[bench.here].delete_object(Bucket=bench.here, Key="a", VersionId=version)
    bench.aws.control.settle(0)
    assert bench.versions(bench.there) == []


@pytest.mark.parametrize(
    ("rule", "copied"),
    [
        ({}, ["x/a", "y/a", "y/b"]),
        ({"Status": "Disabled"}, []),
        ({"Filter": {"Prefix": "x/"}}, ["x/a"]),
        ({"Filter": {"Tag": {"Key": "k", "Value": "v"}}, "DeleteMarkerReplication": {"Status": "Disabled"}}, ["y/b"]),
        (
            {
                "Filter": {"And": {"Prefix": "x/", "Tags": [{"Key": "k", "Value": "v"}]}},
                "DeleteMarkerReplication": {"Status": "Disabled"},
            },
            [],
        ),
        ({"Filter": None, "DeleteMarkerReplication": None, "Prefix": "y/", "Priority": None}, ["y/a", "y/b"]),
    ],
)
def test_filters(bench: Bench, rule: dict[str, Any], copied: list[str]) -> None:
    bench.rule(**rule)
    bench.put("x/a")
    bench.put("y/a")
    bench.put("y/b", Tagging="k=v")
    assert [key for _, key, _ in bench.versions(bench.there)] == copied
    statuses = {key: bench.status(bench.here, key) for key in ("x/a", "y/a", "y/b")}
    assert statuses == {key: "COMPLETED" if key in copied else None for key in statuses}


# -- SSE-KMS: S3 user guide, "Replicating encrypted objects" -------------------------------------------------------------


class Keys:
    """A key in each region, whose policy lets the account's IAM policies decide, and a rule and role that cover both."""

    def __init__(self, bench: Bench, client: Clients) -> None:
        self.bench, self.kms = bench, {bench.here: client("kms", PRIMARY), bench.there: client("kms", SECONDARY)}
        self.arn = {bucket: kms.create_key()["KeyMetadata"]["Arn"] for bucket, kms in self.kms.items()}
        self.criteria = {"SseKmsEncryptedObjects": {"Status": "Enabled"}}
        self.destination = {
            "Bucket": f"arn:aws:s3:::{bench.there}",
            "EncryptionConfiguration": {"ReplicaKmsKeyID": self.arn[bench.there]},
        }

    def rule(self, **more: Any) -> None:
        self.bench.rule(**{"SourceSelectionCriteria": self.criteria, "Destination": self.destination, **more})

    def statement(self, action: str, bucket: str, context: str = "/*", service: str = "") -> dict[str, Any]:
        region = PRIMARY if bucket == self.bench.here else SECONDARY
        return {
            "Effect": "Allow",
            "Action": action,
            "Resource": self.arn[bucket],
            "Condition": {
                "StringLike": {
                    "kms:ViaService": service or f"s3.{region}.amazonaws.com",
                    "kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}{context}",
                }
            },
        }

    def allow(self, *statements: dict[str, Any]) -> None:
        self.bench.allow(*ACTIONS, also=statements)

    def allow_all(self) -> None:
        here, there = self.bench.here, self.bench.there
        self.allow(self.statement("kms:Decrypt", here), self.statement("kms:Encrypt", there))

    def put(self, name: str, **more: Any) -> str | None:
        self.bench.put(name, ServerSideEncryption="aws:kms", SSEKMSKeyId=self.arn[self.bench.here], **more)
        return self.bench.status(self.bench.here, name)


@pytest.fixture
def keys(bench: Bench, client: Clients) -> Keys:
    return Keys(bench, client)


def test_aws_15_a_rule_leaves_sse_kms_objects_out_unless_it_selects_them(bench: Bench, keys: Keys) -> None:
    keys.allow_all()
    bench.rule()
    assert (keys.put("a"), bench.status(bench.there, "a")) == (None, "absent")
    keys.rule()
    assert (keys.put("b"), bench.status(bench.there, "b")) == ("COMPLETED", "REPLICA")
    replica = bench.s3[bench.there].head_object(Bucket=bench.there, Key="b")
    assert (replica["ServerSideEncryption"], replica["SSEKMSKeyId"]) == ("aws:kms", keys.arn[bench.there])
    bench.put("c")
    replica = bench.s3[bench.there].head_object(Bucket=bench.there, Key="c")
    assert replica["ServerSideEncryption"] == "AES256" and "SSEKMSKeyId" not in replica
    # What was left out stays left out.
    assert (bench.status(bench.here, "a"), bench.status(bench.there, "a")) == (None, "absent")


@pytest.mark.parametrize("lacking", ["kms:Decrypt", "kms:Encrypt", "via another service", "of another bucket"])
def test_aws_15_the_role_must_be_allowed_to_decrypt_and_to_encrypt(bench: Bench, keys: Keys, lacking: str) -> None:
    keys.rule()
    decrypt, encrypt = keys.statement("kms:Decrypt", bench.here), keys.statement("kms:Encrypt", bench.there)
    wrong = {
        "kms:Decrypt": (encrypt,),
        "kms:Encrypt": (decrypt,),
        "via another service": (
            keys.statement("kms:Decrypt", bench.here, service="rds.us-east-1.amazonaws.com"),
            encrypt,
        ),
        "of another bucket": (decrypt, keys.statement("kms:Encrypt", bench.there, context="-not/*")),
    }[lacking]
    keys.allow(*wrong)
    assert (keys.put("a"), bench.status(bench.there, "a")) == ("FAILED", "absent")
    keys.allow(decrypt, encrypt)
    assert keys.put("b") == "COMPLETED"


def test_aws_15_a_key_policy_decides_too(bench: Bench, keys: Keys) -> None:
    keys.rule()
    keys.allow_all()
    kms, key = keys.kms[bench.there], keys.arn[bench.there]
    root = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Resource": "*"}

    def policy(*statements: dict[str, Any]) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})

    # IAM policies count only where the key policy leaves it to them.
    kms.put_key_policy(
        KeyId=key, PolicyName="default", Policy=policy({**root, "Action": ["kms:Put*", "kms:Describe*"]})
    )
    assert keys.put("a") == "FAILED"
    direct = {"Effect": "Allow", "Principal": {"AWS": bench.role}, "Action": "kms:Encrypt", "Resource": "*"}
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy({**root, "Action": "kms:Put*"}, direct))
    assert keys.put("b") == "COMPLETED"
    deny = {**direct, "Effect": "Deny", "Principal": "*"}
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy({**root, "Action": "kms:*"}, direct, deny))
    assert keys.put("c") == "FAILED"


def test_aws_15_a_bucket_key_changes_the_context_and_is_decrypted_at_the_destination(bench: Bench, keys: Keys) -> None:
    keys.rule()
    keys.allow_all()
    assert keys.put("a", BucketKeyEnabled=True) == "FAILED"
    decrypt = keys.statement("kms:Decrypt", bench.here, context="")
    encrypt = keys.statement("kms:Encrypt", bench.there, context="")
    keys.allow(decrypt, encrypt)
    assert keys.put("b", BucketKeyEnabled=True) == "FAILED"
    keys.allow(decrypt, encrypt, keys.statement("kms:Decrypt", bench.there, context=""))
    assert keys.put("c", BucketKeyEnabled=True) == "COMPLETED"


@pytest.mark.parametrize("end", ["here", "there"])
def test_aws_14_a_key_on_its_way_out_at_either_end_fails_the_copy(bench: Bench, keys: Keys, end: str) -> None:
    keys.rule()
    keys.allow_all()
    bucket = getattr(bench, end)
    bench.aws.control.settle(LONG)
    keys.put("a")
    keys.kms[bucket].schedule_key_deletion(KeyId=keys.arn[bucket], PendingWindowInDays=7)
    bench.aws.control.settle(0)
    assert bench.status(bench.here, "a") == "FAILED"


def test_half_of_the_settings_is_refused(bench: Bench, keys: Keys) -> None:
    """Messages as quoted in terraform-provider-aws's users' issues."""
    bare = {"Bucket": keys.destination["Bucket"]}
    with pytest.raises(ClientError, match="ReplicaKmsKeyID must be specified if SseKmsEncryptedObjects tag is present"):
        keys.rule(Destination=bare)
    with pytest.raises(ClientError, match="SseKmsEncryptedObjects must be specified if EncryptionConfiguration"):
        keys.rule(SourceSelectionCriteria=None)
    # Whether the key exists is not checked until an object is copied.
    keys.rule(Destination={**bare, "EncryptionConfiguration": {"ReplicaKmsKeyID": keys.arn[bench.here]}})
    keys.allow_all()
    assert keys.put("a") == "FAILED"


# -- the rules -----------------------------------------------------------------------------------------------------------


def rule(name: str, **more: Any) -> dict[str, Any]:
    return {"ID": name, "Status": "Enabled", "Filter": {}, "Destination": {"Bucket": "arn:aws:s3:::b"}, **more}


@pytest.mark.parametrize(
    ("rules", "marker", "expected"),
    [
        ([rule("low", Priority=1), rule("high", Priority=9)], False, "high"),
        ([rule("high", Priority=9, Filter={"Prefix": "x"}), rule("low", Priority=1)], False, "low"),
        ([rule("r", Filter={"Tag": {"Key": "k", "Value": "v"}})], False, "r"),
        ([rule("r", Filter={"Tag": {"Key": "k", "Value": "w"}})], False, None),
        ([rule("r", DeleteMarkerReplication={"Status": "Enabled"})], True, "r"),
        ([rule("r")], True, None),
        # Rules on tags never copy delete markers.
        (
            [rule("r", Filter={"Tag": {"Key": "k", "Value": "v"}}, DeleteMarkerReplication={"Status": "Enabled"})],
            True,
            None,
        ),
    ],
)
def test_which_rule_is_about_an_object(rules: list[dict[str, Any]], marker: bool, expected: str | None) -> None:
    found = matching(rules, "a/b", {"k": "v"}, object(), marker)
    assert found.get("b", {}).get("ID") == expected
