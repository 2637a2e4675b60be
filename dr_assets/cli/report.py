"""`dr report`: writes and verifies the evidence pack of a period, compares stacks, lists corrective actions."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dr_assets import utc
from dr_assets.cli.drill import PUBLIC_KEY
from dr_assets.cli.output import say, say_json, say_text

if TYPE_CHECKING:
    from dr_assets.reports.pack.build import Pack
    from dr_assets.reports.pack.sections import Signature


@click.group(invoke_without_command=True)
@click.option(
    "--from", "start", help="First moment, UTC: 2026-11-01 or 2026-11-01T06:00. Default: 30 days before the end."
)
@click.option("--to", "end", help="The moment after the last, UTC. Default, and at most: now.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the pack; an earlier pack there is replaced.")
@click.option(
    "--stack", "name", help="Another stack of the history, such as one that is gone. Default: the stack file's."
)
@click.option("--pull", is_flag=True, help="First pull the period's days from CloudWatch into the history.")
@click.option("--now", "present", is_flag=True, help="Also check against AWS whether a failover is possible now.")
@click.option("--to-buckets", is_flag=True, help="Also upload the pack to both sites' backup buckets.")
@click.option(
    "--sign",
    "signed",
    multiple=True,
    metavar="ROLE=NAME",
    help="A signatory; without any the page has lines to sign on.",
)
@click.option(
    "--next-due", type=click.DateTime(["%Y-%m-%d"]), help="Next drill. Default: 90 days after the last proof."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def report(
    context: click.Context,
    start: str | None,
    end: str | None,
    out: Path | None,
    name: str | None,
    pull: bool,
    present: bool,
    to_buckets: bool,
    signed: tuple[str, ...],
    next_due: datetime | None,
    as_json: bool,
) -> None:
    """Write the evidence of a period: one HTML page, a CSV file per table, charts, raw records, a manifest.

    Reads the history (DR_HISTORY_URI); AWS only with --pull, --now and --to-buckets.

    \b
    Examples:
      dr report --from 2026-10-01 --to 2026-11-01 --out october
      dr report --pull --now --out today
      dr report verify october
      dr report stacks --from 2026-10-01   the RPO of every stack side by side
      dr report action                     open corrective actions
    """
    if context.invoked_subcommand:
        return
    if out is None:
        raise click.UsageError("--out is missing. Give the folder for the pack: --out DIR.")
    from dr_assets.history.store import open_store
    from dr_assets.reports import evidence
    from dr_assets.stack import load_stack

    now = utc.now()
    when, stack, store = evidence.period(start, end, now), load_stack(), open_store()
    subject = evidence.subject_of(stack, store, name or stack.environment_suffix)
    if subject.name != stack.environment_suffix and (pull or present or to_buckets):
        raise click.UsageError(
            f"{subject.name} is not the stack of the stack file: --pull, --now and --to-buckets need that one."
        )
    signatures = [_signature(text, now) for text in signed]
    for pulled in evidence.pull_period(stack, store, when, now) if pull else ():
        say(
            f"{pulled.day}: {pulled.known_minutes} of {pulled.minutes} minutes known"
            + "".join(f"; {problem}" for problem in pulled.problems),
            err=True,
        )
    checks = evidence.current_checks(stack) if present else ()
    due = next_due.date() if next_due else None
    written = evidence.write(subject, store, when, out, checks, sign_off=signatures, next_due=due)
    stored: list[str] = []
    if to_buckets:
        from dr_assets.aws import Aws

        stored = evidence.upload(stack, written, when, Aws())
    if as_json:
        document = {
            "page": str(written.directory / "index.html"),
            "from": when.start.isoformat(),
            "to": when.end.isoformat(),
            "figures": dict(written.headline),
            "manifest_sha256": written.manifest_sha256,
            "stored": stored,
        }
        say_json(document)
        return
    show(written)
    for uri in stored:
        say(f"stored  {uri}")


def _signature(text: str, now: datetime) -> Signature:
    role, _, person = text.partition("=")
    if not role.strip() or not person.strip():
        raise click.UsageError(f"--sign {text!r} is not ROLE=NAME.")
    from dr_assets.reports.pack.sections import Signature

    return Signature(role.strip(), person.strip(), f"{now:%Y-%m-%d}")


def show(written: Pack) -> None:
    """Print a pack's headline figures and where it is."""
    width = max(len(name) for name in written.headline)
    for name, value in written.headline.items():
        say(f"{name:<{width}}  {value}")
    say("", f"report  {written.directory / 'index.html'}")
    say(f"SHA-256 of its manifest (keep it elsewhere)  {written.manifest_sha256}")


