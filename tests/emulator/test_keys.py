"""KMS keys and secrets on their way out, and what their keys' states mean for those who use them."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from dr_assets.emulator import EmbeddedAws

from .conftest import SECONDARY, Clients


def code(call: Any, **params: Any) -> str:
    """The error code of a call, or "" where it succeeds."""
    try:
        call(**params)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


@pytest.fixture
def calendar(aws: EmbeddedAws) -> EmbeddedAws:
    """The calendar only moves forward, and other tests share this AWS: they have no waiting periods."""
    return aws


def test_aws_14_what_each_state_of_a_key_allows(client: Clients) -> None:
    """KMS developer guide, "Key states of AWS KMS keys": the table and its footnotes 1, 3, 4 and 10."""
    kms = client("kms")
    key = kms.create_key(Tags=[{"TagKey": "a", "TagValue": "b"}])["KeyMetadata"]["KeyId"]
    secret = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.enable_key_rotation(KeyId=key)
    policy = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    use: list[tuple[Any, dict[str, Any]]] = [
        (kms.encrypt, {"KeyId": key, "Plaintext": b"x"}),
        (kms.decrypt, {"CiphertextBlob": secret}),
        (kms.generate_data_key, {"KeyId": key, "KeySpec": "AES_256"}),
        (
            kms.create_grant,
            {"KeyId": key, "GranteePrincipal": "arn:aws:iam::123456789012:root", "Operations": ["Decrypt"]},
        ),
        (kms.enable_key_rotation, {"KeyId": key}),
        (kms.disable_key_rotation, {"KeyId": key}),
    ]
    change: list[tuple[Any, dict[str, Any]]] = [
        (kms.enable_key, {"KeyId": key}),
        (kms.disable_key, {"KeyId": key}),
        (kms.schedule_key_deletion, {"KeyId": key, "PendingWindowInDays": 7}),
        (kms.create_alias, {"AliasName": f"alias/{key}", "TargetKeyId": key}),
        (kms.tag_resource, {"KeyId": key, "Tags": [{"TagKey": "a", "TagValue": "c"}]}),
        (kms.untag_resource, {"KeyId": key, "TagKeys": ["a"]}),
        (kms.update_key_description, {"KeyId": key, "Description": "d"}),
    ]
    assert code(kms.cancel_key_deletion, KeyId=key) == "KMSInvalidStateException"
    kms.disable_key(KeyId=key)
    assert {code(call, **params) for call, params in use} == {"DisabledException"}
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert {code(call, **params) for call, params in use + change} == {"KMSInvalidStateException"}
    # It still exists, shows itself, and takes a policy. Its rotation status is false for the time being.
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["DeletionDate"]
    assert kms.list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "a", "TagValue": "b"}]
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    assert code(kms.put_key_policy, KeyId=key, PolicyName="default", Policy=policy) == ""
    kms.cancel_key_deletion(KeyId=key)
    shown = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (shown["KeyState"], shown["Enabled"], shown.get("DeletionDate")) == ("Disabled", False, None)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True
    assert code(kms.decrypt, CiphertextBlob=secret) == "DisabledException"
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=secret)["Plaintext"] == b"x"


def test_a_key_that_signs_is_used_as_kms_uses_it(client: Clients, name: str) -> None:
    """KMS API reference: Sign, Verify, GetPublicKey, EnableKeyRotation, UpdateAlias, and Encrypt for the key's usage."""
    kms = client("kms")
    key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    how = {"KeyId": key, "SigningAlgorithm": "ECDSA_SHA_256", "MessageType": "RAW"}
    signed = kms.sign(Message=b"m" * 4096, **how)
    assert signed["KeyId"] == key
    public = load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signed["Signature"], b"m" * 4096, ec.ECDSA(hashes.SHA256()))
    assert kms.verify(Message=b"m" * 4096, Signature=signed["Signature"], **how)["SignatureValid"] is True
    assert code(kms.verify, Message=b"n", Signature=signed["Signature"], **how) == "KMSInvalidSignatureException"
    assert code(kms.sign, Message=b"m" * 4097, **how) == "ValidationException"
    assert code(kms.sign, Message=b"m", **{**how, "KeyId": other}) == "InvalidKeyUsageException"
    assert code(kms.encrypt, KeyId=key, Plaintext=b"x") == "InvalidKeyUsageException"
    assert code(kms.get_public_key, KeyId=other) == "UnsupportedOperationException"
    assert code(kms.enable_key_rotation, KeyId=key) == "UnsupportedOperationException"
    kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
    assert kms.sign(Message=b"m", **{**how, "KeyId": f"alias/{name}"})["KeyId"] == key
    assert code(kms.update_alias, AliasName=f"alias/{name}", TargetKeyId=other) == "ValidationException"
    kms.disable_key(KeyId=key)
    assert code(kms.sign, Message=b"m", **how) == "DisabledException"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert code(kms.sign, Message=b"m", **how) == "KMSInvalidStateException"


