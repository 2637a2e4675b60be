"""Report service: load a period's history, compute its reports, write or upload the evidence pack.

Reads AWS only for current checks and to pull samples; writes only the pack's folder and, when asked, the sites' backup buckets.
"""

from __future__ import annotations

import datetime as dt
import mimetypes
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dr_assets import files, utc
from dr_assets.aws import Aws, explain
from dr_assets.drills import proposal, record, record_builder, runner, sealed_days, statements
from dr_assets.drills.parts import Reconciliation
from dr_assets.drills.request import Request
from dr_assets.errors import AwsCallError, CredentialsError, DrError
from dr_assets.history import cloudwatch_import, documents, samples
from dr_assets.history.store import Store, open_store
from dr_assets.reconcile.stack_state import StackState
from dr_assets.reports.analysis import corrective_actions, rpo
from dr_assets.reports.analysis.corrective_actions import Action
from dr_assets.reports.analysis.readiness import Check
from dr_assets.reports.analysis.report import StackReport, Subject, stack_report
from dr_assets.reports.analysis.timeseries import Signal
from dr_assets.reports.pack import build
from dr_assets.reports.pack.sections import Signature
from dr_assets.stack import SITES, Stack

DEFAULT_DAYS = 30


@dataclass(frozen=True)
class Period:
    """[start, end), in UTC; `end` never lies in the future."""

    start: dt.datetime
    end: dt.datetime

    @property
    def name(self) -> str:
        """For folders: `20261101T0000Z-20261201T0000Z`."""
        return f"{self.start:%Y%m%dT%H%MZ}-{self.end:%Y%m%dT%H%MZ}"

    @property
    def days(self) -> list[dt.date]:
        """The days (UTC) that the period touches."""
        last = (self.end - dt.timedelta(milliseconds=1)).date()
        return [self.start.date() + dt.timedelta(days=n) for n in range((last - self.start.date()).days + 1)]


def period(start: str | None, end: str | None, now: dt.datetime) -> Period:
    """The period from texts (`2026-11-01`, `2026-11-01T06:00`, with `Z` or an offset; without either it is UTC).

    The end is exclusive and cut to `now`, its default; by default the period begins 30 days before its end. Raises DrError.
    """
    until = min(_time("to", end) if end else now, now)
    since = _time("from", start) if start else until - dt.timedelta(days=DEFAULT_DAYS)
    if since >= until:
        raise DrError(
            f"The period begins {since:%Y-%m-%d %H:%M} UTC, which is not before its end {until:%Y-%m-%d %H:%M} UTC."
        )
    return Period(since, until)


def last_month(now: dt.datetime) -> tuple[str, str]:
    """The calendar month before `now`'s, as texts for `period`."""
    first = now.astimezone(utc.UTC).replace(day=1)
    before = (first - dt.timedelta(days=1)).replace(day=1)
    return f"{before:%Y-%m-%d}", f"{first:%Y-%m-%d}"


def _time(name: str, text: str) -> dt.datetime:
    try:
        return utc.parse(text, assume_utc=True)
    except ValueError:
        raise DrError(f"{text!r} is not a time for --{name}: write 2026-11-01 or 2026-11-01T06:00 (UTC).") from None


def pull_period(stack: Stack, store: Store, when: Period, now: dt.datetime) -> Iterator[cloudwatch_import.ImportedDay]:
    """Pull every day of the period from CloudWatch, one after the other; a day that fails says so, and the others are pulled.

    Raises CredentialsError at once, and the last error where every day failed.
    """
    aws, written, failed = Aws(), 0, None
    for day in when.days:
        try:
            (found,) = cloudwatch_import.import_day([stack], store, day, aws, now)
        except CredentialsError:
            raise
        except DrError as error:
            found = cloudwatch_import.ImportedDay.failed(stack.environment_suffix, day, 0, error)
        if found.error is None:
            sealed_days.seal_after_import(store, stack.environment_suffix, day)
        failed, written = found.error or failed, written + (found.error is None)
        yield found
    if failed is not None and not written:
        raise failed


@dataclass(frozen=True)
class PeriodData:
    """What the history holds of a stack for a period.

    samples    of the period, and the reading before it that still holds
    sources    key -> SHA-256 of each file of samples that was read
    records    all drills and incidents, as chained; incidents, restores, changes: see `history.documents`
    statements the signed statements over the chain of records: name and content of each file
    days       the newest manifest of each day with samples: file name and content
    proposals  drill -> the newest proposal for its lost writes
    problems   what was quarantined or breaks the chain of records, as text
    """

    period: Period
    samples: Any
    sources: Mapping[str, str]
    records: Sequence[Mapping[str, Any]]
    incidents: Sequence[documents.StoredIncident]
    restores: Sequence[dt.datetime]
    changes: Sequence[documents.ActionChange]
    statements: Sequence[tuple[str, bytes | None]]
    days: Sequence[tuple[str, bytes]]
    proposals: Mapping[str, Reconciliation]
    problems: tuple[str, ...]


