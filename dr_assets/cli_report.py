"""`dr report`: the evidence of a period, written and verified. Added to `dr` by `cli.py`.

May import `evidence`, `history`, `reports`, `stack`, `errors`. Knows no Dagster.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dr_assets.reports.pack import Pack


@click.group(invoke_without_command=True)
@click.option(
    "--from", "start", help="First moment, UTC: 2026-11-01 or 2026-11-01T06:00. Default: 30 days before the end."
)
@click.option("--to", "end", help="The moment after the last, UTC. Default, and at most: now.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the pack; an earlier pack there is replaced.")
@click.option("--pull", is_flag=True, help="First pull the period's days from CloudWatch into the history.")
@click.option("--now", "present", is_flag=True, help="Also ask AWS whether a failover is possible at this moment.")
@click.option("--to-buckets", is_flag=True, help="Also put the pack into both sites' backup buckets.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def report(
    context: click.Context, start: str | None, end: str | None, out: Path | None, pull: bool, present: bool,
    to_buckets: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write the evidence of a period: one HTML page, the CSV of every table, pictures, raw records, a manifest.

    Reads the history (DR_HISTORY_URI). AWS is asked only with --pull, --now and --to-buckets.

    \b
    Examples:
      dr report --from 2026-10-01 --to 2026-11-01 --out october
      dr report --pull --now --out today
      dr report verify october
    """
    if context.invoked_subcommand:
        return
    if out is None:
        raise click.UsageError("Say where to write the pack: --out DIR.")
    from dr_assets import evidence
    from dr_assets.history.store import open_store
    from dr_assets.stack import load_stack

    now = datetime.now(timezone.utc)
    when, stack, store = evidence.period(start, end, now), load_stack(), open_store()
    for pulled in evidence.pull_period(stack, store, when, now) if pull else ():
        click.echo(
            f"{pulled.day}: {pulled.known_minutes} of {pulled.minutes} minutes known"
            + "".join(f"; {problem}" for problem in pulled.problems),
            err=True,
        )
    checks = evidence.present_checks(stack) if present else ()
    written = evidence.write(stack, store, when, out, checks)
    stored: list[str] = []
    if to_buckets:
        from dr_assets.aws import Aws

        stored = evidence.to_buckets(stack, written, when, Aws())
    if as_json:
        document = {
            "page": str(written.directory / "index.html"), "from": when.start.isoformat(), "to": when.end.isoformat(),
            "figures": dict(written.headline), "manifest_sha256": written.manifest_sha256, "stored": stored,
        }  # fmt: skip
        click.echo(json.dumps(document, indent=2))
        return
    show(written)
    for uri in stored:
        click.echo(f"stored  {uri}")


def show(written: Pack) -> None:
    """Print a pack's headline figures and where it is."""
    width = max(len(name) for name in written.headline)
    for name, value in written.headline.items():
        click.echo(f"{name:<{width}}  {value}")
    click.echo(f"\nreport  {written.directory / 'index.html'}")
    click.echo(f"SHA-256 of its manifest (keep it elsewhere)  {written.manifest_sha256}")


@report.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--sha256", "expected", help="The SHA-256 of the manifest, as it was told when the pack was written.")
def verify(directory: Path, expected: str | None) -> None:
    """Prove that a pack is whole: every file, every record, the chain. Exit 2 when it is not."""
    from dr_assets.reports.pack import verify_pack

    problems = verify_pack(directory, expected)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(2)
    click.echo(f"{directory}: whole" + ("" if expected else "; the manifest itself was not compared (--sha256)"))
