"""Checks and observations on answers written from AWS's API reference: nearest versions, upgrade order, dimensions, endpoints, masks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.emulator.answers import Answers
from dr_assets.preflight import account, observations, orderable
from dr_assets.preflight.report import AnswerLine, CheckLine, PreflightReport
from dr_assets.preflight.service import CHECKS
from dr_assets.preflight.survey import Finding, Survey, guarded, joined
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import Stack
from tests.support.aws_double import check_params, fitting, operations


class Canned(Survey):
    """A survey over canned answers: (operation, region) or operation -> answer. Both are held against botocore's models."""

    def __init__(
        self, stack: Stack, answers: Mapping[Any, dict[str, Any]], observed: Mapping[str, dict[str, Any]] | None = None
    ) -> None:
        super().__init__(StackState(stack, Aws()))
        self._answers, self._observed = answers, observed or {}

    @property
    def reads(self) -> Any:
        return self

    @property
    def account(self) -> str:
        return "123456789012"

    def observed(self, key: str) -> dict[str, Any] | None:
        return self._observed.get(key)

    def creates(self, *kinds: str, region: str | None = None) -> bool:
        return True

    def call(self, service: str, operation: str, region: str, **params: Any) -> dict[str, Any]:
        check_params(service, operation, params)
        answer = self._answers.get((operation, region), self._answers.get(operation, {}))
        fitting(operations(service)[operation].output_shape, answer, operation)
        return answer

    def pages(self, service: str, operation: str, region: str, result: str, **params: Any) -> Sequence[Any]:
        return list(self.call(service, operation, region, **params).get(result, []))


def versions(*names: str, globally: bool = True) -> dict[str, Any]:
    found = [{"EngineVersion": name, "SupportsGlobalDatabases": globally, "Status": "available"} for name in names]
    return {"DBEngineVersions": found}


# What another emulator's snapshot of AWS offered in August 2026 (ministackorg/ministack#1299).
OFFERED = ("14.6", "14.17", "14.18", "14.19", "14.20", "14.22", "14.23", "15.12", "16.8")


def test_aws_01_a_retired_version_is_refused_with_the_nearest_that_both_regions_offer(stack: Stack) -> None:
    found = orderable.engine_version(Canned(stack, {"describe_db_engine_versions": versions(*OFFERED)}))
    assert found.status == "fails"
    assert "us-east-1" in found.detail
    assert "us-west-2" in found.detail
    assert "14.17 or 14.6" in found.remedy


def test_aws_01_one_region_alone_may_lack_it(stack: Stack) -> None:
    answers = {
        ("describe_db_engine_versions", "us-east-1"): versions("14.13", "14.17", "14.20"),
        ("describe_db_engine_versions", "us-west-2"): versions("14.20"),
    }
    found = orderable.engine_version(Canned(stack, answers))
    assert found.status == "fails"
    assert "us-east-1" not in found.detail
    assert "14.20" in found.remedy
    assert "14.17" not in found.remedy


def test_aws_01_a_version_without_global_databases_is_refused(stack: Stack) -> None:
    found = orderable.engine_version(Canned(stack, {"describe_db_engine_versions": versions("14.13", globally=False)}))
    assert found.status == "fails"
    assert "does not support global databases" in found.detail


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [("14.13", ["14.17", "14.6"]), ("14.5", ["14.6"]), ("14.25", ["14.23"]), ("13.4", ["14.23"]), ("18.1", ["16.8"])],
)
def test_nearest_versions(wanted: str, nearest: list[str]) -> None:
    assert orderable.nearest(wanted, set(OFFERED)) == nearest


def option(region: str, **more: Any) -> dict[str, Any]:
    """An option as AWS gives it for a class that can hold the stack (RDS API, OrderableDBInstanceOption)."""
    flags = dict.fromkeys(
        (
            "SupportsGlobalDatabases",
            "SupportsStorageEncryption",
            "SupportsPerformanceInsights",
            "SupportsEnhancedMonitoring",
            "SupportsIAMDatabaseAuthentication",
        ),
        True,
    )
    zones = [{"Name": f"{region}{zone}"} for zone in "abc"]
    return {"DBInstanceClass": "db.r6g.large", "AvailabilityZones": zones, **flags, **more}


