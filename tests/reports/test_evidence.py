"""From a history in a folder to the pack: a whole month, a stack that is gone, damaged files, actions with changes."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dr_assets.cli.main import main
from dr_assets.errors import AwsCallError, DrError
from dr_assets.history import samples
from dr_assets.history.store import FolderStore
from dr_assets.reports import evidence
from dr_assets.reports.analysis import report
from dr_assets.reports.analysis.readiness import Check
from dr_assets.reports.pack import build
from dr_assets.reports.pack.manifest import verify_pack
from dr_assets.stack import Stack
from tests.support import brute_force as brute
from tests.support import month

S, DAY, SECOND = month.S, dt.timedelta(days=1), dt.timedelta(seconds=1)
OCTOBER = evidence.Period(month.START, month.END)


@pytest.fixture(scope="module")
def october(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    store = FolderStore(tmp_path_factory.mktemp("october"))
    month.write(store)
    return store


@pytest.fixture
def store(october: FolderStore, tmp_path: Path) -> FolderStore:
    """A copy that a test may spoil."""
    import shutil

    shutil.copytree(october.root, tmp_path / "history")
    return FolderStore(tmp_path / "history")


@pytest.fixture(scope="module")
def written(october: FolderStore, tmp_path_factory: pytest.TempPathFactory) -> build.Pack:
    subject = report.Subject(S, 60, 300, {"Stack": S}, 30)
    return evidence.write(subject, october, OCTOBER, tmp_path_factory.mktemp("pack") / "x")


def table(made: build.Pack, name: str) -> list[dict[str, str]]:
    with (made.directory / f"data/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_figures_of_a_month_equal_the_second_implementation(october: FolderStore, written: build.Pack) -> None:
    rows: list[Any] = samples.read(october, S, "lag", month.START - DAY, month.END).to_pylist()
    known: list[float | None] = []
    for number in range(31):  # a day and what still holds from the one before: the slow way, but the whole month
        start = month.START + number * DAY
        near = [row for row in rows if start - brute.HOLD * SECOND <= row["at"] < start + DAY]
        known += brute_day(near, int(start.timestamp()))
    summary = table(written, "rpo-summary")[0]
    for name, value in brute.figures(known, 60).items():
        assert value is not None
        assert float(summary[name]) == pytest.approx(value, rel=1e-8), name
    assert len(table(written, "rpo-breaches")) == len(brute.stretches(known, lambda v: v is not None and v >= 60)) == 3
    assert len(table(written, "rpo-gaps")) == len(brute.stretches(known, lambda v: v is None))


def brute_day(rows: list[Any], start: int) -> list[float | None]:
    """`brute.values_of` for many rows: within an hour it needs only that hour's."""
    found: list[float | None] = []
    for hour in range(24):
        begin = start + hour * 3600
        near = [row for row in rows if begin - brute.HOLD <= row["at"].timestamp() < begin + 3600]
        found += [value for value in brute.values_of(near, begin, 3600, every=20) for _ in range(20)]
    return found


def test_what_drills_and_sensors_recorded_is_in_the_tables(written: build.Pack) -> None:
    events = {row["id"]: row for row in table(written, "rto-events")}
    assert len(events) == 6
    assert [row["regression"] for row in events.values()] == ["no", "no", "yes", "unknown", "unknown", "yes"]
    incidents = table(written, "incidents")
    assert len(incidents) == 7
    assert {row["noticed_after_seconds"] for row in incidents if row["topic"] == "writer"} == {"17"}
    assert [row["during"] for row in table(written, "rpo-breaches")] == [
        f"{S}-replication-000001",
        "",
        f"{S}-replication-000002",
    ]
    intervals = {row["source"]: row["end_told_by"] for row in table(written, "exposure-intervals")}
    assert f"{S}-events.resynchronizing-000001" in intervals
    assert sorted(set(intervals.values())) == ["readings of the lag", "the record", "the sensors"]
    assert (written.directory / f"incidents/{S}-writer-000001.json").is_file()


def test_every_file_of_samples_behind_the_figures_is_named_with_its_hash(
    october: FolderStore, written: build.Pack
) -> None:
    sources = {row["file"]: row["sha256"] for row in table(written, "sources")}
    assert set(sources) == set(october.list("samples/"))
    assert all(hashlib.sha256(october.read(key)).hexdigest() == expected for key, expected in sources.items())


