"""Any bytes in any object of the history: each reader gives what it would give without that object, and names it.

Differential: with a changed object a reader must give the same as without the object, and name it; or the same as before, where the
change has no effect; or the object is still a document of its kind by docs/schemas, at the key where it belongs. Anything else is a
silent acceptance. No reader may raise. A critical alert goes out whatever lies in the sensors' folders.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dr_assets.alerting.delivery import Delivery, DeliveryClaim
from dr_assets.drills import record
from dr_assets.drills.journal import Journal, unfinished
from dr_assets.drills.lock import DrillLock
from dr_assets.drills.plan import Plan
from dr_assets.drills.request import Request
from dr_assets.history import documents, sample_buffer, samples
from dr_assets.history.documents import Incident, SuppressedIncident
from dr_assets.monitoring.samples import Sample, Snapshot
from dr_assets.reports import evidence
from dr_assets.reports.analysis.report import Subject
from dr_assets.stack import Stack
from dr_assets.ticks.drill_proofs import last_proofs
from dr_assets.ticks.monitor import Monitor
from tests.fuzz import mutate
from tests.fuzz.memory_store import MemoryStore
from tests.support import month
from tests.support.approvals import LEE
from tests.support.monitoring import Recorder, S, at, healthy, sample

ROOT = Path(__file__).resolve().parents[2]
FOUND = Path(__file__).parent / "seeds" / "history.json"
UTC, MINUTE = dt.timezone.utc, dt.timedelta(minutes=1)
BEGIN = dt.datetime(2026, 10, 1, tzinfo=UTC)
PERIOD = evidence.Period(BEGIN, BEGIN + dt.timedelta(days=2))


def _rows(begin: dt.datetime) -> list[dict[str, Any]]:
    return [
        {
            "at": begin + n * MINUTE,
            "site": "secondary",
            "metric": "rpo-lag",
            "value": 900.0 + n,
            "unit": "ms",
            "source": "sql",
        }
        for n in range(12)
    ]


@pytest.fixture(scope="module")
def history() -> Mapping[str, bytes]:
    """A small history with something of every kind."""
    store: Any = MemoryStore()
    for day in PERIOD.days:
        begin = dt.datetime.combine(day, dt.time(), UTC)
        samples.write_day(store, S, "lag", day, samples.to_table(_rows(begin)))
        bundle = f"{sample_buffer.folder(S, 'lag', day)}20261001T000000000000-0a1b2c3d.parquet"
        store.write(bundle, samples.encode(samples.to_table(_rows(begin + dt.timedelta(hours=3)))))
    for number, scenario in enumerate(("switchover", "failback", "failover")):
        record.append(store, month.drill(BEGIN + number * dt.timedelta(hours=9), scenario, (4.1, 2.0, 96.0, 11.0)))
    for content in month.incidents():
        store.write(f"incidents/{S}/{content['id']}.json", _json(content))
    plain = {key: value for key, value in month.incidents()[3].items() if key not in ("schema", "id", "last", "lost")}
    incident = Incident.from_json(plain)
    trace = {
        "schema": SuppressedIncident.SCHEMA,
        "at": "2026-10-21T13:07:30.000Z",
        "transition": f"{incident.id}.resolved",
    }
    store.write(f"maintenance/{S}/trace/{incident.id}.ended.json", _json({**trace, "incident": plain}))
    window = {
        "schema": "dr-assets/maintenance-window/1", "id": "20261101T100000-all", "stack": S, "topic": "*", "by": "Ada", "why": "x",
        "from": "2026-11-01T10:00:00.000Z", "until": "2026-11-01T12:00:00.000Z",
    }  # fmt: skip
    store.write(f"maintenance/{S}/window/20261101T100000-all.json", _json(window))
    restore = {"schema": "dr-assets/restore/1", "ended_at": "2026-10-01T10:00:00.000Z", "verified": True}
    store.write(f"restores/{S}/a.json", _json(restore))
    change = {
        "schema": "dr-assets/action/1",
        "record": "r",
        "number": 1,
        "owner": "Ada",
        "by": "Ada",
        "at": "2026-10-01T10:00:00Z",
    }
    store.write(f"actions/{S}/a.json", _json(change))
    plan = Plan(
        scenario="switchover", stack=S, from_site="primary", to_site="secondary", from_region="r1", to_region="r2"
    )
    Journal.begin(store, "d1", plan, Request("switchover", "kim", "a test", approval=LEE).approved(()))
    lease = {
        "drill": "d1", "host": "h", "pid": 7, "since": "2026-10-01T10:00:00.000Z", "until": "2026-10-01T10:00:20.000Z", "released": True,
    }  # fmt: skip
    store.write(f"leases/{S}/00000001.json", _json(lease))
    claim = DeliveryClaim(by="p", step="opened", text="x", incident=incident, at=month.FAILOVER, attempt=1)
    for step in ("opened", "resolved"):
        base = f"alerts/{S}/{incident.id}.{step}.sns"
        own = claim.model_copy(update={"step": step})
        store.write(f"{base}.claim-001.json", own.to_bytes())
        store.write(f"{base}.json", Delivery.of(own).to_bytes())
    return dict(store.objects)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode()


# Prefix -> its reader: (store, problems) -> what it gives.
READERS: dict[str, tuple[Callable[[Any, list[str]], Any], ...]] = {
    f"samples/{S}/": (
        lambda store, problems: samples.read(store, S, "lag", PERIOD.start, PERIOD.end, problems=problems).to_pylist(),
        lambda store, problems: sorted(samples.days(store, S, "lag")),
    ),
    f"seen/{S}/": (
        lambda store, problems: [
            sample_buffer.collect(store, S, "lag", day, problems)[0].to_pylist() for day in PERIOD.days
        ],
    ),
    f"records/{S}/": (
        lambda store, problems: (
            problems.extend(record.verify_chain(store, S)),
            [each.to_json() for each in record.load(store, S)],
        )[1],
        lambda store, problems: (
            problems.extend(record.verify_chain(store, S)),
            last_proofs(store, S, dt.datetime(2026, 12, 1, tzinfo=UTC)),
        )[1],
    ),
    f"incidents/{S}/": (lambda store, problems: [each.to_json() for each in documents.incidents(store, S, problems)],),
    f"maintenance/{S}/trace/": (
        lambda store, problems: [each.to_json() for each in documents.incidents(store, S, problems)],
    ),
    f"restores/{S}/": (lambda store, problems: documents.restores(store, S, problems),),
    f"actions/{S}/": (lambda store, problems: [each.to_json() for each in documents.actions(store, S, problems)],),
    f"drills/{S}/": (lambda store, problems: unfinished(store, S, problems),),
    f"leases/{S}/": (lambda store, problems: DrillLock(store, S, "").holder(),),
}
# A folder's names: what is read without bytes of its own gives the same with any.
BY_NAME_ALONE = (f"samples/{S}/", 1)
SENSORS = (f"alerts/{S}/", f"outbox/{S}/", f"maintenance/{S}/window/", f"quarantine/alerts/{S}/")
NAMES = (
    "README",
    "x.json",
    "²²²²²²²².json",
    "\udcff.json",
    "sub/000001.json",
    "000009.json",
    "2026-10-01.parquet.bak",
    "2026-02-31.parquet",
    "z" * 180,
)


def mutant(rng: random.Random, history: Mapping[str, bytes]) -> tuple[str, bytes]:
    """(key, its new bytes): of an object that is there, or of one that no one of ours would write."""
    folders = [*READERS, *SENSORS]
    folder = rng.choice(folders)
    there = sorted(key for key in history if key.startswith(folder))
    others = [history[key] for key in sorted(history)]
    if not there or rng.randrange(6) == 0:
        inner = rng.choice(["", "lag/", "lag/2026-10-01/", "health_checks/"])
        return folder + inner + rng.choice(NAMES), mutate.data(rng, rng.choice(others), others)
    key = rng.choice(there)
    change = mutate.data if key.endswith(".parquet") else mutate.document
    return key, change(rng, history[key], others)


def is_valid(key: str, data: bytes, history: Mapping[str, bytes]) -> bool:
    """Whether it is a document of its kind at its own key: by the published schema, read here and not by the product."""
    if key.endswith(".parquet"):  # the samples of a day and a bundle of that day are alike
        day = next((str(day) for day in PERIOD.days if str(day) in key), "no day")
        return data in [each for name, each in history.items() if day in name]
    try:
        content = json.loads(data)
        name, _, version = str(content["schema"]).removeprefix("dr-assets/").partition("/")
        schema = json.loads((ROOT / "docs" / "schemas" / f"{name}-{version}.json").read_text())
        jsonschema.validate(content, schema, format_checker=jsonschema.FormatChecker())
    except (KeyError, TypeError, ValueError, OSError, RecursionError, jsonschema.ValidationError):
        return False
    if name == "incident":
        return key == f"incidents/{content['stack']}/{content['id']}.json"
    if name == "suppressed-incident":
        return key.startswith(f"maintenance/{content['incident']['stack']}/trace/")
    if name == "journal":
        return key == f"drills/{content['stack']}/{content['id']}.json"
    return name in ("restore", "action", "record")


def read(reader: Callable[[Any, list[str]], Any], objects: Mapping[str, bytes]) -> tuple[Any, list[str]]:
    problems: list[str] = []
    return reader(MemoryStore(objects), problems), problems


def named(key: str, texts: list[str]) -> bool:
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in key)
    return any(key in text or shown in text for text in texts)


def problems(history: Mapping[str, bytes], stack: Stack, key: str, data: bytes, logged: list[str]) -> Iterator[str]:
    changed, without = {**history, key: data}, {name: each for name, each in history.items() if name != key}
    for prefix, readers in READERS.items():
        for n, reader in enumerate(readers if key.startswith(prefix) else ()):
            logged.clear()
            try:
                got, texts = read(reader, changed)
            except Exception as error:
                yield f"{prefix} {n}: {type(error).__name__}: {error}"
                continue
            texts += logged
            if got == read(reader, history)[0] or (prefix, n) == BY_NAME_ALONE:
                continue
            if got == read(reader, without)[0] and named(key, texts):
                continue
            if not is_valid(key, data, history) and not (prefix.startswith("drills/") and named(key, texts)):
                yield f"{prefix} {n}: silently accepted: {str(got)[:200]} {texts}"
            else:
                yield from _report(changed)
    if key.startswith(SENSORS):
        yield from _alert(stack, changed)


def _report(objects: Mapping[str, bytes]) -> Iterator[str]:
    """What is accepted must not end the report either."""
    try:
        evidence.report(Subject(S, 60, 300), evidence.gather(MemoryStore(objects), S, PERIOD))
    except Exception as error:
        yield f"the report: {type(error).__name__}: {error}"


class World:
    """A monitor of a writer that is down."""

    def __init__(self, stack: Stack, objects: Mapping[str, bytes]) -> None:
        self.second, self.channel = 0.0, Recorder("sns")
        poller: Any = self
        self.monitor = Monitor(
            stack,
            MemoryStore(objects),
            poller=poller,
            channels=[self.channel],
            clock=lambda: at(self.second),
            heartbeats=poller,
        )

    def tick(self, _: float) -> Snapshot:
        down: list[Sample] = healthy(self.second, without=["primary/metric/connectivity"])
        return Snapshot(at(self.second), extra=(*down, sample(self.second, 0.0)))


def _alert(stack: Stack, objects: Mapping[str, bytes]) -> Iterator[str]:
    world, cursor = World(stack, objects), None
    for second in range(0, 40, 5):
        world.second = float(second)
        try:
            cursor = world.monitor.observe("health_checks", cursor).cursor
        except Exception as error:
            yield f"the tick at {second} s: {type(error).__name__}: {error}"
    if not any(
        alert.incident.topic == "writer" and alert.incident.severity == "critical" for alert in world.channel.sent
    ):
        yield f"no critical alert: {world.channel.keys}"


class Logged(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[list[str]]:
    handler, logger = Logged(), logging.getLogger("dr_assets")
    logger.addHandler(handler)
    yield handler.texts
    logger.removeHandler(handler)


def run(history: Mapping[str, bytes], stack: Stack, logged: list[str], number: int) -> None:
    seed, wrong = mutate.seed(), []
    for n in range(number):
        key, data = mutant(mutate.generator(seed, "history", n), history)
        shown = f"input {n}: {key}: {data[:160]!r}"
        wrong += [f"{shown}: {problem}" for problem in problems(history, stack, key, data, logged)]
    assert not wrong, f"{mutate.SEED_VARIABLE}={seed}: {len(wrong)} of {number}\n" + "\n".join(wrong[:12])


def test_case_e6_mutated_objects_cost_themselves_alone(
    history: Mapping[str, bytes], stack: Stack, logged: list[str]
) -> None:
    assert {prefix for prefix in READERS if not any(key.startswith(prefix) for key in history)} == set()
    for prefix, readers in READERS.items():  # without a change nothing is named
        assert prefix and [read(reader, history)[1] for reader in readers] == [[] for _ in readers]
    run(history, stack, logged, 300)


@pytest.mark.exhaustive
def test_case_e6_five_thousand_mutated_objects(history: Mapping[str, bytes], stack: Stack, logged: list[str]) -> None:
    run(history, stack, logged, 5000)


@pytest.mark.parametrize("given", json.loads(FOUND.read_text()), ids=lambda each: each["name"])
def test_case_e6_objects_that_once_ended_a_reader_or_were_accepted(
    history: Mapping[str, bytes], stack: Stack, logged: list[str], given: dict[str, Any]
) -> None:
    data = base64.b64decode(given["base64"]) if "base64" in given else json.dumps(given["json"]).encode()
    assert list(problems(history, stack, given["key"].replace("STACK", S), data, logged)) == []
