"""The evidence pack: complete, self-contained, provable; and pictures that are pictures."""

import datetime as dt
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dr_assets.drills.record_document import digest
from dr_assets.history import samples
from dr_assets.reports.analysis import report
from dr_assets.reports.pack import build, formatting, page, sections, tables
from dr_assets.reports.pack.exposure_calendar import exposure_calendar
from dr_assets.reports.pack.manifest import sha256, verify_pack
from dr_assets.stack import Stack
from tests.support.records import START

DAY, SECOND = dt.timedelta(days=1), dt.timedelta(seconds=1)
END = START + 7 * DAY
GONE = report.Subject("gone", 60, 300)


def table() -> Any:
    """A week: quiet, one breach, a gap of half a day."""
    rows = []
    for minute in range(7 * 1440):
        if not 4000 < minute < 4700:
            value = 90_000.0 if 2000 <= minute < 2010 else 400.0 + minute % 60
            rows.append(
                {
                    "at": START + minute * 60 * SECOND,
                    "site": "secondary",
                    "metric": "rpo-lag",
                    "value": value,
                    "unit": "ms",
                    "source": "metric",
                }
            )
    return samples.to_table(rows)


def chained(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    before = None
    for each in records:
        each["previous_hash"] = before
        each["hash"] = before = digest(each)
    return records


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[build.Pack, list[dict[str, Any]]]:
    from tests.support.records import make_record

    evil = "<script>alert(1)</script>"
    records = chained(
        [
            make_record(START + DAY, why=evil, deviations=[evil]),
            make_record(
                START + 2 * DAY,
                "failback",
                status="failed",
                parts=(1.0, None, None, None),
                lost=None,
                exposure=None,
                corrective_actions=[{"text": "=HYPERLINK(evil)", "owner": "", "due": "2026-03-05"}],
            ),
            make_record(START + 3 * DAY, "switchover", kind="incident"),
        ]
    )
    directory = tmp_path_factory.mktemp("pack") / "evidence"
    subject = report.Subject("l6p3z2w4", 60, 300, {"Stack": "l6p3z2w4"})
    made = build.write_pack(
        directory, subject, START, END, table(), records, now=END, problems=["samples/x: it was damaged"]
    )
    return made, records


def test_the_pack_is_whole(written: Any) -> None:
    made, records = written
    assert verify_pack(made.directory) == []
    manifest = json.loads((made.directory / "manifest.json").read_text())
    assert manifest["chain_head"] == {"id": records[-1]["id"], "hash": records[-1]["hash"]}
    names = set(manifest["files"])
    assert {
        "index.html",
        "data/rpo-months.csv",
        "pictures/rto-parts.png",
        "pictures/rto-parts.svg",
        "records/000003.json",
    } <= names
    assert json.loads((made.directory / "records/000001.json").read_text()) == records[0]
    assert made.headline["RTO met"] == "2 of 3" and made.headline["RPO breaches"] == "1"
    assert [path.name for path in made.directory.parent.iterdir()] == ["evidence"]


def test_the_page_needs_nothing_but_itself(written: Any) -> None:
    html = (written[0].directory / "index.html").read_text()
    assert "default-src 'none'" in html
    assert not re.findall(r"""(?:src|href|action)=["'](?!data:|#)""", html)
    assert "http://" not in re.sub(r"base64,[^\"]*", "", html) and "https://" not in html
    assert len(re.findall(r"<img alt=\"[^\"]{20,}\"", html)) == html.count("<img") == 4
    assert "@media print" in html
    # Whatever came from a record is text.
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html
    anchors = set(re.findall(r'href="#([a-z]+)"', html))
    assert anchors <= set(re.findall(r'<section id="([a-z]+)"', html))


def test_the_page_says_what_an_auditor_asks(written: Any) -> None:
    html = (written[0].directory / "index.html").read_text()
    for text in (
        "Ada",
        "Grace",
        "primary (us-east-1) to secondary (us-west-2)",
        "9.5 to 10 s, target 300 s, met: yes",
        "unknown, target 300 s, met: unknown",
        "parity: unknown: no answer",
        "the region is gone (by Grace)",
        "CP-4 a, b, c",
        "8.5",
        "A1.3",
        "Art. 11(6)",
        "Art. 24(5), 24(6)",
        "Art. 26",
        "unassigned",
        "Next drill due: 2026-06-03",
        "samples/x: it was damaged",
    ):
        assert text in html, text


def test_every_table_has_a_csv_which_starts_no_formula(written: Any) -> None:
    root = written[0].directory
    html = (root / "index.html").read_text()
    for name in re.findall(r"<caption>(data/[a-z-]+\.csv)", html):
        assert (root / name).is_file()
    actions = (root / "data/actions.csv").read_text().splitlines()
    assert actions[0] == "record,number,action,owner,due,state,note"
    assert actions[1].endswith(",1,'=HYPERLINK(evil),unassigned,2026-03-05,overdue,")
    breach = (root / "data/rpo-breaches.csv").read_text().splitlines()[1]
    assert breach.startswith("2026-03-03T09:20:00.000Z,2026-03-03T09:30:00.000Z,600,90,30,reading,recovered")
    drills = (root / "data/rpo-drills.csv").read_text().splitlines()
    # Unknown is an empty cell, never a nought: the lost time, its lower bound, the lost commits.
    assert drills[2].count(",0.4,,,,0,") == 1 and drills[2].endswith(",unknown")


def test_the_same_history_gives_the_same_bytes(written: Any, tmp_path: Path) -> None:
    made, records = written
    subject = report.Subject("l6p3z2w4", 60, 300, {"Stack": "l6p3z2w4"})
    again = build.write_pack(
        tmp_path / "x", subject, START, END, table(), records, now=END, problems=["samples/x: it was damaged"]
    )
    assert again.manifest_sha256 == made.manifest_sha256


def _change(root: Path) -> str:
    file = root / "data/rpo-summary.csv"
    file.write_text(file.read_text().replace("0.9", "1.0", 1))
    return "data/rpo-summary.csv was changed"


def _remove(root: Path) -> str:
    (root / "pictures/rto-parts.png").unlink()
    return "pictures/rto-parts.png cannot be read"


def _add(root: Path) -> str:
    (root / "data/better.csv").write_text("all is well")
    return "data/better.csv is not in the manifest"


def _link(root: Path) -> str:
    (root / "index.html").rename(root.parent / "elsewhere.html")
    (root / "index.html").symlink_to(root.parent / "elsewhere.html")
    return "index.html is a link"


def _forge(root: Path) -> str:
    """A record made better, and the manifest with it: its own hash reveals it."""
    return (
        _rewrite(root, "records/000002.json", lambda record: record.update(status="succeeded"))
        + ": its hash does not fit its content"
    )


def _rehash(root: Path) -> str:
    """With its hash, too: then the chain reveals it."""

    def change(record: dict[str, Any]) -> None:
        record["status"] = "succeeded"
        record["hash"] = digest(record)

    _rewrite(root, "records/000002.json", change)
    return "records/000003.json: it is not chained"


def _forge_the_chain(root: Path) -> str:
    """An objective met by word alone, every hash, the head and the manifest computed anew: the figures reveal it."""
    before: str | None = None
    for number in (1, 2, 3):

        def change(record: dict[str, Any], before: str | None = before) -> None:
            if record["status"] == "succeeded":
                record["rto"] |= {"low_seconds": 99999, "high_seconds": 99999, "met": True}
            record["previous_hash"] = before
            record["hash"] = digest(record)

        name = _rewrite(root, f"records/{number:06d}.json", change)
        before = json.loads((root / name).read_text())["hash"]
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["chain_head"]["hash"] = before
    (root / "manifest.json").write_text(json.dumps(manifest))
    return "records/000003.json: rto.met is true, but 99999 to 99999 s"


def _drop(root: Path) -> str:
    """The newest taken away, in the manifest as well: the head of the chain reveals it."""
    (root / "records/000003.json").unlink()
    manifest = json.loads((root / "manifest.json").read_text())
    del manifest["files"]["records/000003.json"]
    manifest["records"] = 2
    (root / "manifest.json").write_text(json.dumps(manifest))
    return "the head of the chain"


def _rewrite(root: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> str:
    record = json.loads((root / name).read_text())
    change(record)
    (root / name).write_text(json.dumps(record))
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = sha256((root / name).read_bytes())
    (root / "manifest.json").write_text(json.dumps(manifest))
    return name


def _escape(root: Path) -> str:
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["files"]["../../etc/passwd"] = {"sha256": "0"}
    (root / "manifest.json").write_text(json.dumps(manifest))
    return "../../etc/passwd in the manifest is no file of a pack"


def _spoil(root: Path) -> str:
    (root / "manifest.json").write_text("{")
    return "manifest.json is not JSON"


TAMPERINGS = (_change, _remove, _add, _link, _forge, _rehash, _forge_the_chain, _drop, _escape, _spoil)


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_every_kind_of_tampering_is_found(written: Any, tmp_path: Path, tamper: Callable[[Path], str]) -> None:
    import shutil

    root = tmp_path / "copy"
    shutil.copytree(written[0].directory, root)
    assert verify_pack(root) == []
    problem_text = tamper(root)
    assert any(problem_text in problem for problem in verify_pack(root)), verify_pack(root)


def test_one_byte_changed_in_any_file_is_found(written: Any) -> None:
    root = written[0].directory
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        good = path.read_bytes()
        place = len(good) // 2
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        problems = verify_pack(root, written[0].manifest_sha256)
        path.write_bytes(good)
        assert any(path.relative_to(root).as_posix() in problem for problem in problems), path
    assert verify_pack(root, written[0].manifest_sha256) == []


def test_a_manifest_written_anew_over_better_figures_is_found_by_its_hash(written: Any, tmp_path: Path) -> None:
    made, records = written
    better = build.write_pack(
        tmp_path / "x", made.report.subject, START, END, samples.SCHEMA.empty_table(), records, now=END
    )
    assert verify_pack(better.directory) == []
    (problem,) = verify_pack(better.directory, made.manifest_sha256)
    assert "manifest.json was changed" in problem


@pytest.mark.parametrize("history", ["empty", "gaps"])
def test_a_stack_that_is_gone_and_left_nothing_gets_a_sensible_page(tmp_path: Path, history: str) -> None:
    readings = samples.SCHEMA.empty_table()
    if history == "gaps":
        readings = samples.to_table(
            [{"at": START, "site": "secondary", "metric": "rpo-lag", "value": None, "unit": "ms", "source": "metric"}]
        )
    made = build.write_pack(tmp_path / "x", GONE, START, END, readings, [], now=END)
    assert verify_pack(made.directory) == []
    assert made.headline["RPO compliance"] == "unknown" and made.headline["ready"] == "no"
    html = (made.directory / "index.html").read_text()
    assert not re.search(r">\s*(nan|nat|inf)\b", html, re.IGNORECASE)
    assert "Next drill due: at once" in html


def test_the_stack_file_tells_the_scope(stack: Stack) -> None:
    subject = report.Subject.of(stack)
    assert (subject.name, subject.rpo_seconds, subject.scope["Primary site"]) == ("l6p3z2w4", 60, "us-east-1")


def test_pictures_are_pictures(written: Any) -> None:
    folder = written[0].directory / "pictures"
    for name in ("rpo-over-time", "lag-heat-map", "rto-parts", "exposure-calendar"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        root = ET.fromstring((folder / f"{name}.svg").read_text())
        assert root.tag.endswith("svg")


def test_a_year_and_several_years_are_drawn() -> None:
    found = report.stack_report(GONE, START, START + 800 * DAY, table(), [])
    picture = exposure_calendar(found.exposure, "x")
    assert picture.png.startswith(b"\x89PNG") and "800 days" in picture.alt


def test_a_share_is_never_rounded_to_perfection() -> None:
    assert [formatting.share(value) for value in (1.0, 0.0, 0.5, 0.99999, 0.999999999)] == [
        "100.00 %",
        "0.00 %",
        "50.00 %",
        "99.9990 %",
        "less than 100 %, by less than a millionth",
    ]


def test_long_tables_are_cut_on_the_page_and_say_so() -> None:
    import pandas as pd

    macros: Any = page.environment().get_template("macros.html.j2").module
    html = macros.table(tables.table("x", pd.DataFrame({"a": range(500)})))
    assert html.count("<tr>") == 401 and "the first 400 of 500 rows" in html


def test_importing_reports_loads_neither_pandas_nor_matplotlib() -> None:
    names = [
        "analysis.rpo",
        "analysis.rto",
        "analysis.exposure",
        "analysis.readiness",
        "analysis.what_if",
        "analysis.report",
        "analysis.corrective_actions",
        "pack.charts",
        "pack.build",
        "pack.sections",
        "pack.tables",
    ]
    code = f"import sys; import {', '.join(f'dr_assets.reports.{name}' for name in names)}; print(sorted({{'pandas', 'matplotlib', 'dagster', 'boto3'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def cards_of(samples_: Any, records: list[dict[str, Any]], days: int = 1) -> tuple[dict[str, sections.Card], str]:
    """The cards of a pack by their label, and the sentence on the recovery point."""
    end = START + days * DAY
    found = report.stack_report(GONE, START, end, samples_, records, end)
    content = sections.Content(
        report=found,
        start=START,
        end=end,
        made=end,
        pictures=(),
        records=records,
        sources={},
        proposals={},
        sign_off=(),
        next_due=None,
        product_version="1",
    )
    cards = sections._cards(content)
    sentences = sections._answers(content)
    return {card.label: card for card in cards}, next(text for text in sentences if text.startswith("Recovery point"))


@pytest.mark.parametrize(
    ("minutes", "tone"),
    [(range(28), "open"), (range(1440), "good"), (range(10, 1440), "good"), (range(15, 1440), "open")],
)
def test_case_a7_28_known_minutes_open_both_cards(minutes: range, tone: str) -> None:
    """All of the known time good, and more than a hundredth of the day unknown: neither figure is a proof."""
    row = {"site": "secondary", "metric": "rpo-lag", "value": 400.0, "unit": "ms", "source": "metric"}
    known = samples.to_table([{"at": START + minute * 60 * SECOND, **row} for minute in minutes])
    cards, sentence = cards_of(known, [])
    assert {cards[label].tone for label in ("Known time with an RPO under 60 s", "Breaches of the RPO")} == {tone}
    assert ("more than 1.00 %" in cards["Known time with an RPO under 60 s"].detail) == (tone == "open")
    assert ("only, so it is open whether" in sentence) == (tone == "open")


def test_case_a7_a_breach_is_bad_however_much_is_unknown() -> None:
    row = {"site": "secondary", "metric": "rpo-lag", "value": 90_000.0, "unit": "ms", "source": "metric"}
    cards, _ = cards_of(samples.to_table([{"at": START, **row}]), [])
    assert cards["Breaches of the RPO"].tone == "bad"


@pytest.mark.parametrize(("days", "tone"), [(89, "good"), (92, "bad")])
def test_case_a7_a_proof_beyond_its_age_is_none(days: int, tone: str) -> None:
    from tests.support.records import make_record

    cards, _ = cards_of(samples.SCHEMA.empty_table(), chained([make_record(START + SECOND)]), days)
    assert cards["Last proof"].tone == tone
    assert cards_of(samples.SCHEMA.empty_table(), [])[0]["Last proof"].tone == "bad"
