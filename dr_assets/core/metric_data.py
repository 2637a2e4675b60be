"""Parse the results of CloudWatch's GetMetricData one by one, so that a garbled one costs itself alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple


class Series(NamedTuple):
    """One MetricDataResult. `n`: the place of its query. `problem`: why it cannot be understood; there are no points then."""

    n: int
    points: Sequence[tuple[datetime, float]]
    problem: str = ""


def parse(results: Iterable[Any], ids: Sequence[str]) -> Iterator[Series]:
    """Each result that answers one of the queries `ids`. One whose Id is none of them answers no question: its query has no result.

    Timestamps and Values are lists of equal length (CloudWatch API, MetricDataResult).
    """
    places = {identity: n for n, identity in enumerate(ids)}
    for result in results:
        identity = result.get("Id") if isinstance(result, Mapping) else None
        if not isinstance(identity, str) or identity not in places:
            continue
        try:
            yield Series(places[identity], _points(result))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            yield Series(
                places[identity],
                (),
                f"CloudWatch's result cannot be understood ({type(error).__name__}: {error})"[:200],
            )


def _points(result: Mapping[str, Any]) -> list[tuple[datetime, float]]:
    points = []
    for at, value in zip(result["Timestamps"], result["Values"], strict=True):
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise TypeError("a timestamp is no time in UTC")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError("a value is no number")
        points.append((at, float(value)))
    return points