@pytest.mark.parametrize(
    ("west", "named"),
    [
        ([], "cannot be ordered with 14.13 in us-west-2"),
        ([option("us-west-2", AvailabilityZones=[{"Name": "us-west-2a"}])], "us-west-2b"),
        ([option("us-west-2", SupportsGlobalDatabases=False)], "does not support global databases"),
        ([option("us-west-2", SupportsPerformanceInsights=False)], "does not support Performance Insights"),
    ],
)
def test_aws_01_a_class_must_be_orderable_in_every_zone_with_what_is_used(
    stack: Stack, west: list[dict[str, Any]], named: str
) -> None:
    answers = {
        "describe_db_engine_versions": versions("14.13"),
        ("describe_orderable_db_instance_options", "us-east-1"): {"OrderableDBInstanceOptions": [option("us-east-1")]},
        ("describe_orderable_db_instance_options", "us-west-2"): {"OrderableDBInstanceOptions": west},
    }
    found = orderable.instance_class(Canned(stack, answers))
    assert found.status == "fails"
    assert named in found.detail
    assert "us-east-1" not in found.detail


@pytest.mark.parametrize(
    ("running", "words"),
    [("14.6", "secondary's cluster first, then the primary's"), ("13.20", "major version of the global cluster")],
)
def test_aws_24_the_secondary_is_upgraded_first(stack: Stack, running: str, words: str) -> None:
    """ "Upgrade all secondary clusters before the primary" (Aurora user guide, minor upgrades of global databases)."""
    survey = Canned(stack, {}, {"global/aurora/global-cluster": {"EngineVersion": running}})
    found = account.upgrade_order(survey)
    assert found.status == "ok"
    assert words in found.detail


def test_aws_21_an_account_of_another_partition_is_refused(stack: Stack) -> None:
    answer = {"Account": "123456789012", "Arn": "arn:aws-us-gov:iam::123456789012:user/ann", "UserId": "A"}
    survey = Canned(stack, {"get_caller_identity": answer})
    survey.state._account = "123456789012"  # read already
    found = account.credentials(survey)
    assert found.status == "fails"
    assert "aws-us-gov" in found.detail


@pytest.mark.parametrize(
    ("dimensions", "shape"),
    [
        ({"DBClusterIdentifier": "aurora-secondary-l6p3z2w4", "SourceRegion": "us-east-1"}, "cluster+source-region"),
        ({"SourceRegion": "us-east-1"}, "source-region"),
        ({"DBClusterIdentifier": "aurora-secondary-l6p3z2w4"}, "cluster"),
    ],
)
def test_aws_04_the_report_tells_the_dimensions_of_the_lag_metrics(
    stack: Stack, dimensions: dict[str, str], shape: str
) -> None:
    listed = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    other = [{"Name": "DBClusterIdentifier", "Value": "another-teams"}, {"Name": "Role", "Value": "READER"}]
    metrics = [{"MetricName": "AuroraGlobalDBReplicationLag", "Dimensions": each} for each in (listed, other)]
    found = observations.lag_dimensions(Canned(stack, {("list_metrics", "us-west-2"): {"Metrics": metrics}}))
    assert found.facts["value"] == [shape]


def test_aws_05_the_report_tells_the_age_of_the_newest_datapoint(stack: Stack) -> None:
    now = utc.now()
    metric = {"MetricName": "AuroraGlobalDBRPOLag", "Dimensions": [{"Name": "SourceRegion", "Value": "us-east-1"}]}
    points = [{"Timestamp": now - timedelta(seconds=each), "Maximum": 1.0} for each in (240, 95, 180)]
    answers = {("list_metrics", "us-west-2"): {"Metrics": [metric]}, "get_metric_statistics": {"Datapoints": points}}
    found = observations.datapoint_age(Canned(stack, answers))
    assert 95 <= found.facts["value"] < 120


