"""`dr alert`: a test alert, and silence for a maintenance. Added to `dr` by `cli.py`.

May import `telemetry`, `history`, `stack`, `errors`. Knows no Dagster.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import click


@click.group()
def alert() -> None:
    """Try the way alerts take, or keep them quiet for a while.

    \b
    Examples:
      dr alert test
      dr alert silence --hours 2 --why "minor version upgrade"
    """


@alert.command()
@click.option("--by", help="Who asks; default: the user logged in.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def test(by: str | None, as_json: bool) -> None:
    """Send a test alert and its resolution through every transport. Fails when one does not take it."""
    from dr_assets.drills.recording import operator
    from dr_assets.stack import load_stack
    from dr_assets.telemetry.station import Station

    results = Station(load_stack()).test_alert(by or operator())
    if as_json:
        click.echo(json.dumps(results, indent=2))
    for name, result in {} if as_json else results.items():
        click.echo(f"{name}: {result}")


@alert.command()
@click.option("--hours", type=float, required=True, help="How long, at most 24.")
@click.option("--why", required=True, help="The reason; it stays on record.")
@click.option("--topic", default="*", show_default=True, help="One topic (writer, replication, capacity …), or all.")
@click.option("--by", help="Who says so; default: the user logged in.")
def silence(hours: float, why: str, topic: str, by: str | None) -> None:
    """Alert nobody for a while. What would have been told leaves a trace in the history."""
    from dr_assets.drills.recording import operator
    from dr_assets.history.store import open_store
    from dr_assets.stack import load_stack
    from dr_assets.telemetry.maintenance import open_window

    now = datetime.now(timezone.utc)
    window = open_window(
        open_store(), load_stack().environment_suffix, now, now + timedelta(hours=hours), by or operator(), why, topic
    )
    click.echo(f"silent until {window.until.isoformat(timespec='seconds')} ({window.id})")
