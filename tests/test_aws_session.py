"""The role of DR_ROLE_ARN makes every AWS call of the product, through the STS of the region that is called."""

from __future__ import annotations

import ast
import datetime as dt
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, NoCredentialsError

from dr_assets import aws_session
from dr_assets.alerting.channels.channel import AlertRefused
from dr_assets.alerting.channels.sns import SnsChannel
from dr_assets.alerting.message import Alert, compose
from dr_assets.aws import Aws
from dr_assets.aws_session import AssumedRole, AwsSession, Role, role_session_name
from dr_assets.defs.resources import AwsStack
from dr_assets.drills import runner
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import CredentialsError, UnansweredError
from dr_assets.history.store import open_store
from dr_assets.reconcile import service
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Site, Stack
from dr_assets.ticks.monitor import Monitor
from tests.support.monitoring import Run, healthy, sample
from tests.support.principal import create_role, user

EAST, WEST = "us-east-1", "us-west-2"
ROLE = "arn:aws:iam::123456789012:role/dr-operator"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as aws:
        yield aws


@pytest.fixture
def cloud(embedded: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedAws]:
    for name, value in {**embedded.env(), **user(embedded, "*")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aws_session, "_assumed", {})
    embedded.control.clear_calls()
    yield embedded
    embedded.control.clear_faults()


@pytest.fixture
def role(cloud: EmbeddedAws) -> str:
    arn = create_role(cloud, [EVERYTHING])
    cloud.control.clear_calls()
    return arn


def alert(stack: Stack) -> Alert:
    """The alert that the writer takes no connections."""
    run = Run(stack)
    for second in (0, 10):
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, 0.0)])
    return compose(run.last.transitions[0], {})


def own_key(cloud: EmbeddedAws) -> str:
    return cloud.env()["AWS_ACCESS_KEY_ID"]


def operations(cloud: EmbeddedAws, name: str) -> list[dict[str, Any]]:
    return [call for call in cloud.control.calls() if call["operation"] == name]


