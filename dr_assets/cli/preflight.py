"""`dr preflight`: checks before the first write, and the report that answers what AWS's documents leave open."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dr_assets.cli.output import say, say_json

if TYPE_CHECKING:
    from dr_assets.preflight.report import PreflightReport

_WORDS = {"ok": "ok", "fails": "FAILS", "unknown": "unknown", "not_yet": "not yet", "skipped": "skipped"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON (docs/schemas/preflight-1.json).")
@click.option("--mask", is_flag=True, help="Leave account numbers and the caller's name out of the output.")
@click.option(
    "--skip", "skips", multiple=True, metavar="NAME=REASON", help="Leave a check out; the reason is recorded."
)
def preflight(as_json: bool, mask: bool, skips: tuple[str, ...]) -> None:
    """Check whether this account can hold the stack and this machine can drill it; write nothing.

    Exits 0 when nothing blocks provisioning, 2 when something does, 1 on an error. `dr provision` makes the checks that it needs by
    itself, before its first write.

    \b
    Examples:
      dr preflight
      dr preflight --json --mask > preflight.json
      dr preflight --skip quota-vpcs="increase requested, case 123"
    """
    from dr_assets.aws import Aws
    from dr_assets.preflight import service
    from dr_assets.reconcile.stack_state import StackState
    from dr_assets.stack import load_stack

    chosen = service.parse_skips(skips)
    report = service.examine(StackState(load_stack(), Aws()), chosen)
    if mask:
        report = report.masked()
    if as_json:
        say_json(report.to_json())
    else:
        show(report)
    sys.exit(0 if report.passes else 2)


def show(report: PreflightReport) -> None:
    """Print one line for each check and each answer."""
    width = max(len(name) for name in [c.name for c in report.checks] + [a.name for a in report.answers])
    for line in report.checks:
        remedy = f". {line.remedy}" if line.remedy and line.status in ("fails", "unknown") else ""
        note = "" if line.blocks or line.status not in ("fails", "unknown") else " (does not block provisioning)"
        say(f"{line.name:<{width}}  {_WORDS[line.status]:<7}  {line.detail}{remedy}{note}")
    if report.answers:
        say()
    for answer in report.answers:
        say(f"{answer.name:<{width}}  {_WORDS[answer.status]:<7}  {answer.detail}")
    blocking = ", ".join(line.name for line in report.blocking)
    verdict = "Nothing blocks provisioning" if report.passes else f"Provisioning is blocked by {blocking}"
    say("", f"{verdict}; {report.api_calls} AWS calls in {report.seconds:.1f} s.")