@report.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--sha256", "expected", help="The SHA-256 of the manifest, as printed when the pack was written.")
@click.option("--public-key", "pems", multiple=True, type=click.Path(path_type=Path), help=PUBLIC_KEY)
def verify(directory: Path, expected: str | None, pems: tuple[Path, ...]) -> None:
    """Verify that a pack is complete and unchanged: every file, every record, the chain. Exit 2 if it is not.

    With --public-key also that a signature of that key covers every record, and the samples behind the figures; exit 2 if that is
    unknown.
    """
    from dr_assets.drills.signing import read_public_key
    from dr_assets.reports.pack.manifest import verify_pack, verify_statements

    keys = [read_public_key(path) for path in pems]
    signed = verify_statements(directory, keys)
    problems = [*verify_pack(directory, expected), *signed.problems]
    for problem in problems:
        say(problem, err=True)
    for text in signed.unknown:
        say(f"unknown: {text}", err=True)
    if problems or (keys and not signed.verified):
        sys.exit(2)
    say(
        f"{directory}: whole"
        + ("" if expected else "; the manifest itself was not compared (--sha256)")
        + (
            "; every record and every day of samples is signed"
            if keys
            else "; the signatures were not verified (--public-key)"
        )
    )


@report.command()
@click.option("--from", "start", help="First moment, UTC. Default: 30 days before the end.")
@click.option("--to", "end", help="The moment after the last, UTC. Default, and at most: now.")
@click.option("--csv", "as_csv", is_flag=True, help="Print every figure, also of each site and source, as CSV.")
def stacks(start: str | None, end: str | None, as_csv: bool) -> None:
    """The RPO of every stack of the history side by side, including stacks that are gone.

    \b
    Examples:
      dr report stacks --from 2026-10-01 --to 2026-11-01
      dr report stacks --csv > stacks.csv
    """
    from dr_assets.history.store import open_store
    from dr_assets.reports import evidence
    from dr_assets.reports.pack import formatting
    from dr_assets.stack import load_stack

    when = evidence.period(start, end, utc.now())
    found, problems = evidence.overview(load_stack(), open_store(), when)
    for problem in problems:
        say(problem, err=True)
    if as_csv:
        say_text(formatting.csv(found).decode())
        return
    for _, row in found[found["scope"] == "stack"].iterrows():
        known = "unknown" if formatting.missing(row["compliance"]) else formatting.share(row["compliance"])
        worst = "" if formatting.missing(row["max_seconds"]) else f", worst {row['max_seconds']:.4g} s"
        say(
            f"{row['stack']}  {known} of known time under {row['objective_seconds']:g} s, {formatting.share(row['unknown_share'])} "
            f"unknown, {row['breaches']} breaches{worst}"
        )
    if not len(found):
        say("The history holds no sample of any stack.")


@report.command()
@click.argument("record", required=False)
@click.argument("number", type=click.IntRange(1), required=False)
@click.option("--add", "text", help="Add an action to RECORD, in these words.")
@click.option("--owner", help="Owner of the action.")
@click.option("--due", type=click.DateTime(["%Y-%m-%d"]), help="Due date.")
@click.option("--done", type=click.DateTime(["%Y-%m-%d"]), help="Date of completion.")
@click.option("--note", help="Free text.")
@click.option("--by", help="Author of the change. Default: the user logged in.")
@click.option("--stack", "name", help="Another stack of the history. Default: the stack file's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def action(
    record: str | None,
    number: int | None,
    text: str | None,
    owner: str | None,
    due: datetime | None,
    done: datetime | None,
    note: str | None,
    by: str | None,
    name: str | None,
    as_json: bool,
) -> None:
    """List the corrective actions of drills and incidents; with RECORD and NUMBER, set an owner, a date, or completion; with RECORD and
    --add, add one.

    Records are never changed: changes to actions are stored beside them.

    \b
    Examples:
      dr report action
      dr report action 20261123T190211Z-failover-3f9a2c 1 --owner "Database team" --due 2026-12-15
      dr report action 20261123T190211Z-failover-3f9a2c --add "Shorten the time to live" --owner Kim
      dr report action 20261123T190211Z-failover-3f9a2c 1 --done 2026-12-10
    """
    from dr_assets.history.store import open_store
    from dr_assets.reports import evidence
    from dr_assets.stack import load_stack

    store, now = open_store(), utc.now()
    stack = name or load_stack().environment_suffix
    if text is not None:
        if record is None or number is not None or done or note or not text.strip():
            raise click.UsageError("Give RECORD and --add TEXT, and --owner and --due where they are known.")
        evidence.add_action(
            store, stack, record, text.strip(), now, by=by, owner=owner, due=due.date() if due else None
        )
        record = owner = due = None
    given = {"owner": owner, "due": due, "done": done, "note": note}
    if record is not None or any(given.values()):
        if record is None or number is None or not any(given.values()):
            raise click.UsageError("Give RECORD and NUMBER, and one of --owner, --due, --done and --note.")
        evidence.amend(
            store,
            stack,
            record,
            number,
            now,
            by=by,
            owner=owner,
            note=note,
            due=due.date() if due else None,
            done=done.date() if done else None,
        )
    found = evidence.actions(store, stack)
    if as_json:
        say_json([asdict(each) for each in found])
        return
    for each in found:
        state = f"done {each.done}" if each.done else "OVERDUE" if each.overdue(now.date()) else "open"
        say(f"{each.record} {each.number}  {state}  due {each.due or 'no date'}  {each.owner}: {each.text}")
    if not found:
        say("No corrective action is recorded.")