def test_aws_14_a_key_is_destroyed_at_its_date_with_its_aliases_and_not_before(
    calendar: EmbeddedAws, client: Clients, name: str
) -> None:
    kms = client("kms", SECONDARY)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
    secret = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert code(kms.schedule_key_deletion, KeyId=key, PendingWindowInDays=6) == "ValidationException"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    calendar.control.pass_days(6)
    assert kms.describe_key(KeyId=f"alias/{name}")["KeyMetadata"]["KeyState"] == "PendingDeletion"
    calendar.control.pass_days(1.01)
    for call, params in (
        (kms.describe_key, {"KeyId": key}),
        (kms.cancel_key_deletion, {"KeyId": key}),
        (kms.describe_key, {"KeyId": f"alias/{name}"}),
        (kms.decrypt, {"CiphertextBlob": secret}),
    ):
        assert code(call, **params) in ("NotFoundException", "AccessDeniedException")
    assert key not in [item["KeyId"] for item in kms.list_keys()["Keys"]]


def test_aws_13_a_key_policy_may_name_only_principals_that_exist(client: Clients, name: str) -> None:
    """terraform-provider-aws#24697: also a role that was created a moment ago, until it has spread."""
    policy = f"""{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "kms:*", "Resource": "*",
        "Principal": {{"AWS": ["arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:role/{name}"]}}}}]}}"""
    kms, iam = client("kms"), client("iam")
    assert code(kms.create_key, Policy=policy) == "MalformedPolicyDocumentException"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
    assert code(kms.create_key, Policy=policy) == ""


def test_aws_14_a_secret_cannot_be_read_or_written_while_its_key_cannot_be_used(client: Clients, name: str) -> None:
    """Secrets Manager API reference, GetSecretValue and PutSecretValue: errors."""
    kms, secrets = client("kms"), client("secretsmanager")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    secrets.create_secret(Name=name, KmsKeyId=key, SecretString="s")
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert code(secrets.get_secret_value, SecretId=name) == "DecryptionFailure"
    assert code(secrets.put_secret_value, SecretId=name, SecretString="t") == "EncryptionFailure"
    assert secrets.describe_secret(SecretId=name)["KmsKeyId"] == key
    kms.cancel_key_deletion(KeyId=key)
    kms.enable_key(KeyId=key)
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "s"


def test_aws_13_a_secret_in_its_recovery_window_takes_nothing_but_restoring(
    calendar: EmbeddedAws, client: Clients, name: str
) -> None:
    """Messages as terraform-provider-aws matches them (internal/service/secretsmanager)."""
    secrets = client("secretsmanager", SECONDARY)
    secrets.create_secret(Name=name, SecretString="s")
    secrets.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    with pytest.raises(ClientError, match=r"InvalidRequestException.*a secret with this name is already scheduled for"):
        secrets.create_secret(Name=name)
    tag = [{"Key": "a", "Value": "b"}]
    for call, params in (
        (secrets.get_secret_value, {}),
        (secrets.put_secret_value, {"SecretString": "t"}),
        (secrets.update_secret, {"Description": "d"}),
        (secrets.tag_resource, {"Tags": tag}),
    ):
        with pytest.raises(ClientError, match=r"InvalidRequestException.*because it was marked for deletion"):
            call(SecretId=name, **params)
    assert secrets.describe_secret(SecretId=name)["DeletedDate"]
    secrets.restore_secret(SecretId=name)
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "s"
    secrets.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    calendar.control.pass_days(7.01)
    assert code(secrets.describe_secret, SecretId=name) == "ResourceNotFoundException"
    assert code(secrets.create_secret, Name=name) == ""