def test_aws_03_the_report_tells_whether_an_inactive_endpoint_resolves(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RDS API, DBClusterEndpoint.Status: the secondary's writer endpoint is inactive."""
    name = "aurora-secondary-l6p3z2w4.cluster-abc.us-west-2.rds.amazonaws.com"
    writer = {"EndpointType": "WRITER", "Status": "inactive", "Endpoint": name}
    reader = {"EndpointType": "READER", "Status": "available", "Endpoint": name.replace("cluster-", "cluster-ro-")}
    answers = {("describe_db_cluster_endpoints", "us-west-2"): {"DBClusterEndpoints": [writer, reader]}}
    survey = Canned(stack, answers, {"primary/aurora/cluster": {}, "secondary/aurora/cluster": {}})
    monkeypatch.setenv("DR_RESOLVE", f"{name}=10.1.1.4")
    assert observations.inactive_endpoint(survey).facts["value"] == "resolves"
    monkeypatch.setenv("DR_RESOLVE", "")
    monkeypatch.setenv("DR_NAMESERVER", "127.0.0.1:9")
    assert observations.inactive_endpoint(survey).facts["value"] == "unresolved"
    assert observations.endpoint_status(survey).facts["value"]["secondary"]["WRITER"] == "inactive"


def test_aws_23_the_report_tells_wal_level(stack: Stack) -> None:
    shown = [
        {"ParameterName": "wal_level", "ParameterValue": "replica", "Source": "system", "ApplyType": "static"},
        {"ParameterName": "work_mem", "ParameterValue": "4", "Source": "engine-default", "ApplyType": "dynamic"},
    ]
    answers = {"describe_db_cluster_parameters": {"Parameters": shown}}
    survey = Canned(stack, answers, {"primary/aurora/cluster-parameter-group": {}})
    assert observations.parameters(survey).facts["value"] == {
        "primary": {"wal_level": {"value": "replica", "source": "system", "apply": "static"}}
    }


def test_an_answer_of_an_odd_shape_is_unknown(stack: Stack) -> None:
    """An answer without its list, or with numbers for texts, is no verdict."""

    def garbled() -> Finding:
        raise KeyError("OptInStatus")

    found = guarded(garbled)
    assert found.status == "unknown"
    assert "OptInStatus" in found.detail


def test_several_regions_are_as_bad_as_the_worst() -> None:
    one, two = Finding("ok", "a", facts={"x": 1}), Finding("fails", "b", "do b", {"y": 2})
    assert joined([one, two]) == Finding("fails", "b", "do b", {"x": 1, "y": 2})
    assert joined([Finding("unknown", "c"), one]).status == "unknown"


def report(**more: Any) -> PreflightReport:
    line = CheckLine(
        name="permissions",
        title="t",
        status="fails",
        detail="arn:aws:sts::123456789012:assumed-role/Ann/x may not",
        essential=False,
        blocks=True,
        facts={"arn:aws:iam::123456789012:user/ann": ["123456789012"]},
    )
    answer = AnswerLine(name="versions", question="?", status="ok", detail="d", value={"us-east-1": ["14.13"]})
    values: dict[str, Any] = {
        "at": utc.now(),
        "product_version": "1",
        "stack": "l6p3z2w4",
        "account": "123456789012",
        "principal": "arn:aws:sts::123456789012:assumed-role/Ann/session",
        "primary_region": "us-east-1",
        "secondary_region": "us-west-2",
        "engine_version": "14.13",
        "instance_class": "db.r6g.large",
        "passes": False,
        "checks": (line,),
        "answers": (answer,),
        "api_calls": 3,
        "seconds": 0.5,
    }
    return PreflightReport(**(values | more))


def test_a_masked_report_names_no_account_and_no_person() -> None:
    text = json.dumps(report().masked().to_json())
    assert "123456789012" not in text
    assert "Ann" not in text
    assert "/ann" not in text
    assert "14.13" in text


def test_a_report_is_read_back_as_it_was_written() -> None:
    written = report()
    assert PreflightReport.from_bytes(written.to_bytes(), "the report").to_bytes() == written.to_bytes()


def test_each_switch_of_the_embedded_aws_is_answered_by_the_report_or_has_a_reason() -> None:
    """Where AWS's answer is a guess, the report from a real account settles it. A new switch gets a line in SWITCHES."""
    names = {check.name for check in CHECKS} | {each.name for each in observations.OBSERVATIONS}
    assert {field.name for field in fields(Answers)} <= set(observations.SWITCHES)
    for switch, answer in observations.SWITCHES.items():
        assert answer in names or answer.startswith("not readable: "), switch
    for each in observations.OBSERVATIONS:
        assert not each.switch or observations.SWITCHES[each.switch] == each.name


def test_checks_are_documented(stack: Stack) -> None:
    """docs/preflight.md lists every check and every answer."""
    page = (Path(__file__).parents[2] / "docs" / "preflight.md").read_text()
    for name in [check.name for check in CHECKS] + [each.name for each in observations.OBSERVATIONS]:
        assert f"`{name}`" in page, name
