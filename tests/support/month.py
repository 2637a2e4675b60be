"""A month as it might have been: lag with a daily rhythm, gaps, breaches, drills that succeeded, got slower and failed, one real
failover, and what the sensors saw. Written through the product's own writers, the same at every call."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
from collections.abc import Mapping
from typing import Any

from dr_assets.drills import record
from dr_assets.drills.record_document import SCHEMA
from dr_assets.history import samples
from dr_assets.history.store import Store

UTC = dt.timezone.utc
S = "l6p3z2w4"
START, END = dt.datetime(2026, 10, 1, tzinfo=UTC), dt.datetime(2026, 11, 1, tzinfo=UTC)
FAILOVER = dt.datetime(2026, 10, 21, 13, 7, 12, tzinfo=UTC)  # the real one
_MINUTE, _SECOND = dt.timedelta(minutes=1), dt.timedelta(seconds=1)
PARTS = ("detect", "decide", "database", "traffic")


def write(store: Store) -> None:
    """Samples of October 2026, fifteen records since August, seven incidents of the sensors."""
    for number in range(31):
        day = START.date() + dt.timedelta(days=number)
        samples.write_day(store, S, "lag", day, samples.to_table(_day(day)))
    for each in _records():
        record.append(store, each)
    for incident in incidents():
        store.write(f"incidents/{S}/{incident['id']}.json", json.dumps(incident, indent=1, sort_keys=True).encode())


def _day(day: dt.date) -> list[dict[str, Any]]:
    chance = random.Random(day.toordinal())
    begin = dt.datetime.combine(day, dt.time(), UTC)
    rows = []
    for minute in range(1440):
        at = begin + minute * _MINUTE
        if _silent(at):
            continue
        busy = 1.0 + 2.5 * math.exp(-(((minute / 60 - 2.5) / 1.2) ** 2))  # the nightly batch
        busy *= 1.0 if day.weekday() < 5 else 0.6
        lag = chance.lognormvariate(math.log(420.0 * busy), 0.35)
        site = "secondary" if at < FAILOVER or at >= FAILOVER + 4 * dt.timedelta(days=1) else "primary"
        for first, last, height in _BREACHES:
            if first <= at < last:
                lag = height * 1000 * (0.6 + 0.4 * math.sin(math.pi * (at - first) / (last - first)))
        rows.append(_sample(at, site, "metric", round(lag, 1)))
        if minute % 5 == 0:
            rows.append(_sample(at + 20 * _SECOND, site, "sql", round(lag * 0.97, 1)))
    return rows


def _sample(at: dt.datetime, site: str, source: str, value: float | None) -> dict[str, Any]:
    return {"at": at, "site": site, "metric": "rpo-lag", "value": value, "unit": "ms", "source": source}


def _at(day: int, hour: int, minute: int = 0, second: int = 0) -> dt.datetime:
    return dt.datetime(2026, 10, day, hour, minute, second, tzinfo=UTC)


_BREACHES = (
    (_at(6, 2, 11), _at(6, 2, 29), 184.0),
    (_at(14, 2, 40), _at(14, 2, 44), 71.0),
    (_at(27, 16, 2), _at(27, 17, 31), 912.0),
)


def _silent(at: dt.datetime) -> bool:
    """Nothing was read: an outage of monitoring, the time without a reader, and the last day, which is not pulled yet."""
    return (
        _at(9, 8, 15) <= at < _at(9, 21, 40)
        or FAILOVER <= at < FAILOVER + 3 * dt.timedelta(hours=1)
        or (_at(17, 0) <= at < _at(17, 6) and at.minute % 7 < 4)
        or at >= _at(31, 18)
    )


def _records() -> list[dict[str, Any]]:
    day, month = dt.timedelta(days=1), dt.datetime(2026, 8, 4, 10, tzinfo=UTC)
    found = []
    for week in range(4):  # August: quarterly practice, every week
        slow = 4.0 * week
        found.append(drill(month + week * 7 * day, "switchover", (4.1, 2.0, 96.0 + slow, 11.0)))
        found.append(
            drill(month + week * 7 * day + 2 * dt.timedelta(hours=1), "failback", (3.9, 2.0, 90.0 - slow, 12.0))
        )
    found += [
        drill(dt.datetime(2026, 9, 8, 10, tzinfo=UTC), "failover", (14.0, 21.0, 88.0, 31.0), lost=0.8),
        drill(_at(6, 10), "switchover", (4.4, 2.1, 101.0, 12.0)),
        drill(_at(6, 12), "failback", (4.0, 2.2, 84.0, 11.5)),
        drill(
            _at(13, 10),
            "switchover",
            (4.6, 2.0, 188.0, 24.0),
            deviations=["DNS answers were cached for 20 s longer than the TTL"],
            corrective_actions=[
                {"text": "Lower the resolver's minimum TTL to 5 s", "owner": "Network team", "due": "2026-10-27"}
            ],
        ),
        drill(
            _at(15, 10),
            "failover",
            (12.0, 19.0, None, None),
            "failed",
            lost=None,
            exposure=None,
            reason="the cluster at secondary accepted no write within 240 s",
            corrective_actions=[
                {"text": "Find out why promotion hung; repeat the drill", "owner": "Database team", "due": "2026-11-20"}
            ],
        ),
        drill(
            FAILOVER,
            "failover",
            (17.5, 148.0, 121.0, 38.5),
            lost=2.4,
            exposure=3 * 3600.0,
            kind="incident",
            why="us-east-1 does not answer; regional event at the provider",
        ),
        drill(_at(25, 9), "failback", (4.2, 2.0, 93.0, 11.0), why="home after the incident"),
    ]
    return found


def drill(
    at: dt.datetime,
    scenario: str,
    parts: tuple[float | None, ...],
    status: str = "succeeded",
    lost: float | None = 0.0,
    exposure: float | None = 640.0,
    reason: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A record as `dr drill` leaves it. The exposure begins with the call; None: nobody saw its end."""
    known = [part for part in parts if part is not None]
    high = sum(known) if len(known) == 4 else None
    marks = ["T1", "T3", "T4", "T6"][: len(known)]
    away = scenario == "failback"
    one, two = ("secondary", "primary") if away else ("primary", "secondary")
    regions = {"primary": "us-east-1", "secondary": "us-west-2"}
    timeline = [_entry("T0", at, "client", "last acknowledged write at the old writer")]
    for number, mark in enumerate(marks, 1):
        text = {
            "T1": "first failed write",
            "T3": f"called {scenario} at AWS",
            "T4": "first write accepted at the target",
            "T6": "start of 3 consecutive good writes through the endpoint",
        }[mark]
        timeline.append(_entry(mark, at + sum(known[:number]) * _SECOND, "aws" if mark == "T3" else "client", text))
    called = at + sum(known[:2]) * _SECOND
    done = at + (high or 275.0) * _SECOND
    acknowledged = 4210 + at.day * 17
    gone = None if lost is None else round(lost * 12)
    return {
        "schema": SCHEMA,
        "id": f"{at:%Y%m%dT%H%M%SZ}-{scenario}-{at.day:02x}{at.hour:02x}{at.month:02x}",
        "kind": "drill",
        "scenario": scenario,
        "stack": S,
        "status": status,
        "reason": reason,
        "started_at": _iso(at - 95 * _SECOND),
        "ended_at": _iso(done + 120 * _SECOND),
        "who": {
            "operator": "Ada Byron",
            "approved_by": "Grace Hopper",
            "caller_arn": "arn:aws:sts::123456789012:assumed-role/dr-drill/ada",
        },
        "why": "weekly rehearsal",
        "scope": {
            "from_site": one,
            "to_site": two,
            "from_region": regions[one],
            "to_region": regions[two],
            "database": "transactiondb",
            "tables": ["dr_drill.dr_ledger"],
        },
        "plan_hash": "8c1f" * 16,
        "product_version": "0.1.0",
        "preconditions": [
            {"name": name, "passed": True, "reason": None} for name in ("both sites answer", "lag", "parity", "lease")
        ],
        "overrides": [],
        "timeline": timeline,
        "rto": {
            "low_seconds": None if high is None else high - 0.42,
            "high_seconds": high,
            "parts": dict(zip(PARTS, parts, strict=True)),
            "target_seconds": 300,
            "met": None if high is None else high < 300,
        },
        "rpo": {
            "lost_commits": gone,
            "lost_seconds": lost,
            "in_doubt": None if lost is None else 1,
            "acknowledged": acknowledged,
            "survived": None if gone is None else acknowledged - gone,
            "target_seconds": 60,
            "met": None if lost is None else lost < 60,
        },
        "exposure": {
            "from": _iso(called),
            "until": None if exposure is None else _iso(called + exposure * _SECOND),
            "seconds": exposure,
        },
        "calls": [
            {
                "phase": "recovery",
                "region": regions[two],
                "service": "rds",
                "operation": f"{scenario}_global_cluster",
                "plane": "control",
                "count": 1,
            }
        ],
        "postconditions": [
            {"name": "the ledger is whole", "passed": lost is not None or None, "reason": None},
            {
                "name": "both sites protected",
                "passed": exposure is not None,
                "reason": None if exposure else "no reader yet",
            },
        ],
        "deviations": [],
        "corrective_actions": [],
        "reconciliation": None,
        **more,
    }


