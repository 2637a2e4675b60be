"""What is wrong with an installation, one line for each thing: host, Dagster, AWS, notifications, history. Changes nothing.

A line is examined alone: one that raises or does not return in time is unknown, and the others are printed all the same. What Dagster
knows comes as an `Installation` (`defs.installation`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from dr_assets.alerting.channels import CHANNELS, open_channels
from dr_assets.aws import Aws
from dr_assets.documents import Document, Part, UtcTime
from dr_assets.drills.journal import unfinished
from dr_assets.drills.lock import DrillLock
from dr_assets.drills.record_builder import product_version
from dr_assets.errors import DrError
from dr_assets.history.store import Store
from dr_assets.preflight.survey import Finding, Status, fails, joined, not_yet, ok, unknown
from dr_assets.stack import SITES, Site, Stack
from dr_assets.ticks import doctor_host, doctor_region
from dr_assets.ticks.doctor_host import Installation
from dr_assets.ticks.status import alert_status

# The whole command ends within two of these: first the stack file and Dagster, then all the rest, at the same time.
DEADLINE_SECONDS = 15.0
_FIRST = "it needs the stack file"


class DoctorLine(Part):
    name: str
    status: Status
    detail: str
    remedy: str = ""


class DoctorReport(Document):
    """Result of `dr doctor`. `healthy`: every line is ok. `seconds` is wall time, `api_calls` counts AWS calls."""

    SCHEMA: ClassVar[str] = "dr-assets/doctor/1"

    at: UtcTime
    product_version: str
    stack: str | None
    healthy: bool
    lines: tuple[DoctorLine, ...]
    api_calls: int
    seconds: float


@dataclass(frozen=True)
class Sources:
    """Where the lines read; replaceable in tests. All may raise."""

    stack: Callable[[], Stack]
    definitions: Callable[[Stack], object]
    installation: Callable[[], Installation]
    store: Callable[[], Store]
    aws: Callable[[], Aws]
    environ: Mapping[str, str]
    clock: Callable[[], datetime]


def examine(sources: Sources, deadline: float = DEADLINE_SECONDS) -> DoctorReport:
    """Examine every line. Raises nothing: what cannot be read is unknown."""
    begun = time.monotonic()
    first = within(deadline, {"stack": sources.stack, "installation": sources.installation, "aws": sources.aws})
    stack, installation, aws = (first[name] for name in ("stack", "installation", "aws"))
    now = sources.clock()
    checks: dict[str, Callable[[], Finding]] = {
        "stack-file": lambda: _stack_file(stack),
        "packages": doctor_host.packages,
        "definitions": _needing(stack, lambda s: doctor_host.definitions(s, sources.definitions)),
    }
    on_instance: dict[str, Callable[[Installation], Finding]] = {
        "dagster": doctor_host.dagster,
        "daemon": lambda i: doctor_host.daemon(i, now),
        "one-daemon": lambda i: doctor_host.one_daemon(i, now),
        "sensors": lambda i: doctor_host.sensors(i, now),
        "schedules": doctor_host.schedules,
        "verification": lambda i: doctor_host.verification(i, now),
    }
    for name, check in on_instance.items():
        checks[name] = _on_instance(installation, check, first=name == "dagster")
    in_aws: dict[str, Callable[[Stack, Aws, Site], Finding]] = {
        "credentials": doctor_region.credentials,
        "clock": lambda s, a, site: doctor_region.clock(s, a, site, sources.clock),
        "heartbeats": doctor_region.heartbeats,
        "alarm-actions": lambda s, a, site: doctor_region.alarm_actions(s, a, site, now),
        "recipients": doctor_region.topic_recipients,
        "queues": doctor_region.queues,
    }
    for name, in_region in in_aws.items():
        checks[name] = _in_both(stack, aws, in_region)
    checks |= {
        "channels": _needing(stack, lambda s: channels(s, sources.environ)),
        "history": lambda: history(sources.store()),
        "alerts": _needing(stack, lambda s: alerts(sources.store(), s, now)),
        "drills": _needing(stack, lambda s: drills(sources.store(), s)),
    }
    found = within(deadline, checks)
    lines = []
    for name in checks:
        line = found[name] if isinstance(found[name], Finding) else _failed(found[name])
        lines.append(DoctorLine(name=name, status=line.status, detail=line.detail, remedy=line.remedy))
    return DoctorReport(
        at=now,
        product_version=product_version(),
        stack=stack.environment_suffix if isinstance(stack, Stack) else None,
        healthy=all(line.status == "ok" for line in lines),
        lines=tuple(lines),
        api_calls=len(aws.log) if isinstance(aws, Aws) else 0,
        seconds=time.monotonic() - begun,
    )


def within(seconds: float, actions: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Run the actions at the same time: the result of each, the exception it raised, or TimeoutError after `seconds`."""
    results: dict[str, Any] = {}

    def run(name: str, action: Callable[[], Any]) -> None:
        try:
            results[name] = action()
        except Exception as error:  # a line's failure is that line's result
            results[name] = error

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in actions.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return {name: results.get(name, TimeoutError(f"no answer within {seconds:.0f} s")) for name in actions}


