"""No secret in an exception, its chain, its pickle, its traceback with local variables, in Dagster's error or in a log."""

from __future__ import annotations

import copy
import http.server
import json
import logging
import pickle
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import psycopg
import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, HTTPClientError, ParamValidationError
from dagster._utils.error import serializable_error_info_from_exc_info

from dr_assets import aws_session
from dr_assets.alerting.channels.pagerduty import PagerDutyChannel
from dr_assets.alerting.channels.slack import SlackChannel
from dr_assets.alerting.message import Alert, compose
from dr_assets.aws import Aws, explain
from dr_assets.aws_errors import fate
from dr_assets.core.model import Call, Reads, Sensitive
from dr_assets.defs.resources import as_dagster_failure
from dr_assets.errors import DrError
from dr_assets.postgres.connection import Credentials, connect, open_connection
from dr_assets.postgres.endpoints import Address
from dr_assets.secret import Secret, conceal
from dr_assets.stack import Stack
from tests.support.monitoring import Run, healthy, sample

PLANTED = "s3cr3t/Pl+nted&\"%'"
FORMS = (PLANTED, json.dumps(PLANTED)[1:-1], "s3cr3t%2FPl%2Bnted%26%22%25%27", "s3cr3t/Pl%2Bnted%26%22%25%27", "s3cr3t")
REGION = "us-east-1"


def parts(error: BaseException, depth: int = 4) -> Iterator[str]:
    """Everything that a log, a debugger or an error tracker may show of an exception and of all that it is chained to."""
    pending: list[BaseException] = [error]
    known: set[int] = set()
    while pending:
        each = pending.pop()
        if id(each) in known:
            continue
        known.add(id(each))
        pending += [other for other in (each.__cause__, each.__context__) if other is not None]
        yield from (str(each), repr(each), repr(each.args))
        yield from shown(vars(each), depth)
        yield from shown([getattr(each, name, None) for name in ("doc", "object", "pgconn", "pgresult", "diag")], depth)
        yield from traceback.TracebackException.from_exception(each, capture_locals=True).format()
        with suppress(Exception):  # not every exception can be pickled
            yield repr(pickle.dumps(each))


