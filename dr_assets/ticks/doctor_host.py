"""Lines of `dr doctor` about this host and Dagster: packages, code location, instance, daemon, sensors, schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import distributions, requires

from dr_assets.errors import DrError
from dr_assets.preflight.survey import Finding, fails, not_yet, ok, unknown
from dr_assets.resources.alarms.rows import WATCHERS
from dr_assets.stack import Stack
from dr_assets.ticks.heartbeat import DAEMON, DAEMON_SECONDS, SKEW_SECONDS, all_fresh

# The slowest sensor ticks every 20 s; a tick may take a minute on a busy instance.
TICK_SECONDS = 120.0
# `verify_hourly`, and a run that took long.
VERIFIED_SECONDS = 2 * 3600.0
# Schedules that must run; others are a choice (docs/alerts.md).
SCHEDULES = ("verify_hourly", "history_daily")
_START = "dagster sensor start --start-all -w workspace.yaml"


@dataclass(frozen=True)
class Instigator:
    """A sensor or schedule. `ticked`: epoch seconds of its last tick, None: never; `status`: how that ended, in Dagster's words."""

    running: bool
    ticked: float | None = None
    status: str = ""


@dataclass(frozen=True)
class Installation:
    """What a Dagster instance knows.

    threads     the daemon's threads that this instance requires -> time of the last heartbeat (epoch seconds), id of the daemon
    required    names of those threads
    verified    when the last run of the verification ended (epoch seconds); None: never
    """

    home: str
    run_monitoring: bool
    use_threads: bool
    required: tuple[str, ...]
    threads: Mapping[str, tuple[float, str | None]]
    sensors: Mapping[str, Instigator]
    schedules: Mapping[str, Instigator]
    verified: float | None


def packages() -> Finding:
    """Whether what is installed fits what we and every part of Dagster require (`Requires-Dist`, core metadata specifications)."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found = {str(canonicalize_name(each.metadata["Name"])): each for each in distributions()}
    if "dr-assets" not in found:
        return unknown("dr-assets is not installed as a package", "`pip install .` with constraints.txt.")
    wrong = []
    for owner in sorted(name for name in found if name == "dr-assets" or name.startswith("dagster")):
        for text in requires(owner) or ():
            need = Requirement(text)
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            name = canonicalize_name(need.name)
            have = found[name].version if name in found else None
            if have is None or not need.specifier.contains(have, prereleases=True):
                wrong.append(f"{owner} needs {need.name} {need.specifier}, installed: {have or 'none'}")
    if wrong:
        return fails("; ".join(wrong), "Install with constraints.txt.")
    return ok(", ".join(f"{name} {found[name].version}" for name in ("dr-assets", "dagster")))


def definitions(stack: Stack, build: Callable[[Stack], object]) -> Finding:
    try:
        build(stack)
    except Exception as error:  # whatever keeps Dagster from loading the code location is this line's subject
        text = str(error) if isinstance(error, (DrError, ImportError)) else type(error).__name__
        return fails(
            f"the code location does not load: {text}".rstrip("."), "`dagster definitions validate` says where."
        )
    return ok("they load")


def dagster(found: Installation) -> Finding:
    missing = [
        text
        for text, there in (
            ("run_monitoring is off: a run whose worker died is not noticed", found.run_monitoring),
            ("sensors.use_threads is off: a slow sensor delays the others", found.use_threads),
        )
        if not there
    ]
    if missing:
        return fails("; ".join(missing), f"Set it in {found.home}/dagster.yaml (docs/alerts.md, Sensors).")
    return ok(found.home)


def daemon(found: Installation, now: datetime) -> Finding:
    at = now.timestamp()
    times = {name: beat for name, (beat, _) in found.threads.items()}
    dead = [name for name in found.required if not all_fresh(times, [name], at)]
    if dead or not found.required:
        ages = "; ".join(f"{name}: {_age(times.get(name), at)}" for name in dead) or "the instance requires none"
        return fails(f"no heartbeat within {DAEMON_SECONDS:.0f} s ({ages})", "Start `dagster-daemon run`.")
    return ok(f"{len(found.required)} threads, the oldest heartbeat {_age(min(times[n] for n in found.required), at)}")


def one_daemon(found: Installation, now: datetime) -> Finding:
    """Each daemon writes its own id with the heartbeats of its threads; two write over each other's."""
    fresh = {
        name: who
        for name, (beat, who) in found.threads.items()
        if name in found.required and all_fresh({name: beat}, [name], now.timestamp())
    }
    if not fresh:
        return not_yet("no daemon runs")
    if len(set(fresh.values())) > 1:
        return fails(
            f"the threads' heartbeats are of {len(set(fresh.values()))} daemons",
            "Stop all but one; after a restart, ask again in 90 s.",
        )
    return ok("all heartbeats are of one daemon")


def sensors(found: Installation, now: datetime) -> Finding:
    at = now.timestamp()
    known = {name: found.sensors.get(name, Instigator(False)) for name in WATCHERS if name != DAEMON}
    stopped = [name for name, each in known.items() if not each.running]
    late = [
        f"{name} ({_age(each.ticked, at)})"
        for name, each in known.items()
        if each.running and (each.ticked is None or not -SKEW_SECONDS <= at - each.ticked <= TICK_SECONDS)
    ]
    failed = [name for name, each in known.items() if each.running and each.status == "FAILURE"]
    wrong = [
        f"{what}: {', '.join(which)}"
        for what, which in (("stopped", stopped), ("no tick", late), ("last tick failed", failed))
        if which
    ]
    if wrong:
        return fails("; ".join(wrong), f"`{_START}`; a tick's error is on the sensor's page.")
    return ok(f"{len(known)} run, no last tick failed")


def schedules(found: Installation) -> Finding:
    stopped = [name for name in SCHEDULES if not found.schedules.get(name, Instigator(False)).running]
    if stopped:
        return fails(f"stopped: {', '.join(stopped)}", "`dagster schedule start NAME -w workspace.yaml`.")
    return ok(", ".join(SCHEDULES))


def verification(found: Installation, now: datetime) -> Finding:
    age = None if found.verified is None else now.timestamp() - found.verified
    if age is None or not -SKEW_SECONDS <= age <= VERIFIED_SECONDS:
        return fails(
            f"last one: {_age(found.verified, now.timestamp())}; drift since then is unknown",
            "Run `verify_stack`; see the lines daemon and schedules.",
        )
    return ok(f"ended {_age(found.verified, now.timestamp())}")


def _age(at: float | None, now: float) -> str:
    """`42 s ago`, in the largest fitting unit; `never`; `in the future`."""
    if at is None:
        return "never"
    seconds = now - at
    if seconds < -SKEW_SECONDS:
        return "in the future"
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"