def _failed(error: object) -> Finding:
    """Unknown, with our own errors' texts and of others the type alone: a library's text may hold a password."""
    if isinstance(error, (DrError, TimeoutError)) and str(error):
        return unknown(str(error).rstrip("."))
    if isinstance(error, OSError) and error.strerror:
        return unknown(error.strerror)
    return unknown(f"it cannot be examined ({type(error).__name__})")


def _needing(stack: object, check: Callable[[Stack], Finding]) -> Callable[[], Finding]:
    return lambda: check(stack) if isinstance(stack, Stack) else not_yet(_FIRST)


def _on_instance(found: object, check: Callable[[Installation], Finding], first: bool = False) -> Callable[[], Finding]:
    def run() -> Finding:
        if isinstance(found, Installation):
            return check(found)
        if not first:
            return not_yet("it needs the Dagster instance")
        if isinstance(found, TimeoutError):
            return unknown(str(found), "See whether the instance's storage answers.")
        if isinstance(found, DrError):
            return fails(str(found).rstrip("."), "")
        return fails(
            f"the instance cannot be read ({type(found).__name__})", "`dagster instance info` names the error."
        )

    return run


def _in_both(stack: object, aws: object, check: Callable[[Stack, Aws, Site], Finding]) -> Callable[[], Finding]:
    """The check in both regions as one line; where one region does not answer, the other's result still counts."""

    def run() -> Finding:
        if not isinstance(stack, Stack):
            return not_yet(_FIRST)
        if not isinstance(aws, Aws):
            return _failed(aws)
        results = within(DEADLINE_SECONDS - 1, {site: partial(check, stack, aws, site) for site in SITES})
        return joined([each if isinstance(each, Finding) else _failed(each) for each in results.values()])

    return run


def _stack_file(stack: object) -> Finding:
    if isinstance(stack, Stack):
        return ok(f"{stack.environment_suffix}: {stack.primary_region}, {stack.secondary_region}")
    if isinstance(stack, DrError):
        return fails(str(stack).rstrip("."), "")
    return _failed(stack)


# --- notifications and the history -----------------------------------------------------------------------------------------


def channels(stack: Stack, environ: Mapping[str, str]) -> Finding:
    try:
        found = [channel.name for channel in open_channels(stack, environ)]
    except DrError as error:
        return fails(str(error).rstrip("."), "")
    off = [entry.variable for entry in CHANNELS if entry.variable and entry.name not in found]
    return ok(", ".join(found) + (f" (off: {', '.join(off)})" if off else ""))


def history(store: Store) -> Finding:
    count = len(store.list("quarantine/"))
    return ok(f"{store.uri} answers" + (f"; {count} damaged objects in quarantine/" if count else ""))


def alerts(store: Store, stack: Stack, now: datetime) -> Finding:
    status = alert_status(store, stack.environment_suffix, now)
    open_ = [each.id for each in (*status.open, *status.suppressed)]
    wrong = [
        f"{len(found)} {word}: {', '.join(found[:3])}{' …' if len(found) > 3 else ''}"
        for word, found in (("undelivered", list(status.undelivered)), ("open", open_))
        if found
    ]
    notes = [
        f"{each.topic if each.topic != '*' else 'all'} silent until {each.until:%H:%M} UTC" for each in status.windows
    ]
    notes += [f"automatic failover armed until {status.arming.until:%Y-%m-%d %H:%M} UTC"] if status.arming else []
    if wrong:
        return fails("; ".join([*wrong, *notes]), "`dr alert status`.")
    return ok("; ".join(["nothing open, nothing undelivered", *notes]))


def drills(store: Store, stack: Stack) -> Finding:
    problems: list[str] = []
    running = DrillLock(store, stack.environment_suffix, "").holder()
    left = [drill for drill in unfinished(store, stack.environment_suffix, problems) if drill != running]
    if left:
        return fails(f"not finished: {', '.join(left)}", "`dr drill resume` or `dr drill abort`.")
    if problems:
        return unknown("; ".join(problems))
    return ok(f"{running} is running" if running else "none waits to be resumed")