def shown(value: Any, depth: int) -> Iterator[str]:
    """The value's repr and that of everything it keeps in its own variables."""
    yield repr(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    if inner is None:
        inner = vars(value).values() if hasattr(value, "__dict__") and not isinstance(value, type) else ()
    if depth:
        for item in inner:
            yield from shown(item, depth - 1)


def none_in(texts: Iterator[str] | list[str]) -> None:
    for text in texts:
        assert not any(form in text for form in FORMS), text.replace(PLANTED, "!!!PLANTED!!!")


def caught(act: Callable[[], object]) -> BaseException:
    """What `act` raises, as `dr`, a Dagster step and a logger see it; none shows the secret."""
    try:
        act()
    except Exception as error:
        none_in(parts(error))
        logging.getLogger("dr_assets.test").exception("it failed")
        logging.getLogger("dr_assets.test").warning("it failed: %s", error)
        with pytest.raises(BaseException) as step, as_dagster_failure():
            raise
        none_in(parts(step.value))
        info = serializable_error_info_from_exc_info((type(step.value), step.value, step.value.__traceback__))
        none_in([dg.serialize_value(info), info.to_string()])
        return error
    raise AssertionError("nothing was raised")


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    caplog.set_level(logging.INFO)
    yield
    formatter = logging.Formatter()
    none_in([formatter.format(record) for record in caplog.records])
    none_in(list(capfd.readouterr()))


# --- the wrapper ------------------------------------------------------------------------------------------------------------


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(PLANTED)
    none_in([str(secret), repr(secret), f"{secret}", repr([secret]), repr({"a": secret})])
    assert secret.reveal() == PLANTED
    for act in (pickle.dumps, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            act(secret)


def test_concealing_keeps_the_type_and_the_rest_of_the_text() -> None:
    error = ClientError({"Error": {"Code": "X", "Message": f"{PLANTED} is no good"}, "n": [1, PLANTED]}, "Put")
    conceal(error, [PLANTED, ""])
    assert type(error) is ClientError
    assert str(error) == "An error occurred (X) when calling the Put operation: <secret> is no good"
    assert error.response == {"Error": {"Code": "X", "Message": "<secret> is no good"}, "n": [1, "<secret>"]}
    none_in(parts(error))


# --- calls to AWS -----------------------------------------------------------------------------------------------------------


class Planted(Sensitive):
    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def reveal(self, reads: Reads) -> Any:
        return self._make()


class Answers(http.server.BaseHTTPRequestHandler):
    """Gives every request the answer that the test has put into `status` and `body`; -1 hangs up, having read the request."""

    status, body = 200, b""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if type(self).status < 0:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(type(self).status)
        self.send_header("Content-Length", str(len(type(self).body)))
        self.end_headers()
        self.wfile.write(type(self).body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Answers]]:
    handler = type("Own", (Answers,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)
    monkeypatch.setenv("AWS_SESSION_TOKEN", PLANTED)
    monkeypatch.setattr(aws_session, "_assumed", {})
    yield handler
    server.shutdown()
    server.server_close()


def put(make: Callable[[], Any]) -> None:
    """As the reconcile loop makes a call with a secret in it."""
    call = Call("secretsmanager", "put_secret_value", {"SecretId": "x", "SecretString": Planted(make)})
    Aws().act(call, REGION, "123456789012")


ECHO = json.dumps({"__type": "InvalidParameterException", "message": f"{PLANTED} is not allowed"}).encode()


@pytest.mark.parametrize(("status", "body"), [(400, ECHO), (403, ECHO), (500, ECHO), (400, b"<" + ECHO), (-1, b"")])
@pytest.mark.parametrize("revealed", [lambda: PLANTED, lambda: json.dumps({"host": "h", "password": PLANTED})])
def test_case_d3_a_failed_write_does_not_show_what_it_carried(
    answers: type[Answers], status: int, body: bytes, revealed: Callable[[], Any]
) -> None:
    answers.status, answers.body = status, body
    error = caught(lambda: put(revealed))
    assert fate(error) == ("refused" if status in (400, 403) else "unknown")
    found = explain(error, "secretsmanager", "put_secret_value", REGION)
    none_in(parts(found))
    assert "secretsmanager put_secret_value in us-east-1" in str(found)


@pytest.mark.parametrize(
    "revealed", [lambda: {"password": PLANTED}, lambda: [PLANTED], PLANTED.encode, lambda: {PLANTED: 1}]
)
def test_case_d3_a_parameter_of_the_wrong_type_is_named_and_not_quoted(
    answers: type[Answers], revealed: Callable[[], Any]
) -> None:
    error = caught(lambda: put(revealed))
    assert isinstance(error, ParamValidationError) and fate(error) == "unsent"
    found = explain(error, "secretsmanager", "put_secret_value", REGION)
    assert "Invalid type for parameter SecretString" in str(found)
    none_in([*parts(found), *parts(error)])


def explained(act: Callable[[], object]) -> DrError:
    """As every caller of boto3 in the product: the error becomes the cause of one with a remedy."""

    def run() -> None:
        try:
            act()
        except Exception as error:
            raise explain(error, "sts", "get_caller_identity", REGION) from error

    found = caught(run)
    assert isinstance(found, DrError)
    return found


def identity() -> None:
    Aws().reads().call("sts", "get_caller_identity", REGION)


def test_case_d3_a_quoted_value_is_withheld_from_every_call(answers: type[Answers]) -> None:
    def read() -> None:
        with_planted = {"SecretId": {"x": PLANTED + ", type: <class 'x'>\nand more: " + PLANTED}}
        params, with_planted = with_planted, {}
        try:
            Aws().client("secretsmanager", REGION).get_secret_value(**params)
        finally:
            params = {}

    assert "Invalid type for parameter SecretId" in str(explained(read))


@pytest.mark.parametrize(
    "script",
    [
        "echo $PLANTED >&2; exit 1",
        "echo $PLANTED",
        'printf "{\\"Version\\": 1, \\"x\\": \\"$PLANTED"',
        'printf "\\xff$PLANTED"',
    ],
    ids=["stderr", "no JSON", "half JSON", "no UTF-8"],
)
def test_case_d3_what_a_credential_process_writes_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: type[Answers], script: str
) -> None:
    """AWS_PROFILE with `credential_process` (AWS CLI user guide, "Sourcing credentials with an external process")."""
    program = tmp_path / "process"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (tmp_path / "config").write_text(f"[profile p]\ncredential_process = {program}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "p")
    monkeypatch.setenv("PLANTED", PLANTED)
    assert "sts" in str(explained(identity)) or "custom-process" in str(explained(identity))


def test_other_errors_of_credentials_keep_their_text() -> None:
    error = CredentialRetrievalError(provider="iam-role", error_msg="still expired")
    assert "iam-role: still expired" in str(explain(error, "sts", "get_caller_identity", REGION))


@pytest.mark.parametrize("cut", [20, 200, 420])
def test_case_d3_a_garbled_answer_with_credentials_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, answers: type[Answers], cut: int
) -> None:
    whole = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        f"<SecretAccessKey>{PLANTED}</SecretAccessKey><SessionToken>{PLANTED}</SessionToken><AccessKeyId>ASIA</AccessKeyId>"
        "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    ).replace("&", "&amp;")
    answers.body = whole[:cut].encode()
    monkeypatch.setenv("DR_ROLE_ARN", "arn:aws:iam::123456789012:role/dr-operator")
    explained(identity)


def test_a_request_that_an_error_keeps_is_dropped() -> None:
    error = HTTPClientError(error=ValueError(PLANTED), request=SimpleNamespace(body=PLANTED))
    conceal(error, [PLANTED])
    none_in(parts(error))


# --- the database -----------------------------------------------------------------------------------------------------------

ADDRESS = Address("db.example.test", "127.0.0.1", 1)


def credentials() -> Credentials:
    document = {"username": "u", "password": PLANTED, "host": "h", "port": 5432, "dbname": "d"}
    return Credentials.from_text(Secret(json.dumps(document)), "x")


@pytest.fixture
def authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    import certifi

    monkeypatch.setenv("DR_TLS_CA", certifi.where())


def test_case_d3_the_credentials_do_not_show_the_password() -> None:
    none_in([repr(credentials()), str(credentials()), repr(vars(credentials()))])


@pytest.mark.parametrize(
    "text",
    [PLANTED, f'{{"password": "{PLANTED}', f'["{PLANTED}"]', f'{{"password": "{FORMS[2]}"}}', "[" * 10_000 + PLANTED],
)
def test_case_d3_a_secret_that_is_no_json_is_not_quoted(text: str) -> None:
    secret = Secret(text)
    assert str(caught(lambda: Credentials.from_text(secret, "x"))).endswith("Provision the stack again.")


class Texts:
    """Keeps the text out of the test's own frames, which `caught` looks through."""

    text = ""


@pytest.mark.parametrize("port", ["²", "٣", "70000", "1e3", "-1", "9" * 5000])
def test_a_port_that_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(DrError, match="port in the database secret is not a number"):
        Credentials.from_secret({"username": "u", "password": "p", "host": "h", "port": port, "dbname": "d"})


def peer(answer: bytes) -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(100)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield Address("db.example.test", "127.0.0.1", server.getsockname()[1])


@pytest.mark.parametrize("answer", [b"", b"N", b"X", b"S\x15\x03\x01\x00\x02\x02\x28", b"Eno thanks\0"])
def test_case_d3_a_database_that_cannot_be_reached(authorities: None, answer: bytes) -> None:
    for address in (next(peer(answer)), ADDRESS):
        error = caught(lambda: open_connection(address, credentials()))  # noqa: B023 # called at once
        assert isinstance(error, psycopg.OperationalError | DrError)

        def short() -> None:
            with connect(address, credentials()):  # noqa: B023 # called at once
                raise AssertionError

        assert isinstance(caught(short), DrError)


@pytest.mark.parametrize(
    ("name", "value"), [("PGSERVICE", "nowhere"), ("PGSSLCERTMODE", "odd"), ("PGTARGETSESSIONATTRS", "odd")]
)
def test_case_d3_a_libpq_that_refuses_its_parameters(
    monkeypatch: pytest.MonkeyPatch, authorities: None, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    caught(lambda: open_connection(ADDRESS, credentials()))


def test_case_d3_parameters_that_libpq_cannot_take(authorities: None) -> None:
    Texts.text = PLANTED + "\0"
    broken = Credentials("u", Secret(Texts.text), "h", 1, "d")
    caught(lambda: open_connection(ADDRESS, broken))


# --- channels ---------------------------------------------------------------------------------------------------------------


def alert(stack: Stack) -> Alert:
    run = Run(stack)
    for second in (0, 10):
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, 0.0)])
    return compose(run.last.transitions[0], {})