def _entry(mark: str, at: dt.datetime, source: str, text: str) -> dict[str, Any]:
    return {"mark": mark, "at": _iso(at), "source": source, "text": text}


def _iso(at: dt.datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def incidents() -> list[dict[str, Any]]:
    """Documents as the sensors write them."""
    late = "A failover now would lose more commits than the objective allows"
    return [
        incident("replication", 1, _at(6, 2, 11), 64, _at(6, 2, 30), late, 184000.0, "at most 60000 ms"),
        incident(
            "replication", 2, _at(27, 16, 2), 66, _at(27, 17, 33), late, 912000.0, "at most 60000 ms", escalated=True
        ),
        incident(
            "sources",
            1,
            _at(9, 8, 15),
            245,
            _at(9, 21, 41),
            "metric rpo-lag has not been known for more than 240 s",
            None,
            "a reading",
            severity="warning",
        ),
        incident(
            "writer", 1, FAILOVER, 17, FAILOVER + 340 * _SECOND, "The writer does not accept writes", 0.0, "at least 1"
        ),
        incident(
            "events.resynchronizing",
            1,
            FAILOVER + 400 * _SECOND,
            31,
            FAILOVER + dt.timedelta(hours=3, minutes=10),
            "The old primary is being rebuilt after a failover: the stack is unprotected",
            0.0,
            "at least 1",
        ),
        incident(
            "drills.failover",
            1,
            _at(13, 0),
            0,
            None,
            "The failover drill is overdue",
            35.0,
            "at most 35 days",
            severity="warning",
        ),
        incident(
            "capacity",
            1,
            _at(19, 4, 2),
            122,
            _at(19, 4, 40),
            "cpu is above its limit",
            91.0,
            "at most 80 percent",
            severity="warning",
        ),
    ]


def incident(
    topic: str,
    number: int,
    since: dt.datetime,
    noticed: float,
    ended: dt.datetime | None,
    text: str,
    value: float | None,
    objective: str,
    severity: str = "critical",
    escalated: bool = False,
    site: str = "secondary",
) -> Mapping[str, Any]:
    name, opened = f"{S}-{topic}-{number:06d}", since.timestamp() + noticed
    return {
        "schema": "dr-assets/incident/1",
        "id": name,
        "last": "resolved" if ended else "opened",
        "stack": S,
        "topic": topic,
        "number": number,
        "severity": severity,
        "opened": opened,
        "since": since.timestamp(),
        "breaches": [f"{S}/{site}/sql/x"],
        "evidence": [text],
        "text": text,
        "runbook": "docs/runbooks.md",
        "value": value,
        "unit": "",
        "objective": objective,
        "resource": f"{site}/aurora/cluster",
        "site": site,
        "escalate_after": 3600.0,
        "wait": 0.0,
        "calm": ended.timestamp() if ended else None,
        "told": True,
        "escalated": escalated,
        "ended": ended.timestamp() if ended else None,
        "lost": ["a failover to the secondary site"],
    }
