"""`dr alert`: test alerts, maintenance windows, arming of automatic failover, and alert status."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from dr_assets import utc
from dr_assets.cli.bounded import Bounded
from dr_assets.cli.output import say, say_json

if TYPE_CHECKING:
    from dr_assets.caller import CallerIdentity
    from dr_assets.history.store import Store
    from dr_assets.ticks.status import AlertStatus


def _person(_: object, __: object, value: str | None) -> str:
    from dr_assets.drills.record_builder import operator

    return value or operator()


by_option = click.option("--by", callback=_person, help="The person who does it; default: the user logged in.")


def _context() -> tuple[Store, str, datetime]:
    """The history, the stack's name and the time: what every command works on."""
    from dr_assets.history.store import open_store
    from dr_assets.stack import load_stack

    return open_store(), load_stack().environment_suffix, utc.now()


def _identity(by: str) -> CallerIdentity:
    """The AWS identity of whoever acts, from the site whose STS answers first; unknown, with the reason, costs seconds and refuses nothing."""
    from dr_assets.caller import identify
    from dr_assets.stack import load_stack

    stack = load_stack()
    return identify(by, (stack.secondary_region, stack.primary_region))


@click.group()
def alert() -> None:
    """Test the notification channels, suppress alerts for a while, arm automatic failover for a while.

    \b
    Examples:
      dr alert status
      dr alert test
      dr alert silence --hours 2 --why "minor version upgrade"
      dr alert arm --hours 12 --why "no one is on call tonight"
    """


@alert.command()
@by_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def test(by: str, as_json: bool) -> None:
    """Send a test alert and its resolution through every channel. Fails when a channel refuses it."""
    from dr_assets.stack import load_stack
    from dr_assets.ticks.monitor import Monitor

    results = Monitor(load_stack()).test_alert(by)
    if as_json:
        say_json(results)
    for name, result in {} if as_json else results.items():
        say(f"{name}: {result}")


@alert.command()
@click.option("--hours", type=Bounded(0, 24, min_open=True), required=True, help="How long, at most 24.")
@click.option("--why", required=True, help="The reason; it stays on record.")
@click.option("--topic", default="*", show_default=True, help="One topic (writer, replication, capacity …), or all.")
@by_option
def silence(hours: float, why: str, topic: str, by: str) -> None:
    """Open a maintenance window: suppress alerts for a while. Suppressed incidents leave a trace in the history."""
    from dr_assets.alerting.maintenance_windows import open_window

    store, stack, now = _context()
    window = open_window(store, stack, now, now + timedelta(hours=hours), by, why, topic, _identity(by))
    say(f"silent until {window.until.isoformat(timespec='seconds')} ({window.id})")


@alert.command()
@click.argument("window")
@by_option
def unsilence(window: str, by: str) -> None:
    """Close the maintenance WINDOW early (its id, as `dr alert status` shows it)."""
    from dr_assets.alerting.maintenance_windows import close_window, windows
    from dr_assets.errors import DrError

    store, stack, now = _context()
    found = next(
        (each for each in windows(store, stack, now).items.values() if each.id == window and each.is_open(now)), None
    )
    if found is None:
        raise DrError(f"No maintenance window {window} is open. See `dr alert status`.")
    close_window(store, found, now, _identity(by))
    say(f"{window} has ended")


@alert.command()
@click.option("--hours", type=Bounded(0, 168, min_open=True), required=True, help="How long, at most 168 (seven days).")
@click.option("--why", required=True, help="The reason; it stays on record.")
@by_option
def arm(hours: float, why: str, by: str) -> None:
    """Let the sensor launch the failover drill job as an incident automatically, for a while. Off by default.

    It acts only on the recommendation "failover", on evidence younger than a minute, while every precondition holds, and once
    for each incident. DR_HISTORY_URI must name the history that the sensors use.
    """
    from dr_assets.failover.arming import arm as arm_failover

    store, stack, now = _context()
    arming = arm_failover(store, stack, now, now + timedelta(hours=hours), by, why, _identity(by))
    say(f"automatic failover of {stack} is armed until {arming.until.isoformat(timespec='seconds')}")


@alert.command()
@by_option
def disarm(by: str) -> None:
    """End the arming early. A failover that was launched already continues."""
    from dr_assets.failover.arming import disarm as disarm_failover

    store, stack, now = _context()
    was = disarm_failover(store, stack, now, by, _identity(by))
    say(f"automatic failover of {stack} is off" + ("" if was else " (it was not armed)"))


@alert.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show what is armed, suppressed, open and undelivered, as the sensors recorded it in the history."""
    from dr_assets.ticks.status import alert_status

    found = alert_status(*_context())
    if as_json:
        say_json(found.as_json())
    else:
        _show(found)


def _show(found: AlertStatus) -> None:
    def until(at: datetime) -> str:
        return f"{at:%Y-%m-%d %H:%M} UTC"

    arming = found.arming
    armed = f"armed until {until(arming.until)} by {arming.by}: {arming.why}" if arming else f"off: {found.unarmed}"
    say(f"automatic failover of {found.stack}: {armed}")
    for window in found.windows:
        what = "everything" if window.topic == "*" else window.topic
        say(f"silent until {until(window.until)}: {what}, by {window.by}: {window.why} ({window.id})")
    for incident, note in [
        *((each, "") for each in found.open),
        *((each, ", suppressed") for each in found.suppressed),
    ]:
        since = utc.from_epoch(incident.since)
        say(f"open since {until(since)}: {incident.id} {incident.severity}: {incident.text}{note}")
        say(f"  {incident.runbook}")
    for name in found.undelivered:
        say(f"not delivered yet: {name}")
    for text in found.set_aside:
        say(f"not used: {text}")
    if not (found.windows or found.open or found.suppressed or found.undelivered):
        say("nothing is silenced, nothing is open")
