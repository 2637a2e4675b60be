"""The notification channels, in one table: name, environment variables, factory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dr_assets.alerting.channels.channel import Channel
from dr_assets.alerting.channels.pagerduty import EVENTS_API, PagerDutyChannel
from dr_assets.alerting.channels.slack import SlackChannel
from dr_assets.alerting.channels.sns import SnsChannel
from dr_assets.aws import Aws
from dr_assets.stack import Stack


@dataclass(frozen=True)
class ChannelEntry:
    """`variable` switches the channel on (`""`: always on); `more` are its further environment variables."""

    name: str
    variable: str
    open: Callable[[Stack, Mapping[str, str], Aws | None], Channel]
    more: tuple[str, ...] = ()


CHANNELS: tuple[ChannelEntry, ...] = (
    ChannelEntry("sns", "", lambda stack, _, aws: SnsChannel(stack, aws)),
    ChannelEntry("slack", "DR_ALERT_SLACK_URL", lambda _, environ, __: SlackChannel(environ["DR_ALERT_SLACK_URL"])),
    ChannelEntry(
        "pagerduty",
        "DR_ALERT_PAGERDUTY_KEY",
        lambda _, environ, __: PagerDutyChannel(
            environ["DR_ALERT_PAGERDUTY_KEY"], environ.get("DR_ALERT_PAGERDUTY_URL") or EVENTS_API
        ),
        more=("DR_ALERT_PAGERDUTY_URL",),
    ),
)


def open_channels(stack: Stack, environ: Mapping[str, str], aws: Aws | None = None) -> list[Channel]:
    """The channels that `environ` switches on, in the order of the table."""
    return [entry.open(stack, environ, aws) for entry in CHANNELS if not entry.variable or environ.get(entry.variable)]