def test_without_current_checks_nothing_is_ready(written: build.Pack, october: FolderStore, tmp_path: Path) -> None:
    assert written.headline["ready"] == "no"
    assert "were not asked" in written.report.readiness.reasons[0]
    quiet = evidence.Period(month.START, month.START + 5 * DAY)
    subject, checks = report.Subject(S, 60, 300), [Check("precondition: lag", True)]
    made = evidence.write(subject, october, quiet, tmp_path / "x", checks)
    assert made.headline["ready"] == "yes"
    rows = table(made, "readiness")
    assert sum(float(row["of"]) for row in rows) == pytest.approx(100)
    assert f"{sum(float(row['points']) for row in rows):.0f} of 100" == made.headline["readiness score"]


def test_a_stack_that_was_removed_has_a_report_until_then_and_a_gap_after(
    store: FolderStore, stack: Stack, tmp_path: Path
) -> None:
    for key in store.list("samples/")[14:]:
        store.delete(key)
    for folder in ("samples", "records", "incidents"):
        (store.root / folder / S).rename(store.root / folder / "gone")
    subject = evidence.subject_of(stack, store, "gone")
    assert (subject.rpo_seconds, subject.rto_seconds) == (60, 300)
    assert "not the one of the stack file" in subject.scope["Stack"]
    made = evidence.write(subject, store, OCTOBER, tmp_path / "x")
    assert verify_pack(made.directory) == []
    last = table(made, "rpo-gaps")[-1]
    assert last["start"] == "2026-10-15T00:01:00.000Z" and last["end"] == "2026-11-01T00:00:00.000Z"
    assert float(last["bound_seconds"]) > 17 * 86_400
    with pytest.raises(DrError, match=r"Nothing is known of a stack 'other'.*it holds gone"):
        evidence.subject_of(stack, store, "other")


def test_every_stack_side_by_side_those_that_are_gone_among_them(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.root / "samples" / "gone" / "lag").mkdir(parents=True)
    for key in store.list(f"samples/{S}/")[:3]:
        store.write(key.replace(S, "gone"), store.read(key))
    asked = ("stacks", "--from", "2026-10-01", "--to", "2026-11-01")
    few = dr(store, monkeypatch, *asked, "--csv").stdout
    monkeypatch.setattr(evidence, "_FEW", 1)
    assert dr(store, monkeypatch, *asked, "--csv").stdout == few  # in processes of their own
    rows = list(csv.DictReader(few.splitlines()))
    assert {(row["stack"], row["scope"]) for row in rows} >= {("gone", "stack"), (S, "stack"), (S, "primary/metric")}
    lines = dr(store, monkeypatch, *asked).stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(f"{S}  99.74 % of known time under 60 s, 3.37 % unknown, 3 breaches, worst 911.9 s")
    assert dr(FolderStore(store.root / "no"), monkeypatch, *asked).stdout.startswith("The history holds no sample")


