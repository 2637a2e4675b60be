"""From the history to figures and the evidence pack, for the command line, Dagster and the demonstration alike.

May import `aws`, `world`, `drills`, `history`, `reports`, `stack`, `errors`. Reads the history and, when asked how things stand
now, AWS; writes only the pack's folder and, when asked, the sites' backup buckets.
"""

from __future__ import annotations

import datetime as dt
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dr_assets.aws import Aws, explain
from dr_assets.drills import engine, record, recording
from dr_assets.errors import AwsCallError, DrError
from dr_assets.history import pull, samples
from dr_assets.history.store import Store
from dr_assets.reports import pack, rpo
from dr_assets.stack import SITES, Stack
from dr_assets.world import World

UTC = dt.timezone.utc
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
    first = now.astimezone(UTC).replace(day=1)
    before = (first - dt.timedelta(days=1)).replace(day=1)
    return f"{before:%Y-%m-%d}", f"{first:%Y-%m-%d}"


def _time(name: str, text: str) -> dt.datetime:
    try:
        at = dt.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
    except ValueError:
        raise DrError(f"{text!r} is no time for --{name}: write 2026-11-01 or 2026-11-01T06:00 (UTC).") from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def pull_period(stack: Stack, store: Store, when: Period, now: dt.datetime) -> Iterator[pull.Pulled]:
    """Pull every day of the period from CloudWatch, one after the other. Raises what `pull_day` raises."""
    aws = Aws()
    for day in when.days:
        yield from pull.pull_day([stack], store, day, aws, now)


@dataclass(frozen=True)
class Evidence:
    """What the history holds for a period. `problems`: what was set aside or does not fit its chain, in words."""

    period: Period
    samples: Any
    records: Sequence[Mapping[str, Any]]
    problems: tuple[str, ...]


def gather(store: Store, stack: str, when: Period) -> Evidence:
    """Read it. Raises NewerSamplesError, and DrError where the store does not answer."""
    problems: list[str] = []
    # A reading just before the period still holds at its beginning.
    since = when.start - dt.timedelta(milliseconds=rpo.hold_ms())
    table = samples.read(store, stack, pull.FAMILY, since, when.end, problems=problems)
    problems += record.verify_chain(store, stack)
    return Evidence(when, table, record.load(store, stack), tuple(problems))


def figures(stack: Stack, found: Evidence, checks: Sequence[Mapping[str, Any]] = ()) -> pack.Figures:
    """All reports of the evidence."""
    when = found.period
    subject = pack.Subject.of(stack)
    return pack.figures(
        subject, when.start, when.end, found.samples, found.records, when.end, checks, problems=found.problems
    )


def write(
    stack: Stack, store: Store, when: Period, out: Path | str, checks: Sequence[Mapping[str, Any]] = ()
) -> pack.Pack:
    """The evidence pack of the period in folder `out`. Raises what `gather` and `pack.write_pack` raise."""
    found = gather(store, stack.environment_suffix, when)
    return pack.write_pack(
        out, stack, when.start, when.end, found.samples, found.records, now=dt.datetime.now(UTC), checks=checks,
        problems=found.problems, product_version=recording.product_version(),
    )  # fmt: skip


def present_checks(stack: Stack) -> list[dict[str, Any]]:
    """The preconditions of a failover at this moment, as checks for the readiness. Reads AWS and the target's database.

    Where nobody can say who the writer is, that is one unknown check, which blocks.
    """
    try:
        prepared = engine.prepare(stack, engine.Request("failover", "readiness", "readiness"))
    except DrError as error:
        return [{"name": "failover preconditions", "passed": None, "reason": str(error)}]
    return [
        {"name": f"precondition: {item.name}", "passed": item.passed, "reason": item.reason}
        for item in prepared.conditions
    ]


def to_buckets(stack: Stack, written: pack.Pack, when: Period, aws: Aws) -> list[str]:
    """Put the pack into both sites' backup buckets under `reports/{stack}/{period}/`; answers both URIs.

    The manifest goes last, so that a pack without one was not put whole. Both sites are tried, whatever one says. Raises
    AwsCallError that names each site which did not take it.
    """
    world = World(stack, aws)
    prefix = f"reports/{stack.environment_suffix}/{when.name}"
    files = sorted(path for path in written.directory.rglob("*") if path.is_file())
    files.sort(key=lambda path: path.name == pack.MANIFEST)

    def put(site: Any) -> str:
        region = stack.region(site)
        try:
            bucket = world.name(world.resources[f"{site}/backup/bucket"])
            client = aws.client("s3", region, writing=True)
            for path in files:
                kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
                key = f"{prefix}/{path.relative_to(written.directory).as_posix()}"
                client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), ContentType=kind)
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