def test_case_e3_every_call_of_the_product_is_made_as_the_role(
    cloud: EmbeddedAws, role: str, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verification, drills, sensors, the SNS channel and the history in S3; only AssumeRole is called with the caller's key."""
    boto3.client("s3").create_bucket(Bucket="history-l6p3z2w4")
    cloud.control.clear_calls()
    monkeypatch.setenv("DR_ROLE_ARN", role)
    service.verify(stack)
    runner.clients().reads().call("rds", "describe_global_clusters", WEST)
    monitor = Monitor(stack, open_store("s3://history-l6p3z2w4"))
    monitor.poll()
    with pytest.raises(AlertRefused):  # there is no topic; the call is what matters
        SnsChannel(stack).send(alert(stack))
    open_store("s3://history-l6p3z2w4").write("a.json", b"{}")
    calls = cloud.control.calls()
    assert {"rds", "sns", "s3"} <= {call["service"] for call in calls}
    assert [call for call in calls if call["operation"] != "AssumeRole" and call["access_key"] == own_key(cloud)] == []


def test_case_e3_no_module_makes_a_client_of_its_own() -> None:
    """Whatever makes a client or session outside `aws_session` would ignore the role."""
    found = []
    for path in sorted(Path(aws_session.__file__).parent.rglob("*.py")):
        if "emulator" in path.parts or path.name == "aws_session.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] in ("boto3", "s3fs", "pyarrow.fs")]
            found += [f"{path.name}: {name}" for name in names if name in ("botocore.session", "pyarrow.fs")]
    assert found == []


def test_a_role_adds_no_call_to_a_verification(
    cloud: EmbeddedAws, role: str, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AssumeRole takes the place of GetCallerIdentity, once for the whole process."""
    service.verify(stack)
    without = len(cloud.control.calls())
    monkeypatch.setenv("DR_ROLE_ARN", role)
    cloud.control.clear_calls()
    service.verify(stack)
    assert len(cloud.control.calls()) == without
    cloud.control.clear_calls()
    service.verify(stack)
    assert len(cloud.control.calls()) == without - 1
    assert operations(cloud, "AssumeRole") == []


def test_the_surviving_region_needs_no_other_region_s_sts(
    cloud: EmbeddedAws, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.control.fault("dark", region=EAST)
    monkeypatch.setenv("DR_ROLE_ARN", role)
    Aws().reads().call("rds", "describe_global_clusters", WEST)
    assert {call["region"] for call in cloud.control.calls()} == {WEST}


def test_each_site_may_have_a_role_of_its_own(cloud: EmbeddedAws, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = create_role(cloud, [EVERYTHING])
    monkeypatch.setenv("DR_ROLE_ARN_PRIMARY", role)
    monkeypatch.setenv("DR_ROLE_ARN_SECONDARY", other)

    def caller(region: str) -> str:
        return str(Aws().client("sts", region).get_caller_identity()["Arn"])

    assert role.rsplit("/", 1)[1] in caller(EAST)
    assert other.rsplit("/", 1)[1] in caller(WEST)
    monkeypatch.setenv("DR_ROLE_ARN_SECONDARY", "")
    monkeypatch.setenv("DR_ROLE_ARN", other)
    assert other.rsplit("/", 1)[1] in caller(WEST)
    assert other.rsplit("/", 1)[1] in caller("eu-west-1")


@pytest.mark.parametrize("site", ["primary", "secondary"])
def test_case_e3_a_site_s_role_that_is_refused_makes_that_site_unknown_and_leaves_the_other(
    cloud: EmbeddedAws, role: str, stack: Stack, monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    missing = "arn:aws:iam::123456789012:role/no-such-role"
    monkeypatch.setenv("DR_ROLE_ARN_PRIMARY", missing if site == "primary" else role)
    monkeypatch.setenv("DR_ROLE_ARN_SECONDARY", missing if site == "secondary" else role)
    outcomes = service.verify(stack).outcomes
    regions = {resource.key: resource.region for resource in catalog(stack)}
    refused = {outcome.key for outcome in outcomes if outcome.status == "unknown"}
    own = {key for key, region in regions.items() if region == stack.region(site)}
    # What is found through a resource of the refused site, or depends on it, is unknown with it.
    assert own <= refused and len(refused) < len(own) + 15
    assert any(missing in outcome.reason for outcome in outcomes)
    for variable in ("DR_ROLE_ARN_PRIMARY", "DR_ROLE_ARN_SECONDARY"):
        monkeypatch.setenv(variable, missing)
    with pytest.raises(CredentialsError, match="no-such-role"):
        service.verify(stack)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DR_ROLE_ARN": "dr-operator"}, "DR_ROLE_ARN='dr-operator' is not the ARN of an IAM role"),
        ({"DR_ROLE_ARN": "arn:aws:iam::123456789012:user/x"}, "DR_ROLE_ARN="),
        ({"DR_ROLE_ARN": ROLE + "\n"}, "DR_ROLE_ARN="),
        ({"DR_ROLE_ARN_PRIMARY": ROLE, "DR_ROLE_ARN_SECONDARY": "x"}, "DR_ROLE_ARN_SECONDARY="),
        ({"DR_ROLE_ARN_PRIMARY": ROLE}, "Set DR_ROLE_ARN_SECONDARY or DR_ROLE_ARN too"),
        ({"DR_ROLE_ARN": ROLE, "DR_EXTERNAL_ID": "a b"}, "DR_EXTERNAL_ID must be"),
        ({"DR_EXTERNAL_ID": "0815-abc"}, "DR_EXTERNAL_ID is set without a role"),
        ({"DR_ROLE_ARN": ROLE, "DR_ROLE_ARN_PRIMARY": ROLE.replace("9012", "9999")}, "different accounts"),
    ],
)
def test_a_value_that_cannot_be_right_is_named(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CredentialsError) as caught:
        AwsSession()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


# --- one role's credentials ----------------------------------------------------------------------------------------------


class Sts:
    """AssumeRole as the STS API reference has it; `problem` is raised instead."""

    def __init__(self, seconds: float = 3600.0) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.seconds, self.problem = seconds, None

    def client(self, service: str, region_name: str, **_: Any) -> Any:
        assert service == "sts"
        self.region = region_name
        return self

    def assume_role(self, **params: Any) -> dict[str, Any]:
        self.calls.append((self.region, params))
        if self.problem:
            raise self.problem
        expires = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=self.seconds)
        keys = {"AccessKeyId": f"ASIA{len(self.calls)}", "SecretAccessKey": "s", "SessionToken": "t"}
        return {"Credentials": {**keys, "Expiration": expires}}


def assumed(sts: Any, external_id: str | None = None) -> AssumedRole:
    return AssumedRole(Role(ROLE, "DR_ROLE_ARN", external_id), sts, {})


def test_credentials_are_fetched_once_for_all_regions_and_anew_before_they_expire() -> None:
    sts = Sts()
    role = assumed(sts, "0815-abc")
    assert [role.get(region).access_key for region in (WEST, EAST, WEST)] == ["ASIA1"] * 3
    assert sts.calls == [(WEST, {"RoleArn": ROLE, "RoleSessionName": role_session_name(), "ExternalId": "0815-abc"})]
    sts = Sts(seconds=300.0)
    role = assumed(sts)
    assert [role.get(region).access_key for region in (WEST, EAST)] == ["ASIA1", "ASIA2"]
    assert "ExternalId" not in sts.calls[0][1]


def test_credentials_that_are_still_valid_serve_while_sts_is_silent() -> None:
    sts = Sts(seconds=300.0)
    role = assumed(sts)
    role.get(EAST)
    sts.problem = ConnectTimeoutError(endpoint_url="https://sts.us-east-1.amazonaws.com")
    assert role.get(EAST).access_key == "ASIA1"
    gone = Sts(seconds=10.0)
    role = assumed(gone)
    role.get(EAST)
    gone.problem = sts.problem
    with pytest.raises(UnansweredError, match=r"dr-operator \(DR_ROLE_ARN\) was not assumed: sts in us-east-1"):
        role.get(EAST)


def test_a_refused_role_is_named_with_its_variable() -> None:
    sts = Sts()
    answer = {
        "Error": {"Code": "AccessDenied", "Message": "User is not authorized to perform: sts:AssumeRole"},
        "ResponseMetadata": {"HTTPStatusCode": 403},
    }
    sts.problem = ClientError(answer, "AssumeRole")
    with pytest.raises(CredentialsError, match="Correct DR_ROLE_ARN, or let the role's trust policy admit the caller"):
        assumed(sts, "0815-abc").get(EAST)


def refusal(code: str) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    return ClientError(answer, "AssumeRole")


@pytest.mark.parametrize("problem", [refusal("AccessDenied"), refusal("ExpiredToken"), NoCredentialsError()], ids=repr)
def test_case_e3_a_session_that_cannot_be_renewed_serves_until_it_expires(problem: Exception) -> None:
    """The caller's own session ends, or the trust policy changes, in the middle of a drill: the role's session is still valid at AWS."""
    sts = Sts(seconds=300.0)
    role = assumed(sts)
    role.get(EAST)
    sts.problem = problem
    assert role.get(EAST).access_key == "ASIA1"
    ended = Sts(seconds=10.0)
    role = assumed(ended)
    role.get(EAST)
    ended.problem = problem
    with pytest.raises((CredentialsError, NoCredentialsError)):
        role.get(EAST)


def test_case_e3_a_refused_role_is_not_asked_for_again_at_every_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """One preflight asked STS 440 times; a refusal counts for five seconds, for all regions."""
    now = [1000.0]
    monkeypatch.setattr("dr_assets.aws_session.time.monotonic", lambda: now[0])
    sts = Sts()
    sts.problem = refusal("AccessDenied")
    role = assumed(sts)
    for region in (EAST, WEST, EAST):
        with pytest.raises(CredentialsError, match="cannot be assumed: AccessDenied"):
            role.get(region)
    assert len(sts.calls) == 1
    now[0], sts.problem = 1006.0, None
    assert role.get(EAST).access_key == "ASIA2"


def test_case_f9_the_endpoint_of_the_resource_s_configuration_is_used(
    cloud: EmbeddedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dagster-aws documents `endpoint_url`, `use_ssl` and `verify` for every resource with a boto3 configuration."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    resource = AwsStack(endpoint_url=cloud.endpoint_url, use_ssl=False, verify=False)
    client = resource.stack_state().aws.client("rds", WEST)
    assert client.meta.endpoint_url == cloud.endpoint_url
    assert client.describe_global_clusters()["GlobalClusters"] == []


class RegionalSts(Sts):
    """STS of several regions; those in `dark` do not answer."""

    def __init__(self, seconds: float = 3600.0, dark: frozenset[str] = frozenset()) -> None:
        super().__init__(seconds)
        self.dark = dark

    def client(self, service: str, region_name: str, **_: Any) -> Any:
        def assume_role(**params: Any) -> dict[str, Any]:
            self.region = region_name
            if region_name in self.dark:
                self.calls.append((region_name, params))
                raise ConnectTimeoutError(endpoint_url=f"https://sts.{region_name}.amazonaws.com")
            return self.assume_role(**params)

        return SimpleNamespace(assume_role=assume_role)

    @property
    def regions(self) -> list[str]:
        return [region for region, _ in self.calls]


def test_at_a_cold_start_the_other_site_s_sts_serves_the_dark_region_and_the_global_services() -> None:
    """Credentials of any region's STS are valid everywhere ("Managing AWS STS in an AWS Region", IAM user guide)."""
    sts = RegionalSts(dark=frozenset({EAST}))
    assert assumed(sts).get(EAST).access_key == "ASIA2"
    assert sts.regions == [EAST, WEST]
    everywhere = RegionalSts(dark=frozenset({EAST, WEST}))
    with pytest.raises(UnansweredError, match="sts in us-east-1 does not answer"):
        assumed(everywhere).get(EAST)


def test_after_a_failed_refresh_the_old_credentials_serve_a_while_without_another_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sts = RegionalSts(seconds=300.0)
    role = assumed(sts)
    role.get(EAST)
    sts.dark = frozenset({EAST, WEST})
    assert [role.get(region).access_key for region in (EAST, EAST, WEST)] == ["ASIA1"] * 3
    assert sts.regions == [EAST, EAST, WEST]
    monkeypatch.setattr(aws_session, "_RETRY_SECONDS", 0.0)
    role = assumed(again := RegionalSts(seconds=300.0))
    role.get(EAST)
    again.dark = frozenset({EAST})
    role.get(EAST)
    assert again.regions == [EAST, EAST, WEST]


def test_while_one_thread_refreshes_the_others_sign_with_the_old_credentials() -> None:
    waiting, answers = threading.Event(), threading.Event()

    class Slow(Sts):
        def assume_role(self, **params: Any) -> dict[str, Any]:
            if self.calls:
                waiting.set()
                assert answers.wait(10)
            return super().assume_role(**params)

    role = assumed(Slow(seconds=300.0))
    role.get(EAST)
    with ThreadPoolExecutor(2) as pool:
        refreshing = pool.submit(role.get, EAST)
        assert waiting.wait(10)
        signing = pool.submit(role.get, EAST)
        try:
            assert signing.result(timeout=5).access_key == "ASIA1"
        finally:
            answers.set()
        assert refreshing.result(timeout=5).access_key == "ASIA2"


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("ann", "dr-ann"),
        ("Ren\udce9 B/c", "dr-Ren--B-c"),
        ("x" * 200, "dr-" + "x" * 61),
        ("ann@corp.example", "dr-ann@corp.example"),
    ],
)
def test_case_c5_a_session_of_the_role_names_who_is_logged_in(
    user: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STS API reference, AssumeRole: RoleSessionName has 2 to 64 characters of `[\\w+=,.@-]`. One name for all told nobody apart."""
    monkeypatch.setattr("getpass.getuser", lambda: user)
    assert role_session_name() == name
