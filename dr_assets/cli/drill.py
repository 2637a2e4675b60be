"""`dr drill`: rehearse a switchover, a failover or a failback from a shell, or carry out a real one.

Results go to stdout, progress to stderr. Exit 0 when the drill succeeded within its objectives, 2 when it did not, 1 on an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dr_assets import utc
from dr_assets.cli.bounded import Bounded
from dr_assets.cli.output import confirm, say, say_json
from dr_assets.errors import DrError

if TYPE_CHECKING:
    from dr_assets.drills.plan import Scenario
    from dr_assets.drills.record_document import Record

_SCENARIOS: dict[Scenario, str] = {
    "switchover": "Move the writer to the other site, losing nothing. Called in the writer's region.",
    "failover": "Move the writer to the other site although the writer's region may be gone. May lose data.",
    "failback": "Bring the writer home, losing nothing.",
}


PUBLIC_KEY = "A public key (PEM) that is trusted; can be given several times."

# The drill counts its own rows, and heartbeats differ at every moment.
LEFT_OUT = ("dr_drill", "dr_heartbeat")


@click.group()
def drill() -> None:
    """Rehearse a change of the writer and measure it: commits lost, and the gap for a client.

    \b
    Examples:
      dr drill switchover --dry-run        the plan and every precondition; nothing is done
      dr drill switchover --yes
      dr drill failover --yes --why "region is down" --incident
      dr drill failback
      dr drill resume 20261123T190211Z-failover-3f9a2c
    """


def _command(scenario: Scenario, text: str) -> click.Command:
    @click.command(scenario, help=text)
    @click.option("--yes", is_flag=True, help="Approve the plan without a prompt. It is printed first.")
    @click.option(
        "--plan",
        "token",
        metavar="TOKEN",
        help="Approve the plan that --dry-run showed, by its token; refuse any other.",
    )
    @click.option(
        "--dry-run", is_flag=True, help="Show the plan and every precondition; do nothing. Exit 2 where one blocks."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print the record (with --dry-run: the plan) as JSON.")
    @click.option("--why", default="rehearsal", show_default=True, help="The reason, for the record.")
    @click.option("--operator", help="Who carries it out, for the record; default: the user logged in.")
    @click.option("--incident", is_flag=True, help="A real event, not a rehearsal.")
    @click.option(
        "--override", "overrides", multiple=True, metavar="NAME=REASON", help="Act although precondition NAME blocks."
    )
    @click.option("--rate", type=Bounded(1, 1000), help="Rows per second that the ledger writes.")
    @click.option(
        "--lag-gate",
        "lag_gate_ms",
        type=Bounded(1, 300_000),
        help="Highest replication lag at which to act, in milliseconds.",
    )
    def run(
        yes: bool,
        token: str | None,
        dry_run: bool,
        as_json: bool,
        why: str,
        operator: str | None,
        incident: bool,
        overrides: tuple[str, ...],
        rate: float | None,
        lag_gate_ms: float | None,
    ) -> None:
        from dr_assets.cli import render
        from dr_assets.drills import record_builder, runner
        from dr_assets.drills.approval import Approval
        from dr_assets.drills.parts import Override, current_name
        from dr_assets.drills.request import Prepared, Request
        from dr_assets.history.store import open_store
        from dr_assets.stack import load_stack

        stack = load_stack()
        person = operator or record_builder.operator()
        settings = {"rate": rate, "lag_gate_ms": lag_gate_ms}
        overridden = []
        for override in overrides:
            name, _, reason = override.partition("=")
            if not reason.strip():
                raise DrError(f"--override {override!r} is not NAME=REASON.")
            overridden.append(Override(precondition=current_name(name), reason=reason.strip(), by=person))
        request = Request(
            scenario=scenario,
            operator=person,
            why=why,
            overrides=tuple(overridden),
            settings={name: value for name, value in settings.items() if value is not None},
            kind="incident" if incident else "drill",
        )
        shown: Prepared | None = None
        if dry_run:
            prepared = runner.prepare(stack, request)
            if as_json:
                say_json(render.plan_json(prepared, request.overrides))
            else:
                render.plan(prepared.plan, request.overrides)
                render.preconditions(prepared)
            sys.exit(2 if prepared.blocking else 0)
        if token:
            approval = Approval.from_token(token, person)
        elif yes:
            plan = runner.propose(stack, request)
            render.plan(plan, request.overrides, err=True)
            approval = Approval.given(plan, request.overrides, person)
        else:
            shown = runner.prepare(stack, request)
            render.plan(shown.plan, request.overrides, err=as_json)
            render.preconditions(shown, err=as_json)
            if not shown.blocking and not confirm(f"Carry this {scenario} out on {stack.environment_suffix}?"):
                raise DrError("Nothing was done.")
            approval = Approval.given(shown.plan, request.overrides, person)
        # The plan is made again, and runs only where it is the same: the writer may have moved meanwhile.
        request = replace(request, approval=approval)
        finish(runner.start(stack, open_store(), request, render.step, shown), as_json)

    return run


for _name, _text in _SCENARIOS.items():
    drill.add_command(_command(_name, _text))


@drill.command()
@click.argument("drill_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Approve the plan again without a prompt, where its approval has expired.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def resume(drill_id: str, yes: bool, as_json: bool) -> None:
    """Resume a drill whose process ended. No step that is done is repeated.

    While it has called nothing, its preconditions are evaluated again. Where its approval has expired it asks for another one.
    """
    from dr_assets.cli import render
    from dr_assets.drills import record_builder, runner
    from dr_assets.drills.approval import ApprovalExpiredError

    def do(stack: Any, store: Any) -> None:
        with runner.reopen(stack, store, drill_id, render.step) as again:
            try:
                written = again.run()
            except ApprovalExpiredError as expired:
                render.plan(again.plan, again.journal.document.request.overrides, err=as_json or yes)
                say(str(expired), err=True)
                if not yes and not confirm(f"Approve this {again.plan.scenario} on {stack.environment_suffix} again?"):
                    raise DrError("Nothing was done.") from None
                again.approve(record_builder.operator())
                written = again.run()
        finish(written, as_json)

    _with_store(do)


@drill.command()
@click.argument("drill_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def abort(drill_id: str, as_json: bool) -> None:
    """End a drill that has not begun to move the writer. It leaves a record."""
    from dr_assets.cli import render
    from dr_assets.drills import record_builder, runner

    def do(stack: Any, store: Any) -> None:
        written = runner.abort(stack, store, drill_id, record_builder.operator())
        say_json(written.to_json()) if as_json else render.record(written)

    _with_store(do)


@drill.command("list")
@click.option("--verify", "verified", is_flag=True, help="Verify the signed statements over the chain, too.")
@click.option("--public-key", "pems", multiple=True, type=click.Path(path_type=Path), help=PUBLIC_KEY)
@click.option(
    "--at-least", metavar="NUMBER:SHA256", help="A statement that must be there, as `dr drill sign` printed it."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(verified: bool, pems: tuple[Path, ...], at_least: str | None, as_json: bool) -> None:
    """List the records of this stack, verify their chain, and list drills that can be resumed.

    With --verify, exit 2 unless every record, and the samples and incidents of every day that is over, are covered by a signature of a
    trusted key: one of --public-key, or by default the one that this installation signs with.
    """
    from dr_assets.cli import render
    from dr_assets.drills import record, sealed_days, signing, statements
    from dr_assets.drills.journal import unfinished

    if (pems or at_least) and not verified:
        raise click.UsageError("--public-key and --at-least need --verify.")
    known = _statement(at_least) if at_least else None

    def do(stack: Any, store: Any) -> None:
        found = None
        if verified:
            found = statements.verify(store, stack.environment_suffix, signing.trusted(pems), known)
            days = sealed_days.verify(store, stack.environment_suffix, found.days, utc.now())
            found = replace(found, problems=(*found.problems, *days.problems), unknown=(*found.unknown, *days.unknown))
            for text in days.notes:
                say(text, err=True)
        records = record.load(store, stack.environment_suffix)
        problems = record.verify_chain(store, stack.environment_suffix)
        problems += found.problems if found else ()
        unreadable: list[str] = []
        waiting = unfinished(store, stack.environment_suffix, unreadable)
        if as_json:
            documents = [each.to_json() for each in records]
            content = {"records": documents, "problems": problems, "unfinished": waiting, "unreadable": unreadable}
            say_json(content | ({"signed": found.signed, "unknown": found.unknown} if found else {}))
        else:
            render.records(records, [*problems, *unreadable], waiting)
            for text in found.unknown if found else ():
                say(f"unknown: {text}", err=True, style="magenta")
            if found and found.verified and not problems:
                say(f"verified: all {len(records)} records and all days that are over are signed")
        sys.exit(2 if problems or (found and not found.verified) else 0)

    _with_store(do)


def _statement(text: str) -> tuple[int, str]:
    number, _, sha256 = text.partition(":")
    if not re.fullmatch(r"[0-9]{1,18}", number) or not re.fullmatch("[0-9a-f]{64}", sha256.strip().lower()):
        raise click.UsageError(f"--at-least {text!r} is not NUMBER:SHA256.")
    return int(number), sha256.strip().lower()


@drill.command()
@click.option(
    "--new-key", type=click.Path(path_type=Path), help="Make a key in this new file instead, for DR_SIGNING_KEY."
)
def sign(new_key: Path | None) -> None:
    """Sign the head of the chain of records now, and the samples and incidents of every day that is over and was not sealed yet.

    Each drill signs after its record, and each import seals its day.

    \b
    Example:
      dr drill sign --new-key ~/.dr/signing.pem
      export DR_SIGNING_KEY=~/.dr/signing.pem
      dr drill sign
    """
    from dr_assets.drills import sealed_days, signing, statements

    if new_key:
        made = signing.new_key(new_key)
        say(f"{new_key}: a new private key; set {signing.KEY_VARIABLE} to this path, and keep it out of the history")
        say(f"SHA-256 of its public key (keep it elsewhere)  {made.fingerprint}")
        return

    def do(stack: Any, store: Any) -> None:
        signer = signing.configured()
        if signer is None:
            raise DrError(
                f"No key signs here. Make one with `dr drill sign --new-key PATH` and set {signing.KEY_VARIABLE}."
            )
        if sealed := sealed_days.seal(store, stack.environment_suffix, signer, utc.now()):
            say(f"{len(sealed)} days sealed, {sealed[0]} to {sealed[-1]}")
        number, sha256 = statements.sign(store, stack.environment_suffix, signer)
        say(f"statement {number}; keep elsewhere, for --at-least:  {number}:{sha256}")

    _with_store(do)


@drill.command("public-key")
def public_key() -> None:
    """Print the public key of this installation's signatures in PEM, for whoever verifies them. Keep it apart from the history."""
    from dr_assets.drills import signing

    keys = signing.trusted()
    if not keys:
        raise DrError(
            f"No key signs here. Make one with `dr drill sign --new-key PATH` and set {signing.KEY_VARIABLE}."
        )
    for key in keys:
        say(*key.pem.splitlines())
        say(f"SHA-256 {key.fingerprint}", err=True)


