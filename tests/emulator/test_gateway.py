"""Call log, faults, control API and process lifetime."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from dr_assets.emulator import Control, EmbeddedAws

from .conftest import PRIMARY, SECONDARY, Clients


def last(aws: EmbeddedAws) -> dict[str, Any]:
    return aws.control.calls()[-1]


def test_log_names_region_service_and_operation_of_every_protocol(aws: EmbeddedAws, client: Clients, name: str) -> None:
    start = max((call["n"] for call in aws.control.calls()), default=0)
    client("rds", SECONDARY).describe_db_clusters()  # query
    client("ec2").describe_vpcs()  # ec2 query
    client("kms").list_keys()  # json
    client("cloudwatch", SECONDARY).describe_alarms()  # cbor
    client("sqs").list_queues()
    client("s3", SECONDARY).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": SECONDARY})
    client("s3", SECONDARY).put_object(Bucket=name, Key="a/b", Body=b"x")
    client("s3", SECONDARY).get_bucket_versioning(Bucket=name)
    client("route53").list_hosted_zones()
    client("iam", SECONDARY).list_roles()
    calls = aws.control.calls(since=start)
    assert [(c["service"], c["operation"], c["region"], c["mutating"]) for c in calls] == [
        ("rds", "DescribeDBClusters", SECONDARY, False),
        ("ec2", "DescribeVpcs", PRIMARY, False),
        ("kms", "ListKeys", PRIMARY, False),
        ("cloudwatch", "DescribeAlarms", SECONDARY, False),
        ("sqs", "ListQueues", PRIMARY, False),
        ("s3", "CreateBucket", SECONDARY, True),
        ("s3", "PutObject", SECONDARY, True),
        ("s3", "GetBucketVersioning", SECONDARY, False),
        ("route53", "ListHostedZones", PRIMARY, False),
        ("iam", "ListRoles", PRIMARY, False),
    ]
    assert [c["n"] for c in calls] == list(range(start + 1, start + 11))
    assert {c["status"] for c in calls} == {200}
    assert {c["access_key"] for c in calls} == {"AKIADRASSETSLOCAL000"}


def test_log_keeps_the_error_code(aws: EmbeddedAws, client: Clients) -> None:
    with pytest.raises(ClientError):
        client("rds").describe_db_clusters(DBClusterIdentifier="absent")
    assert (last(aws)["status"], last(aws)["error_code"]) == (404, "DBClusterNotFoundFault")
    with pytest.raises(ClientError):
        client("secretsmanager").describe_secret(SecretId="absent")
    assert last(aws)["error_code"] == "ResourceNotFoundException"
    with pytest.raises(ClientError):
        client("s3").head_bucket(Bucket="absent-bucket-absent")
    assert last(aws)["status"] == 404


CALLS = [
    ("rds", "describe_db_clusters", {}, "Throttling"),
    ("ec2", "describe_vpcs", {}, "RequestLimitExceeded"),
    ("s3", "list_buckets", {}, "SlowDown"),
    ("route53", "list_hosted_zones", {}, "Throttling"),
    ("kms", "list_keys", {}, "ThrottlingException"),
    ("cloudwatch", "describe_alarms", {}, "Throttling"),
    ("sqs", "list_queues", {}, "RequestThrottled"),
    ("sns", "list_topics", {}, "Throttled"),
    ("logs", "describe_log_groups", {}, "ThrottlingException"),
    ("iam", "list_roles", {}, "Throttling"),
]


@pytest.mark.parametrize(("service", "method", "arguments", "code"), CALLS)
def test_throttle_and_error_use_the_protocol_of_the_service(
    aws: EmbeddedAws, client: Clients, service: str, method: str, arguments: dict[str, Any], code: str
) -> None:
    call = getattr(client(service), method)
    aws.control.fault("throttle", service=service)
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["RequestId"]
    aws.control.clear_faults()
    aws.control.fault("error", service=service, region=PRIMARY)
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    aws.control.clear_faults()
    call(**arguments)


def test_a_fault_hits_only_what_it_names(aws: EmbeddedAws, client: Clients) -> None:
    aws.control.fault("throttle", region=SECONDARY, service="kms", operation="ListKeys")
    client("kms").list_keys()
    client("kms", SECONDARY).list_aliases()
    with pytest.raises(ClientError):
        client("kms", SECONDARY).list_keys()


def test_rate_is_repeatable(aws: EmbeddedAws, client: Clients) -> None:
    def draw() -> list[bool]:
        aws.control.clear_faults()
        aws.control.fault("error", service="kms", rate=0.5, seed=7)
        hits = []
        for _ in range(12):
            try:
                client("kms").list_keys()
                hits.append(False)
            except ClientError:
                hits.append(True)
        return hits

    first = draw()
    assert first == draw()
    assert 0 < sum(first) < 12


def test_a_refused_call_is_not_executed(aws: EmbeddedAws, client: Clients, name: str) -> None:
    aws.control.fault("error", service="sns", operation="CreateTopic")
    with pytest.raises(ClientError):
        client("sns").create_topic(Name=name)
    aws.control.clear_faults()
    assert not [t for t in client("sns").list_topics()["Topics"] if t["TopicArn"].endswith(name)]


def test_aws_13_an_error_given_n_times_is_that_of_aws_and_ends_by_itself(
    aws: EmbeddedAws, client: Clients, name: str
) -> None:
    """The answers of terraform-provider-aws's retries: their code and text, a few times, nothing carried out meanwhile."""
    text = "IAM role ARN value is invalid or does not include the required permissions for: ENHANCED_MONITORING"
    aws.control.fault(
        "error", service="rds", operation="CreateDBSubnetGroup", code="InvalidParameterValue", message=text, times=2
    )
    wanted = {"DBSubnetGroupName": name, "DBSubnetGroupDescription": "x", "SubnetIds": ["subnet-1"]}
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            client("rds").create_db_subnet_group(**wanted)
        assert caught.value.response["Error"]["Code"] == "InvalidParameterValue"
        assert caught.value.response["Error"]["Message"] == text
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError) as caught:
        client("rds").create_db_subnet_group(**wanted)
    assert caught.value.response["Error"]["Message"] != text
    assert [fault["times"] for fault in aws.control.faults()] == [0]


