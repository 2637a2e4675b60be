"""CloudWatch alarms: AWS's silences, whole replacement, one describe for all."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from dr_assets.core.expressions import ByRole
from dr_assets.resources.alarms.rows import WATCHERS
from dr_assets.resources.catalog import catalog
from dr_assets.resources.registry import KINDS
from dr_assets.stack import SITES, Site, Stack
from tests.support.aws_double import FakeReads, creation, deletion, drift, fields, look, next_call, tag_list, target

KIND = KINDS["cloudwatch.alarm"]
METRICS = (
    *("replication-lag", "rpo-lag", "cpu", "connections", "connectivity", "takes-writes"),
    *(f"heartbeat-{watcher.replace('_', '-')}" for watcher in WATCHERS),
)


def arn(name: str) -> str:
    return f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"


def alarm(stack: Stack, metric: str = "cpu", **changes: Any) -> dict[str, Any]:
    """One alarm as DescribeAlarms answers when it is as desired."""
    of = target(stack, f"primary/monitoring/alarm-{metric}")
    shown = {name: value for name, value in of.desired.items() if name not in ("Tags", "Dimensions")}
    dimensions = [{"Name": name, "Value": value} for name, value in of.desired["Dimensions"].items()]
    found = {"AlarmName": of.name, "AlarmArn": arn(of.name), "StateValue": "OK", "Dimensions": dimensions}
    return {**found, **shown, **changes}


def reads(
    stack: Stack,
    *alarms: dict[str, Any],
    tags: dict[str, str] | None = None,
    listed: Sequence[dict[str, str]] = (),
    with_data: Sequence[dict[str, str]] = (),
    dark: str = "",
    newest_last: bool = False,
) -> FakeReads:
    """CloudWatch of both regions. `listed`, `with_data`: dimensions of the lag metric, as ListMetrics and GetMetricData have it;
    with `newest_last` the datapoints of each are a minute newer than those of the one before."""

    def tags_of(ResourceARN: str) -> dict[str, Any]:
        row = next(r for r in catalog(stack) if r.kind == KIND.name and ResourceARN.endswith(f":{r.name}"))
        return {"Tags": tag_list({**row.desired["Tags"], **(tags or {})})}

    def metrics(Namespace: str, MetricName: str) -> dict[str, Any]:
        assert (Namespace, MetricName) == ("AWS/RDS", "AuroraGlobalDBReplicationLag")
        if dark and double.calls[-1][1] == dark:
            raise EndpointConnectionError(endpoint_url=dark)
        shown = [[{"Name": name, "Value": value} for name, value in sorted(each.items())] for each in listed]
        return {"Metrics": [{"Namespace": Namespace, "MetricName": MetricName, "Dimensions": d} for d in shown]}

    def data(MetricDataQueries: list[dict[str, Any]], StartTime: datetime, EndTime: datetime) -> dict[str, Any]:
        results = []
        for query in MetricDataQueries:
            asked = {d["Name"]: d["Value"] for d in query["MetricStat"]["Metric"]["Dimensions"]}
            minutes = list(with_data).index(asked) if newest_last and asked in with_data else 0
            points = [StartTime + timedelta(minutes=minutes)] if asked in with_data else []
            results.append({"Id": query["Id"], "Timestamps": points, "Values": [1.0 for _ in points]})
        return {"MetricDataResults": results}

    answers = {"describe_alarms": {"MetricAlarms": list(alarms)}, "list_tags_for_resource": tags_of}
    double = FakeReads(KIND, **answers, list_metrics=metrics, get_metric_data=data)
    return double


def test_one_describe_serves_all(stack: Stack) -> None:
    targets = [target(stack, f"primary/monitoring/alarm-{metric}") for metric in METRICS]
    double = reads(stack, *(alarm(stack, metric) for metric in METRICS))
    seen = KIND.read(double, targets)
    assert {of.key: fields(of, seen[of.key]) for of in targets} == {of.key: [] for of in targets}
    described = [params for operation, _, params in double.calls if operation == "describe_alarms"]
    assert described == [{"AlarmNames": sorted(of.name for of in targets)}]


def test_absent(stack: Stack) -> None:
    assert look(reads(stack), target(stack, "primary/monitoring/alarm-cpu")) is None


def test_what_cloudwatch_says_by_silence_is_heard(stack: Stack) -> None:
    silent = {k: v for k, v in alarm(stack).items() if k not in ("DatapointsToAlarm", "TreatMissingData")}
    of = target(stack, "primary/monitoring/alarm-cpu")
    assert fields(of, look(reads(stack, silent), of)) == []


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("Namespace", "AWS/Other"),
        ("MetricName", "Other"),
        ("Statistic", "Sum"),
        ("Threshold", 81.0),
        ("ComparisonOperator", "LessThanThreshold"),
        ("Period", 300),
        ("EvaluationPeriods", 3),
        ("DatapointsToAlarm", 1),
        ("TreatMissingData", "ignore"),
        ("ActionsEnabled", False),
        ("AlarmActions", []),
        ("OKActions", []),
        ("Dimensions", []),
    ],
)
def test_each_field_is_compared_and_mended_by_the_whole_alarm(stack: Stack, field: str, wrong: Any) -> None:
    of = target(stack, "primary/monitoring/alarm-cpu")
    observed = look(reads(stack, alarm(stack, **{field: wrong})), of)
    assert fields(of, observed) == [field]
    operation, params = next_call(of, observed)
    assert operation == "put_metric_alarm"
    # The tags of an alarm that exists are not PutMetricAlarm's business.
    assert params == {k: v for k, v in creation(of)[1].items() if k != "Tags"}


def test_tags_alone_are_mended_without_touching_the_alarm(stack: Stack) -> None:
    of = target(stack, "primary/monitoring/alarm-cpu")
    observed = look(reads(stack, alarm(stack), tags={"DR-Tier": "low"}), of)
    operation, params = next_call(of, observed)
    assert operation == "tag_resource"
    assert params == {"ResourceARN": arn(of.name), "Tags": [{"Key": "DR-Tier", "Value": "critical"}]}


def test_an_alarm_rewritten_to_watch_for_anomalies_is_drift_and_no_crash(stack: Stack) -> None:
    gone = ("Threshold", "MetricName", "Namespace", "Statistic", "Period", "Dimensions")
    rewritten = {k: v for k, v in alarm(stack).items() if k not in gone} | {"ThresholdMetricId": "ad1"}
    of = target(stack, "primary/monitoring/alarm-cpu")
    observed = look(reads(stack, rewritten), of)
    assert set(fields(of, observed)) == set(gone)
    assert next_call(of, observed)[0] == "put_metric_alarm"


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("metric", METRICS)
def test_the_calls_are_such_as_aws_takes(stack: Stack, metric: str, site: str) -> None:
    of = target(stack, f"{site}/monitoring/alarm-{metric}")
    operation, params = creation(of)
    assert operation == "put_metric_alarm"
    # What tells DNS where the writer is alerts nobody.
    told = [] if metric == "takes-writes" else [f"{site}/notifications/topic#Arn"]
    assert params["AlarmActions"] == params["OKActions"] == told
    assert deletion(of, {"Arn": "x"}) == ("delete_alarms", {"AlarmNames": [of.name]})


def test_missing_lag_breaches_at_the_reader_and_only_there(stack: Stack) -> None:
    for row in catalog(stack):
        if row.kind == KIND.name:
            missing = row.desired["TreatMissingData"]
            if "/alarm-heartbeat-" in row.key:
                assert missing == "breaching"  # silence is what they report
            elif row.key.endswith("-lag"):
                assert missing == ByRole(row.site, writer="notBreaching", reader="breaching")  # type: ignore[arg-type]
            else:
                assert missing == "missing"


CLUSTERS = {site: {"DBClusterIdentifier": f"aurora-{site}-l6p3z2w4"} for site in SITES}
# SourceRegion is the writer's region: of the reader's metric it is the other site's.
SOURCES = {"primary": {"SourceRegion": "us-west-2"}, "secondary": {"SourceRegion": "us-east-1"}}
SHAPES = {
    "cluster+source-region": {site: {**CLUSTERS[site], **SOURCES[site]} for site in SITES},
    "cluster": CLUSTERS,
    "source-region": SOURCES,
}


def judged(stack: Stack, site: Site, standing: dict[str, str], **shown: Any) -> tuple[list[str], str, Any]:
    """(fields that differ, reason, dimensions of the call that heals) of the site's lag alarm."""
    of = target(stack, f"{site}/monitoring/alarm-rpo-lag")
    dimensions = [{"Name": name, "Value": value} for name, value in standing.items()]
    found = {**alarm(stack, "rpo-lag"), "AlarmName": of.name, "AlarmArn": arn(of.name), "Dimensions": dimensions}
    found |= {name: of.desired[name] for name in ("AlarmActions", "OKActions", "TreatMissingData")}
    # What an alarm is to be may be unknown while it is read: its topic may not exist yet.
    observed = look(reads(stack, found, **shown), replace(of, desired={}))
    assert observed is not None
    refined = replace(of, desired=KIND.refine(of.desired, observed))
    differing = drift(refined, observed)
    healed = KIND.update(refined, observed, differing).params["Dimensions"] if differing else None
    return [item.field for item in differing], KIND.explain(differing, observed), healed