@drill.command("reconcile")
@click.argument("old", metavar="OLD_HOST[:PORT]")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Where to write the proposal (JSON lines).")
@click.option(
    "--drill",
    "drill_id",
    metavar="ID",
    help="Enter the counts in the record of this drill, or beside it in the report where it has ended.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def reconcile_(old: str, out: Path, drill_id: str | None, as_json: bool) -> None:
    """Compare the old writer's preserved data with the new writer's, row by row; propose, never apply.

    \b
    Example:
      dr drill reconcile old-writer.cluster-abc.us-east-1.rds.amazonaws.com --out lost.jsonl
    """
    from dr_assets.drills import proposal
    from dr_assets.drills.journal import Journal
    from dr_assets.drills.runner import clients, view_of_writer
    from dr_assets.history.store import open_store
    from dr_assets.lost_writes.compare import propose
    from dr_assets.postgres.connection import connect
    from dr_assets.postgres.endpoints import Resolver
    from dr_assets.stack import load_stack

    host, _, port = old.partition(":")
    if not host or (port and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) <= 65535)):
        raise DrError(f"{old!r} is not HOST or HOST:PORT.")
    stack = load_stack()
    if drill_id:
        Journal.load(open_store(), stack.environment_suffix, drill_id)  # is there such a drill? before the comparison
    view = view_of_writer(stack, clients())
    address = Resolver().resolve(host, int(port or view.credentials.port))
    with (
        connect(address, view.credentials, read_only=True, seconds=None) as before,
        connect(view.writer_address(), view.credentials, seconds=None) as after,
    ):
        found = propose(before, after, out, exclude_schemas=LEFT_OUT)
    if drill_id:
        proposal.attach(open_store(), stack.environment_suffix, drill_id, found)
    if as_json:
        say_json(found.as_json() | {"not_compared": dict(found.not_compared)})
    else:
        say(f"{out}: {found.insert} to insert, {found.update} to update, {found.delete} to delete; nothing was applied")
        for table, reason in found.not_compared:
            say(f"not compared: {table}: {reason}", err=True)


def _with_store(do: Callable[[Any, Any], None]) -> None:
    from dr_assets.history.store import open_store
    from dr_assets.stack import load_stack

    do(load_stack(), open_store())


def finish(written: Record, as_json: bool) -> None:
    """Print the record and exit: 0 within the objectives, else 2."""
    from dr_assets.cli import render

    say_json(written.to_json()) if as_json else render.record(written)
    sys.exit(0 if written.good else 2)