def gather(store: Store, stack: str, when: Period) -> PeriodData:
    """Read the history of a stack for a period. Raises DrError where the store does not answer."""
    problems: list[str] = []
    sources: dict[str, str] = {}
    # A reading just before the period still holds at its beginning.
    since = when.start - dt.timedelta(milliseconds=rpo.hold_ms())
    table = samples.read(store, stack, cloudwatch_import.FAMILY, since, when.end, problems=problems, sources=sources)
    problems += record.verify_chain(store, stack)
    signed = statements.read(store, stack)  # before the records: one written meanwhile is new, none is missing
    records = record.load(store, stack)
    problems += statements.check(signed, records, stack, ()).problems
    return PeriodData(
        when,
        table,
        sources,
        [each.to_json() for each in records],
        documents.incidents(store, stack, problems),
        documents.restores(store, stack, problems),
        documents.actions(store, stack, problems),
        signed,
        sealed_days.read(store, stack, sources),
        proposal.all_proposed(store, stack, [each.id for each in records], problems),
        tuple(problems),
    )


def report(subject: Stack | Subject, found: PeriodData, checks: Sequence[Check] = ()) -> StackReport:
    """All reports of the period."""
    when = found.period
    return stack_report(
        subject if isinstance(subject, Subject) else Subject.of(subject),
        when.start,
        when.end,
        found.samples,
        found.records,
        when.end,
        checks,
        found.restores,
        found.problems,
        found.incidents,
        found.changes,
    )


def subject_of(stack: Stack, store: Store, name: str) -> Subject:
    """The stack called `name`: the one of the stack file, or one that is gone and left a history.

    The objectives of a stack that is gone are those of its newest record, or of the stack file where it left none; the scope names
    the source. Raises DrError where the history has nothing of it.
    """
    if name == stack.environment_suffix:
        return Subject.of(stack)
    known = samples.stacks(store)
    records = [each.to_json() for each in record.load(store, name)]
    if name not in known and not records:
        there = ", ".join(known) or "no stack"
        raise DrError(f"Nothing is known of a stack {name!r} in {store.uri}; it holds {there}. Correct --stack.")
    newest: Mapping[str, Any] = records[-1] if records else {}
    targets = [(newest.get(part) or {}).get("target_seconds") for part in ("rpo", "rto")]
    source = f"of its newest record, {newest['id']}" if records else f"of {stack.environment_suffix}: it left no record"
    scope = {"Stack": f"{name}, which is not the one of the stack file", "Objectives are those": source}
    return Subject(name, targets[0] or stack.rpo_seconds, targets[1] or stack.rto_seconds, scope)


def write(
    stack: Stack | Subject,
    store: Store,
    when: Period,
    out: Path | str,
    checks: Sequence[Check] = (),
    *,
    sign_off: Sequence[Signature] = (),
    next_due: dt.date | None = None,
) -> build.Pack:
    """The evidence pack of the period in folder `out`. Raises what `gather` and `write_pack` raise."""
    subject = stack if isinstance(stack, Subject) else Subject.of(stack)
    found = gather(store, subject.name, when)
    return build.write_pack(
        out,
        subject,
        when.start,
        when.end,
        found.samples,
        found.records,
        now=utc.now(),
        checks=checks,
        restores=found.restores,
        problems=found.problems,
        incidents=found.incidents,
        changes=found.changes,
        statements=found.statements,
        days=found.days,
        proposals=found.proposals,
        sources=found.sources,
        sign_off=sign_off,
        next_due=next_due,
        product_version=record_builder.product_version(),
    )


def actions(store: Store, stack: str, problems: list[str] | None = None) -> list[Action]:
    """The stack's corrective actions with all changes applied, in the order of their records."""
    changes = documents.actions(store, stack, [] if problems is None else problems)
    return corrective_actions.actions([each.to_json() for each in record.load(store, stack)], changes)


def amend(
    store: Store,
    stack: str,
    drill: str,
    number: int,
    now: dt.datetime,
    *,
    by: str | None = None,
    owner: str | None = None,
    due: dt.date | None = None,
    done: dt.date | None = None,
    note: str | None = None,
) -> None:
    """Store the owner, due date, completion or note of a corrective action; raises DrError where there is no such action."""
    known = actions(store, stack)
    if not any((each.record, each.number) == (drill, number) for each in known):
        there = ", ".join(f"{each.record} {each.number}" for each in known) or "none"
        raise DrError(f"There is no corrective action {drill} {number} of stack {stack}; there are: {there}.")
    change = {
        "record": drill,
        "number": number,
        "owner": owner,
        "due": due and due.isoformat(),
        "done": done and done.isoformat(),
        "note": note,
        "by": by or record_builder.operator(),
        "at": now.astimezone(utc.UTC).isoformat(),
    }
    documents.amend_action(store, stack, change)