def test_aws_14_no_cluster_is_created_with_a_key_on_its_way_out(client: Clients, name: str) -> None:
    """RDS API reference, CreateDBCluster: KMSKeyNotAccessibleFault."""
    kms, rds = client("kms"), client("rds")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    settings = {
        "DBClusterIdentifier": name,
        "Engine": "aurora-postgresql",
        "EngineVersion": "14.13",
        "MasterUsername": "dbadmin",
        "MasterUserPassword": "a-password-of-the-test",
        "StorageEncrypted": True,
        "KmsKeyId": key,
    }
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert code(rds.create_db_cluster, **settings) == "KMSKeyNotAccessibleFault"
    kms.cancel_key_deletion(KeyId=key)
    assert code(rds.create_db_cluster, **settings) == "KMSKeyNotAccessibleFault"  # disabled
    kms.enable_key(KeyId=key)
    assert code(rds.create_db_cluster, **settings) == ""


@pytest.mark.parametrize("answer", ["keeps-running", "stops"])
def test_aws_14_a_running_cluster_outlives_its_key_or_stops_until_it_is_started_again(
    aws: EmbeddedAws, client: Clients, name: str, answer: str
) -> None:
    """Aurora user guide, "AWS KMS key management": the change "could be immediate, or deferred"; start-db-cluster recovers it."""
    kms, rds = client("kms"), client("rds")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    rds.create_db_cluster(
        DBClusterIdentifier=name,
        Engine="aurora-postgresql",
        EngineVersion="14.13",
        MasterUsername="dbadmin",
        MasterUserPassword="a-password-of-the-test",
        StorageEncrypted=True,
        KmsKeyId=key,
    )

    def status() -> str:
        return str(rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]["Status"])

    aws.control.answers(cluster_without_key=answer)
    try:
        assert status() == "available"
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        lost = "inaccessible-encryption-credentials-recoverable" if answer == "stops" else "available"
        assert status() == lost
        if answer == "stops":
            assert code(rds.start_db_cluster, DBClusterIdentifier=name) == "KMSKeyNotAccessibleFault"
        kms.cancel_key_deletion(KeyId=key)
        kms.enable_key(KeyId=key)
        assert status() == lost
        if answer == "stops":
            rds.start_db_cluster(DBClusterIdentifier=name)
            assert status() == "available"
    finally:
        aws.control.answers(cluster_without_key="keeps-running")


# -- S3 ----------------------------------------------------------------------------------------------------------------


def test_a_new_bucket_is_encrypted_and_not_public(client: Clients, name: str) -> None:
    """S3 user guide: SSE-S3 since January 2023, the public-access blocks since April 2023."""
    s3 = client("s3")
    s3.create_bucket(Bucket=name)
    rules = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules == [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]
    assert set(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.put_object(Bucket=name, Key="a")["ServerSideEncryption"] == "AES256"
    own = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=own)
    s3.delete_bucket_encryption(Bucket=name)
    assert s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"] == rules


def test_the_key_of_an_object(client: Clients, name: str) -> None:
    """aws:kms without a key means AWS's own, even where the bucket's default names one (S3 API, PutObject: SSEKMSKeyId)."""
    s3, kms = client("s3"), client("kms")
    s3.create_bucket(Bucket=name)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    rules = {"Rules": [{**default, "BucketKeyEnabled": True}]}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=rules)

    def put(**more: Any) -> tuple[Any, ...]:
        s3.put_object(Bucket=name, Key="a", Body=b"x", **more)
        shown = s3.head_object(Bucket=name, Key="a")
        return shown["ServerSideEncryption"], shown.get("SSEKMSKeyId"), shown.get("BucketKeyEnabled")

    own = kms.describe_key(KeyId="alias/aws/s3")["KeyMetadata"]["Arn"]
    assert put(ServerSideEncryption="aws:kms") == ("aws:kms", own, True)
    assert put(ServerSideEncryption="AES256") == ("AES256", None, None)
    assert put(ServerSideEncryption="aws:kms", SSEKMSKeyId=key, BucketKeyEnabled=False) == ("aws:kms", key, False)
    assert put() == ("aws:kms", key, True)