@pytest.mark.parametrize("mode", ["error-after", "lost-after"])
def test_aws_16_a_call_can_be_carried_out_and_its_answer_fail_or_be_lost(
    aws: EmbeddedAws, client: Clients, name: str, mode: str
) -> None:
    aws.control.fault(mode, service="sns", operation="CreateTopic", times=1)
    with pytest.raises((ClientError, ConnectionClosedError)) as caught:
        client("sns").create_topic(Name=name)
    if isinstance(caught.value, ClientError):
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert [t for t in client("sns").list_topics()["Topics"] if t["TopicArn"].endswith(name)]


def test_an_answer_can_be_garbled(aws: EmbeddedAws, client: Clients) -> None:
    aws.control.fault("garbled", service="rds", operation="DescribeDBClusters", times=1)
    with pytest.raises((ResponseParserError, KeyError)):  # well-formed HTML lacks botocore's wrapper element
        client("rds").describe_db_clusters()
    aws.control.fault("garbled", service="kms", operation="ListKeys", times=1, message='{"Keys": null}')
    assert client("kms").list_keys().get("Keys") is None
    client("rds").describe_db_clusters()


def test_a_parameter_can_be_taken_and_ignored(aws: EmbeddedAws, client: Clients, name: str) -> None:
    aws.control.fault("ignored", service="sqs", operation="CreateQueue", parameter="Attributes")
    url = client("sqs").create_queue(QueueName=name, Attributes={"VisibilityTimeout": "77"})["QueueUrl"]
    found = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert found["VisibilityTimeout"] != "77"


def test_dark_region_never_answers_and_the_other_does(aws: EmbeddedAws, client: Clients) -> None:
    aws.control.fault("dark", region=SECONDARY)
    impatient = client("rds", SECONDARY, read_timeout=1)
    started = time.monotonic()
    with pytest.raises(ReadTimeoutError):
        impatient.describe_db_clusters()
    assert time.monotonic() - started < 15
    client("rds").describe_db_clusters()
    dark = [call for call in aws.control.calls() if call["error_code"] == "dark"]
    assert dark[-1]["region"] == SECONDARY and dark[-1]["status"] == 0


def test_clearing_faults_drops_what_is_held(aws: EmbeddedAws, client: Clients) -> None:
    aws.control.fault("dark", region=SECONDARY)
    threading.Timer(0.5, aws.control.clear_faults).start()
    with pytest.raises(ConnectionClosedError):
        client("kms", SECONDARY, read_timeout=20).list_keys()
    client("kms", SECONDARY).list_keys()


def test_a_slow_answer_is_correct_and_blocks_no_other_call(aws: EmbeddedAws, client: Clients) -> None:
    aws.control.fault("slow", region=SECONDARY, seconds=3.0)
    client("kms").list_keys()
    slow = threading.Thread(target=client("kms", SECONDARY).list_keys)
    started = time.monotonic()
    slow.start()
    time.sleep(0.1)
    client("kms").list_keys()
    assert slow.is_alive()
    slow.join()
    assert time.monotonic() - started >= 3.0


