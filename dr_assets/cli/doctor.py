"""`dr doctor`: one screen that tells what is wrong with an installation."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from dr_assets import utc
from dr_assets.cli.output import say, say_json

if TYPE_CHECKING:
    from dr_assets.stack import Stack
    from dr_assets.ticks.doctor import DoctorReport, Sources

_WORDS = {"ok": "ok", "fails": "FAILS", "unknown": "unknown", "not_yet": "not yet"}
READ_SECONDS = 3.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON (docs/schemas/doctor-1.json).")
def doctor(as_json: bool) -> None:
    """Tell what is wrong with this installation: Dagster, alarms, recipients, channels, history; change nothing.

    Run it where the daemon runs, with the same environment. Exits 0 when every line is ok, 2 when one is not, 1 on an error.

    \b
    Examples:
      dr doctor
      dr doctor --json
    """
    from dr_assets.ticks.doctor import examine

    # Loading Dagster takes seconds, on a busy host longer than any line may wait. Where it fails, the lines say why.
    with contextlib.suppress(Exception):
        importlib.import_module("dr_assets.defs.installation")
        importlib.import_module("dr_assets.defs.definitions")
    report = examine(sources())
    if as_json:
        say_json(report.to_json())
    else:
        show(report)
    sys.exit(0 if report.healthy else 2)


def sources() -> Sources:
    """Where the lines read in production. Nothing is imported or opened before a line needs it: that may be what is broken."""
    from dr_assets.aws import Aws
    from dr_assets.history.store import open_store
    from dr_assets.stack import load_stack
    from dr_assets.ticks.doctor import Sources
    from dr_assets.ticks.doctor_host import Installation

    def installation() -> Installation:
        from dr_assets.defs.installation import read_installation

        return read_installation()

    def definitions(stack: Stack) -> object:
        from dr_assets.defs.definitions import build_definitions

        return build_definitions(stack)

    return Sources(
        stack=load_stack,
        definitions=definitions,
        installation=installation,
        store=open_store,
        aws=lambda: Aws(read_timeout=READ_SECONDS, attempts=1, silence=READ_SECONDS),
        environ=os.environ,
        clock=utc.clock,
    )


def show(report: DoctorReport) -> None:
    """Print one line for each thing that was examined, and the result."""
    width = max(len(line.name) for line in report.lines)
    for line in report.lines:
        remedy = f". {line.remedy}" if line.remedy else ""
        detail = " ".join(f"{line.detail}{remedy}".split())
        say(f"{line.name:<{width}}  {_WORDS[line.status]:<7}  {detail}")
    wrong = [line.name for line in report.lines if line.status != "ok"]
    verdict = f"Not ok: {', '.join(wrong)}" if wrong else "Everything is ok"
    say("", f"{verdict}; {report.api_calls} AWS calls in {report.seconds:.1f} s.")