def test_aws_14_objects_cannot_be_read_or_put_while_their_key_cannot_be_used(client: Clients, name: str) -> None:
    """Codes: S3 API reference, "List of error codes" (KMS.*)."""
    s3, kms = client("s3"), client("kms")
    s3.create_bucket(Bucket=name)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    settings = {"Bucket": name, "Key": "a", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    s3.put_object(**settings, Body=b"x")
    kms.disable_key(KeyId=key)
    assert code(s3.get_object, Bucket=name, Key="a") == "KMS.DisabledException"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert code(s3.get_object, Bucket=name, Key="a") == "KMS.KMSInvalidStateException"
    assert code(s3.put_object, **settings) == "KMS.KMSInvalidStateException"
    assert code(s3.put_object, **{**settings, "SSEKMSKeyId": key[:-4] + "0000"}) == "KMS.NotFoundException"
    kms.cancel_key_deletion(KeyId=key)
    kms.enable_key(KeyId=key)
    assert s3.get_object(Bucket=name, Key="a")["Body"].read() == b"x"


def test_aws_14_a_copy_needs_the_keys_of_source_and_target(client: Clients, name: str) -> None:
    """S3 API reference, CopyObject and CreateMultipartUpload; codes: "List of error codes" (KMS.*)."""
    s3, kms = client("s3"), client("kms")
    s3.create_bucket(Bucket=name)
    source, target = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    s3.put_object(Bucket=name, Key="a", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=source)
    to = {"Bucket": name, "Key": "b", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": target}
    kms.disable_key(KeyId=source)
    upload = s3.create_multipart_upload(**to)["UploadId"]
    part = {"Bucket": name, "Key": "b", "UploadId": upload, "PartNumber": 1}
    assert code(s3.copy_object, **to, CopySource=f"{name}/a") == "KMS.DisabledException"
    assert code(s3.upload_part_copy, **part, CopySource=f"{name}/a") == "KMS.DisabledException"
    kms.enable_key(KeyId=source)
    kms.disable_key(KeyId=target)
    assert code(s3.copy_object, **to, CopySource=f"{name}/a") == "KMS.DisabledException"
    assert code(s3.create_multipart_upload, **to) == "KMS.DisabledException"
    kms.enable_key(KeyId=target)
    assert code(s3.copy_object, **to, CopySource=f"{name}/a") == ""


# -- messages ----------------------------------------------------------------------------------------------------------

# What KMS, SNS and SQS call the three reasons (service models of SNS and SQS: the errors of Publish, SendMessage, ReceiveMessage).
REASONS = [
    ("disabled", "KMSDisabled", "KMS.DisabledException"),
    ("pending", "KMSInvalidState", "KMS.InvalidStateException"),
    ("destroyed", "KMSNotFound", "KMS.NotFoundException"),
]


def retire(aws: EmbeddedAws, kms: Any, key: str, how: str) -> None:
    """Disable a key, schedule its deletion, or let its waiting period end."""
    if how == "disabled":
        kms.disable_key(KeyId=key)
        return
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    if how == "destroyed":
        aws.control.pass_days(7.01)


@pytest.mark.parametrize(("how", "of_sns", "of_sqs"), REASONS)
def test_aws_14_nothing_is_published_or_sent_or_received_while_the_key_cannot_be_used(
    calendar: EmbeddedAws, client: Clients, name: str, how: str, of_sns: str, of_sqs: str
) -> None:
    kms, sns, sqs = client("kms"), client("sns"), client("sqs")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    topic = sns.create_topic(Name=name, Attributes={"KmsMasterKeyId": key})["TopicArn"]
    queue = sqs.create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    message = {"QueueUrl": queue, "MessageBody": "m"}
    batch = [{"Id": "a", "Message": "m"}]
    assert code(sns.publish, TopicArn=topic, Message="m") == code(sqs.send_message, **message) == ""
    retire(calendar, kms, key, how)
    assert code(sns.publish, TopicArn=topic, Message="m") == of_sns
    assert code(sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=batch) == of_sns
    assert code(sqs.send_message, **message) == of_sqs
    assert code(sqs.send_message_batch, QueueUrl=queue, Entries=[{"Id": "a", "MessageBody": "m"}]) == of_sqs
    assert code(sqs.receive_message, QueueUrl=queue) == of_sqs
    sns.set_topic_attributes(TopicArn=topic, AttributeName="KmsMasterKeyId", AttributeValue="")
    assert code(sns.publish, TopicArn=topic, Message="m") == ""


@pytest.mark.parametrize("how", ["disabled", "pending", "destroyed"])
def test_aws_14_no_secret_is_created_or_given_a_key_that_cannot_be_used(
    calendar: EmbeddedAws, client: Clients, name: str, how: str
) -> None:
    """API reference, CreateSecret and UpdateSecret: EncryptionFailure; existing versions are decrypted with the former key."""
    kms, secrets = client("kms"), client("secretsmanager")
    key, other = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    secrets.create_secret(Name=name, KmsKeyId=key, SecretString="s")
    secrets.create_secret(Name=f"{name}-empty", KmsKeyId=key)
    retire(calendar, kms, key, how)
    assert code(secrets.create_secret, Name=f"{name}-new", KmsKeyId=key, SecretString="s") == "EncryptionFailure"
    assert code(secrets.create_secret, Name=f"{name}-new", KmsKeyId=key) == "EncryptionFailure"
    assert code(secrets.update_secret, SecretId=name, SecretString="t") == "EncryptionFailure"
    assert code(secrets.update_secret, SecretId=name, KmsKeyId=other) == "DecryptionFailure"
    assert code(secrets.update_secret, SecretId=f"{name}-empty", KmsKeyId=other) == ""
    assert code(secrets.update_secret, SecretId=f"{name}-empty", KmsKeyId=key) == "EncryptionFailure"
    assert code(secrets.update_secret, SecretId=name, Description="d") == ""
    assert code(secrets.get_secret_value, SecretId=name) == "DecryptionFailure"
    assert code(secrets.put_secret_value, SecretId=name, SecretString="t") == "EncryptionFailure"


@pytest.mark.parametrize("how", ["disabled", "pending", "destroyed"])
def test_aws_14_a_cluster_without_its_key_takes_no_instance_and_does_not_survive_the_keys_destruction(
    calendar: EmbeddedAws, client: Clients, name: str, how: str
) -> None:
    """RDS API, CreateDBInstance, RebootDBInstance and DeleteDBCluster: KMSKeyNotAccessibleFault; Aurora user guide, "AWS KMS key
    management" and "Viewing DB cluster status": inaccessible-encryption-credentials is for ever."""
    kms, rds = client("kms"), client("rds")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    settings = {"Engine": "aurora-postgresql", "DBInstanceClass": "db.r6g.large", "DBClusterIdentifier": name}
    rds.create_db_cluster(
        DBClusterIdentifier=name,
        Engine="aurora-postgresql",
        MasterUsername="dbadmin",
        MasterUserPassword="a-password-of-the-test",
        StorageEncrypted=True,
        KmsKeyId=key,
    )
    rds.create_db_instance(DBInstanceIdentifier=f"{name}-1", **settings)
    retire(calendar, kms, key, how)
    lost = "inaccessible-encryption-credentials" if how == "destroyed" else "available"
    assert rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]["Status"] == lost
    refused = "KMSKeyNotAccessibleFault"
    assert code(rds.create_db_instance, DBInstanceIdentifier=f"{name}-2", **settings) == refused
    assert code(rds.reboot_db_instance, DBInstanceIdentifier=f"{name}-1") == refused
    final = {"DBClusterIdentifier": name, "FinalDBSnapshotIdentifier": f"{name}-final"}
    assert code(rds.delete_db_cluster, **final) == refused
    if how == "destroyed":
        assert code(rds.start_db_cluster, DBClusterIdentifier=name) == "InvalidDBClusterStateFault"
    rds.delete_db_instance(DBInstanceIdentifier=f"{name}-1")
    rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)