URLS = (
    PLANTED,
    f"http://example.test/{PLANTED}",
    f"https://127.0.0.1:1/{FORMS[2]}",
    f"http://127.0.0.1:1/{FORMS[2]}",
    f"https://u:{FORMS[2]}@example.test/",
    f"https://127.0.0.1:port/{FORMS[2]}",
)


@pytest.mark.parametrize("number", range(len(URLS)))
def test_case_d3_no_channel_shows_its_url_or_key(stack: Stack, number: int) -> None:
    composed = alert(stack)
    for channel in (SlackChannel(URLS[number]), PagerDutyChannel(PLANTED, URLS[number])):
        none_in([repr(channel), repr(vars(channel))])
        assert isinstance(caught(lambda: channel.send(composed)), DrError)  # noqa: B023 # called at once


@pytest.mark.parametrize("status", [-1, 302, 400, 500])
def test_case_d3_no_channel_shows_what_it_sent(stack: Stack, answers: type[Answers], status: int) -> None:
    import os

    answers.status = status
    composed, url = alert(stack), os.environ["AWS_ENDPOINT_URL"]
    for channel in (SlackChannel(f"{url}/{FORMS[2]}"), PagerDutyChannel(PLANTED, f"{url}/{FORMS[2]}")):
        assert isinstance(caught(lambda: channel.send(composed)), DrError)  # noqa: B023 # called at once