def test_case_e6_one_bad_stack_in_the_overview(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders no stack can have, one whose only day is damaged, one whose records the store keeps back."""
    good = store.list(f"samples/{S}/")[0]
    for name in ("UPPER", "a b", "..x", "damaged", "hidden"):
        store.write(good.replace(S, name), store.read(good) if name != "damaged" else b"PAR1")
    load = evidence.record.load

    def refuse(where: Any, name: str) -> Any:
        if name == "hidden":
            raise AwsCallError("s3 get_object failed: AccessDenied.")
        return load(where, name)

    monkeypatch.setattr(evidence.record, "load", refuse)
    monkeypatch.setattr(evidence, "_FEW", 9)
    found = dr(store, monkeypatch, "stacks", "--from", "2026-10-01", "--to", "2026-11-01", "--csv")
    assert found.exit_code == 0, found.output
    rows = {row["stack"]: row for row in csv.DictReader(found.stdout.splitlines()) if row["scope"] == "stack"}
    assert set(rows) == {S, "damaged", "hidden"}
    assert rows[S]["problems"] == "0" and rows["damaged"]["problems"] == "1"
    assert rows["damaged"]["unknown_share"] == "1"
    assert rows["hidden"]["problems"] == "1"  # its samples count; whose objectives they are held against is named
    for text in ("samples/UPPER/", "samples/a b/", "damaged: samples/damaged/lag/", "hidden: s3 get_object failed"):
        assert text in found.stderr


def test_case_e6_a_day_that_fails_does_not_end_the_import_of_the_others(
    store: FolderStore, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = evidence.cloudwatch_import.ImportedDay(S, OCTOBER.days[0], "k", 1, 1440, 1440, 1440, 0)

    def one(_stacks: Any, _store: Any, day: dt.date, *_: Any) -> Any:
        if day.day == 3:
            raise AwsCallError("no region answered")
        return [replace(good, day=day)]

    monkeypatch.setattr(evidence.cloudwatch_import, "import_day", one)
    found = list(evidence.pull_period(stack, store, OCTOBER, month.END))
    assert [each.day for each in found] == OCTOBER.days
    assert [str(each.error) for each in found if each.error] == ["no region answered"]
    with pytest.raises(AwsCallError, match="no region answered"):
        list(
            evidence.pull_period(stack, store, evidence.Period(month.START + 2 * DAY, month.START + 3 * DAY), month.END)
        )


def test_damaged_files_cost_their_own_day_and_are_named_on_the_page(store: FolderStore, tmp_path: Path) -> None:
    day = store.list("samples/")[4]
    store.write(day, store.read(day)[:-50])
    incident = store.list("incidents/")[0]
    store.write(incident, b"{")
    record = store.list("records/")[-1]
    (store.root / record).write_bytes(store.read(record)[:-50])
    made = evidence.write(report.Subject(S, 60, 300), store, OCTOBER, tmp_path / "x")
    html = (made.directory / "index.html").read_text()
    assert all(f"{key}: " in html for key in (day, incident, record))
    lost = next(row for row in table(made, "rpo-days") if row["period"] == "2026-10-05")
    assert float(lost["known_seconds"]) == 60  # what the last reading of the day before still covers
    assert len(table(made, "rto-events")) == 5
    assert store.list("records/")[-1] == record  # of a chain nothing is moved
    assert verify_pack(made.directory) == []


def dr(store: FolderStore, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("DR_HISTORY_URI", str(store.root))
    return CliRunner().invoke(main, ["report", *arguments])


def test_an_action_gets_an_owner_and_is_done(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed = json.loads(dr(store, monkeypatch, "action", "--json").stdout)
    assert [(each["owner"], each["due"]) for each in listed] == [
        ("Network team", "2026-10-27"),
        ("Database team", "2026-11-20"),
    ]
    first, second = (each["record"] for each in listed)
    assert dr(store, monkeypatch, "action", first, "1", "--done", "2026-10-20", "--by", "Ada").exit_code == 0
    result = dr(store, monkeypatch, "action", second, "1", "--owner", "Joan", "--due", "2999-12-24")
    assert "done 2026-10-20" in result.stdout and "due 2999-12-24  Joan: Find out why" in result.stdout
    made = evidence.write(report.Subject(S, 60, 300), store, OCTOBER, tmp_path / "x")
    assert [row["state"] for row in table(made, "actions")] == ["done 2026-10-20", "open"]
    assert next(row for row in table(made, "readiness") if row["check"] == "corrective actions")["result"] == "passed"
    missing = dr(store, monkeypatch, "action", first, "2", "--done", "2026-10-20")
    assert missing.exit_code == 1 and "There is no corrective action" in missing.stderr
    assert dr(store, monkeypatch, "action", first).exit_code == 2
    assert dr(store, monkeypatch, "action", first, "--owner", "x").exit_code == 2


def test_case_c5_an_action_is_added_to_a_record_without_changing_it(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (each["record"] for each in json.loads(dr(store, monkeypatch, "action", "--json").stdout))
    before = {key: store.read(key) for key in store.list("records/")}
    added = dr(store, monkeypatch, "action", first, "--add", "Shorten the TTL", "--owner", "Kim", "--due", "2999-01-02")
    assert f"{first} 2  open  due 2999-01-02  Kim: Shorten the TTL" in added.stdout, added.output
    # Written elsewhere at the same moment, with the same number: it is not lost.
    at = dt.datetime.now(dt.timezone.utc)
    other = {
        "schema": "dr-assets/action/1",
        "record": first,
        "number": 2,
        "text": "Ask the network team",
        "by": "Lee",
        "at": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}",
    }
    store.write(f"actions/{S}/{at:%Y%m%dT%H%M%S%f}.json", json.dumps(other).encode())
    assert dr(store, monkeypatch, "action", first, "3", "--done", "2999-01-03").exit_code == 0
    listed = [
        (each["record"], each["number"], each["text"], each["owner"], each["done"])
        for each in json.loads(dr(store, monkeypatch, "action", "--json").stdout)
    ]
    assert listed[1:3] == [
        (first, 2, "Shorten the TTL", "Kim", None),
        (first, 3, "Ask the network team", "unassigned", "2999-01-03"),
    ]
    assert [each[:2] for each in listed] == [(first, 1), (first, 2), (first, 3), (second, 1)]
    assert {key: store.read(key) for key in store.list("records/")} == before
    unknown = dr(store, monkeypatch, "action", "20260101T000000Z-failover-000000", "--add", "x")
    assert unknown.exit_code == 1 and "There is no record" in unknown.stderr
    assert dr(store, monkeypatch, "action", "--add", "x").exit_code == 2
    assert dr(store, monkeypatch, "action", first, "1", "--add", "x").exit_code == 2


def test_case_c5_a_proposal_made_after_the_record_is_in_the_report(store: FolderStore, tmp_path: Path) -> None:
    drill = json.loads(store.read(store.list("records/")[-1]))["id"]
    proposed = {"file": "lost-writes.jsonl", "insert": 41, "update": 2, "delete": 3}
    document = {"schema": "dr-assets/drill-proposal/1", "drill": drill, "proposal": proposed}
    store.write(f"drills/{S}/{drill}-proposal.json", json.dumps(document).encode())
    html = (
        evidence.write(report.Subject(S, 60, 300), store, OCTOBER, tmp_path / "x").directory / "index.html"
    ).read_text()
    assert "lost-writes.jsonl: 41 to insert, 2 to update, 3 to delete (proposed after the record was written)" in html
    assert "none needed: no commit was lost" in html


def test_case_c6_a_record_judged_against_another_objective_is_named(store: FolderStore) -> None:
    found = evidence.gather(store, S, OCTOBER)
    assert not [text for text in evidence.report(report.Subject(S, 60, 300), found).rpo.problems if "judged" in text]
    problems = evidence.report(report.Subject(S, 60, 120), found).rpo.problems
    judged = [text for text in problems if "judged against an RTO of 300 s; the objective is 120 s" in text]
    assert len(judged) == 6  # each of the period


def test_who_signs_and_when_the_next_drill_is_due(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = ("--from", "2026-10-01", "--to", "2026-11-01", "--out", str(tmp_path / "x"))
    done = dr(store, monkeypatch, *asked, "--sign", "Service owner=Grace Hopper", "--next-due", "2026-12-01")
    assert done.exit_code == 0, done.output
    html = (tmp_path / "x/index.html").read_text()
    assert "<td>Service owner&nbsp;</td><td>Grace Hopper&nbsp;</td>" in html and "Next drill due: 2026-12-01." in html
    assert dr(store, monkeypatch, *asked, "--sign", "nobody").exit_code == 2
    assert dr(store, monkeypatch, *asked, "--stack", "other").exit_code == 1


def test_another_process_in_another_zone_gives_the_same_bytes(october: FolderStore, tmp_path: Path) -> None:
    code = (
        "import datetime as dt, sys\n"
        "from dr_assets.reports.evidence import *\n"
        "from dr_assets.history.store import FolderStore\n"
        "start = dt.datetime(2026, 10, 1, tzinfo=dt.timezone.utc)\n"
        "found = gather(FolderStore(Path(sys.argv[1])), 'l6p3z2w4', Period(start, start + dt.timedelta(days=16)))\n"
        "made = build.write_pack(sys.argv[2], Subject('l6p3z2w4', 60, 300), found.period.start, found.period.end, found.samples,\n"
        "    found.records, now=found.period.end, incidents=found.incidents, sources=found.sources)\n"
        "print(made.manifest_sha256)\n"
    )
    here = {"PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu"}
    there = subprocess.run(
        [sys.executable, "-c", code, str(october.root), str(tmp_path / "there")],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **here},
    )
    found = evidence.gather(october, S, evidence.Period(month.START, month.START + 16 * DAY))
    made = build.write_pack(
        tmp_path / "here",
        report.Subject(S, 60, 300),
        found.period.start,
        found.period.end,
        found.samples,
        found.records,
        now=found.period.end,
        incidents=found.incidents,
        sources=found.sources,
    )
    assert there.stdout.strip() == made.manifest_sha256
