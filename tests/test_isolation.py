"""No test reaches AWS: not one that forgets the embedded AWS, nor one that removes the endpoint."""

import json
import os
import socket
import subprocess
import sys

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from tests.support.isolation import OutsideConnectionError, RecordingProxy, isolate, outer_proxies, proxies

ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5)


def caller(service: str = "sts") -> object:
    return boto3.client(service, "us-east-1", aws_access_key_id="x", aws_secret_access_key="y", config=ONCE)


def test_a_forgotten_emulator_leads_to_a_port_where_nothing_listens() -> None:
    with pytest.raises(botocore.exceptions.EndpointConnectionError, match=r"http://127\.0\.0\.1:9/"):
        caller().get_caller_identity()


def test_without_the_endpoint_the_proxy_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with pytest.raises(botocore.exceptions.ProxyConnectionError):
        caller().get_caller_identity()


def test_no_credentials_of_the_machine_are_found() -> None:
    assert boto3.Session().get_credentials() is None


@pytest.mark.parametrize("address", ["169.254.169.254", "192.0.2.1", "2001:db8::1", "sts.amazonaws.com"])
def test_no_socket_of_the_test_process_leaves_loopback(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as outside, pytest.raises(OutsideConnectionError, match=address):
        outside.connect((address, 443))


def test_a_subprocess_inherits_the_isolation() -> None:
    program = (
        "import boto3, botocore.config, json\n"
        "config = botocore.config.Config(retries={'total_max_attempts': 1})\n"
        "for service, operation in (('sts', 'get_caller_identity'), ('s3', 'list_buckets'), ('iam', 'list_roles')):\n"
        "    client = boto3.client(service, 'us-east-1', aws_access_key_id='x', aws_secret_access_key='y', config=config)\n"
        "    try:\n"
        "        getattr(client, operation)()\n"
        "    except Exception as error:\n"
        "        print(json.dumps(type(error).__name__))\n"
    )
    with RecordingProxy() as proxy:
        env = {name: value for name, value in os.environ.items() if name != "AWS_ENDPOINT_URL"} | proxies(proxy.url)
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == ["ProxyConnectionError"] * 3
    assert [request.split(".")[-2:] for request in proxy.requests] == [["amazonaws", "com:443"]] * 3


def test_the_proxies_of_the_machine_come_back_only_for_installing() -> None:
    environ = {"https_proxy": "http://proxy.example:3128", "AWS_PROFILE": "mine", "PATH": "/bin"}
    isolate(environ)
    isolate(environ)
    assert environ["https_proxy"] == environ["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert "AWS_PROFILE" not in environ
    restored = outer_proxies(environ)
    assert restored["https_proxy"] == "http://proxy.example:3128"
    assert "HTTPS_PROXY" not in restored


def test_the_answers_of_the_embedded_aws_outlive_the_isolation() -> None:
    environ = {"DR_EMULATED_ANSWERS": "{}", "DR_ROLE_ARN": "arn:aws:iam::1:role/x"}
    isolate(environ)
    assert environ["DR_EMULATED_ANSWERS"] == "{}"
    assert "DR_ROLE_ARN" not in environ
