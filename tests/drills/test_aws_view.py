"""A drill's lag reading: a series with SourceRegion alone may be another cluster's, and AWS's datapoints are late."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.core.freshness import Known, assess
from dr_assets.drills import preconditions
from dr_assets.drills.aws_view import AwsView
from dr_assets.errors import DrError
from dr_assets.resources.alarms.lag_metric import LAG
from dr_assets.stack import Stack

AT = datetime(2026, 11, 23, 19, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("listed", "configured", "expected"),
    [
        ([], "cluster+source-region", True),
        (["another-teams"], "cluster+source-region", False),
        (["another-teams"], "source-region", True),
        (["aurora-secondary-l6p3z2w4"], "cluster+source-region", False),
        (["aurora-secondary-l6p3z2w4"], "source-region", False),
    ],
)
def test_aws_04_the_gate_never_passes_by_another_clusters_lag(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, listed: list[str], configured: str, expected: bool
) -> None:
    """Only SourceRegion alone has data, and ListMetrics shows these clusters in the target's region."""

    def call(_self: AwsView, _service: str, operation: str, _region: str, **params: Any) -> dict[str, Any]:
        if operation == "list_metrics":
            clusters = [[{"Name": "DBClusterIdentifier", "Value": name}] for name in listed]
            return {"Metrics": [{"Dimensions": dimensions} for dimensions in clusters]}
        results = []
        for query in params["MetricDataQueries"]:
            names = {item["Name"] for item in query["MetricStat"]["Metric"]["Dimensions"]}
            points = [AT] if names == {"SourceRegion"} else []
            results.append({"Id": query["Id"], "Timestamps": points, "Values": [40.0 for _ in points]})
        return {"MetricDataResults": results}

    monkeypatch.setattr(AwsView, "call", call)
    of = stack.model_copy(update={"lag_metric_dimensions": configured})
    view = AwsView(of, Aws(), "failover", from_site="primary", to_site="secondary")
    monkeypatch.setattr("dr_assets.drills.aws_view.utc.now", lambda: AT)
    assert isinstance(view.lag(), Known) == expected


@pytest.mark.parametrize("delay", [0, 60, 120])
def test_aws_05_the_lag_gate_allows_for_the_delay_of_datapoints_and_for_no_more(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, delay: int
) -> None:
    """A minute's datapoint bears the time of its beginning, is readable up to two minutes after its end, and stays the newest one
    for another minute."""
    view = AwsView(stack, Aws(), "switchover", from_site="primary", to_site="secondary", lag_gate_ms=1000.0)
    began = [utc.now() - timedelta(seconds=60 + delay + 60)]
    value = [40.0]
    monkeypatch.setattr(AwsView, "lag", lambda _self: assess(value[0], began[0], utc.now(), LAG))
    assert preconditions.lag(view) is None
    value[0] = 2000.0
    assert preconditions.lag(view) == "replication is 2000 ms behind; the gate is 1000 ms"
    began[0] -= timedelta(seconds=600)
    with pytest.raises(DrError, match="s old"):
        preconditions.lag(view)