def test_a_long_poll_blocks_no_other_call(client: Clients, name: str) -> None:
    url = client("sqs").create_queue(QueueName=name)["QueueUrl"]
    received: list[Any] = []
    poller = client("sqs", PRIMARY, read_timeout=20)
    thread = threading.Thread(target=lambda: received.append(poller.receive_message(QueueUrl=url, WaitTimeSeconds=10)))
    thread.start()
    time.sleep(0.3)
    started = time.monotonic()
    client("sqs").send_message(QueueUrl=url, MessageBody="hello")
    thread.join(9)
    assert time.monotonic() - started < 8  # the poll waits for ten
    assert received[0]["Messages"][0]["Body"] == "hello"


def test_an_operation_that_is_not_implemented_is_named(client: Clients) -> None:
    with pytest.raises(ClientError) as caught:
        client("rds").describe_db_major_engine_versions()
    assert caught.value.response["Error"]["Code"] == "NotImplemented"
    assert "rds:DescribeDBMajorEngineVersions" in caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_control_refuses_nonsense(aws: EmbeddedAws) -> None:
    for arguments in (
        {"mode": "purple"},
        {"mode": "slow", "rate": 2},
        {"mode": "slow", "seconds": -1},
        {"mode": "error", "times": 0},
        {"mode": "ignored"},
    ):
        with pytest.raises(ValueError):
            aws.control.fault(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        aws.control.settle(-1)
    with pytest.raises(ValueError):
        Control(aws.endpoint_url)._request("GET", "nowhere")


def test_concurrent_calls_are_all_answered_and_logged(aws: EmbeddedAws, client: Clients, name: str) -> None:
    start = max((call["n"] for call in aws.control.calls()), default=0)
    sqs = client("sqs", PRIMARY, max_pool_connections=8)
    threads = [
        threading.Thread(target=lambda i=i: [sqs.create_queue(QueueName=f"{name}-{i}-{j}") for j in range(5)])
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sqs.list_queues(QueueNamePrefix=name)["QueueUrls"]) == 40
    assert len([c for c in aws.control.calls(since=start) if c["operation"] == "CreateQueue"]) == 40


# -- process lifetime, each with a server of its own -------------------------------------------------------------------


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def _wait_gone(pid: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not _alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_reset_forgets_resources_calls_and_faults() -> None:
    import boto3

    with EmbeddedAws(settle_seconds=0.2) as own:
        kms = boto3.client(
            "kms", PRIMARY, endpoint_url=own.endpoint_url, aws_access_key_id="A", aws_secret_access_key="b"
        )
        kms.create_key()
        own.control.fault("slow", service="s3", seconds=1)
        own.control.alarms(pace=60)
        own.control.reset()
        assert own.control.calls() == [] and own.control.faults() == []
        assert own.control.alarms(evaluate=True) == {"pace": 1.0}
        assert kms.list_keys()["Keys"] == []


def test_dark_calls_do_not_delay_the_end() -> None:
    own = EmbeddedAws().start()
    own.control.fault("dark")
    host, port = own.endpoint_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as held:
        held.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.2)
        started = time.monotonic()
        own.stop()
        assert time.monotonic() - started < 4.5  # after five it is killed


def test_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    script = (
        "import json, time\n"
        "from dr_assets.emulator import EmbeddedAws\n"
        "aws = EmbeddedAws().start()\n"
        f"open({str(tmp_path / 'folder')!r}, 'w').write(aws._directory.name)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(aws._process.pid))\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline and owner.poll() is None
            time.sleep(0.05)
        server = int((tmp_path / "pid").read_text())
        folder = Path((tmp_path / "folder").read_text())
        assert _alive(server) and folder.is_dir()
        owner.send_signal(signal.SIGKILL)
        owner.wait(5)
        assert _wait_gone(server)
        assert not folder.exists()
    finally:
        owner.kill()


def test_ready_file_names_the_port_and_sigterm_ends(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "dr_assets.emulator.gateway.server", "--ready-file", str(ready)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        started = json.loads(ready.read_text())
        assert started["pid"] == process.pid
        assert Control(started["aws_endpoint_url"]).calls() == []
        process.terminate()
        assert process.wait(5) == 0
        assert [path.name for path in tmp_path.iterdir()] == ["ready.json"]
    finally:
        process.kill()