@pytest.mark.parametrize("by", ["listed", "with_data"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("site", SITES)
def test_aws_04_lag_alarms_stand_on_the_dimensions_that_aws_shows(
    stack: Stack, site: Site, shape: str, by: str
) -> None:
    """The metric exists at the reader alone (here the secondary), and the writer's alarm has the same shape. A new metric has data
    before ListMetrics shows it (CloudWatch API, ListMetrics: up to 15 minutes)."""
    right, at_reader = SHAPES[shape][site], [SHAPES[shape]["secondary"]]
    assert judged(stack, site, right, **{by: at_reader}) == ([], "", None)
    for wrong in (each[site] for name, each in SHAPES.items() if name != shape):
        if shape == "source-region" and wrong == CLUSTERS[site]:
            # The stack file names another shape, so AWS published this one: the series with SourceRegion alone is another cluster's.
            assert judged(stack, site, wrong, **{by: at_reader}) == ([], "", None)
            continue
        fields_, reason, healed = judged(stack, site, wrong, **{by: at_reader})
        assert fields_ == ["Dimensions"]
        assert f"AWS publishes AuroraGlobalDBRPOLag with {' and '.join(sorted(right))} here" in reason
        assert "lag_metric_dimensions" in reason
        assert {item["Name"]: item["Value"] for item in healed} == right


FOREIGN = {"DBClusterIdentifier": "another-teams", "SourceRegion": "us-east-1"}


@pytest.mark.parametrize("by", ["listed", "with_data"])
@pytest.mark.parametrize("site", SITES)
def test_aws_04_a_series_with_source_region_alone_is_not_taken_where_aws_lists_the_metric_by_cluster(
    stack: Stack, site: Site, by: str
) -> None:
    """It mixes every global database of the source region; ours are silent and another team's is published in both shapes."""
    alone, ours = SHAPES["source-region"]["secondary"], SHAPES["cluster+source-region"]
    shown: dict[str, Any] = {"listed": [FOREIGN, alone], "with_data": [alone] if by == "with_data" else []}
    assert judged(stack, site, ours[site], **shown) == ([], "", None)
    # An alarm that was put on it is healed.
    assert judged(stack, site, SHAPES["source-region"][site], **shown)[0] == ["Dimensions"]
    # The stack file may say that it is ours, and AWS's list of our cluster that it is not.
    says = stack.model_copy(update={"lag_metric_dimensions": "source-region"})
    assert judged(says, site, SHAPES["source-region"][site], **shown) == ([], "", None)
    shown["listed"] = [ours["secondary"], alone]
    assert judged(says, site, SHAPES["source-region"][site], **shown)[0] == ["Dimensions"]
    assert judged(stack, site, ours[site], **shown) == ([], "", None)


@pytest.mark.parametrize("with_data", [(), ("cluster", "cluster+source-region"), ("cluster+source-region", "cluster")])
@pytest.mark.parametrize("standing", ["cluster", "cluster+source-region"])
@pytest.mark.parametrize("site", SITES)
def test_aws_04_of_two_shapes_that_aws_shows_an_alarm_keeps_its_own(
    stack: Stack, site: Site, standing: str, with_data: tuple[str, ...]
) -> None:
    """Both are published, their datapoints a minute apart; or both are listed and have been silent for hours."""
    both = [SHAPES[shape]["secondary"] for shape in ("cluster", "cluster+source-region")]
    data = [SHAPES[shape]["secondary"] for shape in with_data]
    assert judged(stack, site, SHAPES[standing][site], listed=both, with_data=data, newest_last=True) == ([], "", None)
    # One that is not listed yet is kept for its data.
    if with_data:
        other = [each for each in both if each != SHAPES[standing]["secondary"]]
        assert judged(stack, site, SHAPES[standing][site], listed=other, with_data=data)[0] == []


@pytest.mark.parametrize("site", SITES)
def test_aws_04_an_alarm_follows_when_only_another_shape_has_data(stack: Stack, site: Site) -> None:
    both = [SHAPES[shape]["secondary"] for shape in ("cluster", "cluster+source-region")]
    healed = judged(stack, site, CLUSTERS[site], listed=both, with_data=[both[1]])[2]
    assert {item["Name"]: item["Value"] for item in healed} == SHAPES["cluster+source-region"][site]


@pytest.mark.parametrize("site", SITES)
def test_aws_04_before_the_first_datapoint_lag_alarms_stand_on_the_documented_dimensions(
    stack: Stack, site: Site
) -> None:
    assert judged(stack, site, SHAPES["cluster+source-region"][site])[0] == []
    assert judged(stack, site, CLUSTERS[site])[0] == ["Dimensions"]
    other = stack.model_copy(update={"lag_metric_dimensions": "cluster"})
    assert judged(other, site, CLUSTERS[site])[0] == []


@pytest.mark.parametrize("shape", SHAPES)
def test_aws_04_an_alarm_is_not_drifted_while_the_readers_region_is_dark(stack: Stack, shape: str) -> None:
    assert judged(stack, "primary", SHAPES[shape]["primary"], dark="us-west-2")[0] == []