def add_action(
    store: Store,
    stack: str,
    drill: str,
    text: str,
    now: dt.datetime,
    *,
    by: str | None = None,
    owner: str | None = None,
    due: dt.date | None = None,
) -> int:
    """Store another corrective action of a record; returns its number. Raises DrError where there is no such record."""
    records = [each.id for each in record.load(store, stack)]
    if drill not in records:
        raise DrError(f"There is no record {drill} of stack {stack}; there are: {', '.join(records) or 'none'}.")
    number = sum(each.record == drill for each in actions(store, stack)) + 1
    change = {
        "record": drill,
        "number": number,
        "text": text,
        "owner": owner,
        "due": due and due.isoformat(),
        "by": by or record_builder.operator(),
        "at": now.astimezone(utc.UTC).isoformat(),
    }
    documents.amend_action(store, stack, change)
    return number


class Overview(NamedTuple):
    """`figures`: a DataFrame with one row for each stack, site and source. `problems`: stacks and files that could not be used."""

    figures: Any
    problems: list[str]


def overview(stack: Stack, store: Store, when: Period) -> Overview:
    """The RPO of every stack that ever left a sample, side by side.

    The objective of each comes from `subject_of`. A stack whose history cannot be read is unknown for the whole period and named.
    Several stacks are computed side by side, one process for each core. Raises DrError where the store does not list.
    """
    from dr_assets.reports.analysis.rpo import combined

    problems: list[str] = []
    jobs = [_job(stack, store, name, when) for name in samples.stacks(store, problems)]
    if len(jobs) <= _FEW:
        found = [_rpo(job) for job in jobs]
    else:
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
            found = list(pool.map(_rpo, jobs))
    return Overview(
        combined(found), [*problems, *(f"{each.stack}: {text}" for each in found for text in each.problems)]
    )


_FEW = 4  # stacks, for which other processes are not worth their start


# Where the history is, the stack, what is wrong with it so far, the period.
_Job = tuple[str, Subject, list[str], Period]


def _job(stack: Stack, store: Store, name: str, when: Period) -> _Job:
    try:
        return store.uri, subject_of(stack, store, name), [], when
    except DrError as error:  # one stack's: the others are reported all the same
        return store.uri, Subject(name, stack.rpo_seconds, stack.rto_seconds, {}), [str(error)], when


def _rpo(job: _Job) -> rpo.RpoReport:
    uri, subject, problems, when = job
    table = samples.SCHEMA.empty_table()
    since = when.start - dt.timedelta(milliseconds=rpo.hold_ms())
    try:
        table = samples.read(
            open_store(uri), subject.name, cloudwatch_import.FAMILY, since, when.end, problems=problems
        )
    except DrError as error:
        problems.append(str(error))
    found = rpo.rpo_report(subject.name, table, when.start, when.end, subject.rpo_seconds, problems=problems)
    return replace(found, signal=_NONE, sites={})  # half of a year's report, of which the overview needs nothing


_NONE = Signal(*(np.empty(0, np.int64),) * 2, np.empty(0), np.empty(0, np.int64), np.empty(0))


def current_checks(stack: Stack) -> list[Check]:
    """The current preconditions of a failover, as checks for the readiness. Reads AWS and the target's database.

    If the writer cannot be determined, the result is one unknown check, which blocks.
    """
    try:
        prepared = runner.prepare(stack, Request("failover", "readiness", "readiness"))
    except DrError as error:
        return [Check("failover preconditions", None, str(error))]
    return [Check(f"precondition: {item.name}", item.passed, item.reason) for item in prepared.conditions]


def upload(stack: Stack, written: build.Pack, when: Period, aws: Aws) -> list[str]:
    """Upload the pack to both sites' backup buckets under `reports/{stack}/{period}/`; returns both URIs.

    The manifest goes last, so a pack without one is incomplete. If one site fails, the other is still tried. Raises AwsCallError
    that names each site that failed.
    """
    state = StackState(stack, aws)
    prefix = f"reports/{stack.environment_suffix}/{when.name}"

    def put(site: Any) -> str:
        region = stack.region(site)
        try:
            bucket = state.name(state.resources[f"{site}/backup/bucket"])
            client = aws.client("s3", region, writing=True)
            for name in written.files:
                kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
                body = files.read(written.directory / name, below=written.directory)
                client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=body, ContentType=kind)
            return f"s3://{bucket}/{prefix}/"
        except DrError:
            raise
        except Exception as error:
            raise explain(error, "s3", "put_object", region) from error

    with ThreadPoolExecutor(len(SITES)) as pool:
        asked = {site: pool.submit(put, site) for site in SITES}
    stored, failed = [], []
    for site, answer in asked.items():
        try:
            stored.append(answer.result())
        except DrError as error:
            failed.append(f"{site}: {error}")
    if failed:
        done = f"; it is in {', '.join(stored)}" if stored else ""
        raise AwsCallError(f"The report could not be stored at {'; '.join(failed)}{done}. Run the command again.")
    return stored
