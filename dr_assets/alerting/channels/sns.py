"""SNS channel: publish to the event topic of a site whose region answers, and to the other site's when it refuses."""

from __future__ import annotations

from dr_assets.alerting.channels.channel import HTTP_SECONDS, AlertRefused, AlertUnknown, Channel
from dr_assets.alerting.message import Alert
from dr_assets.aws import Aws, explain
from dr_assets.aws_errors import fate
from dr_assets.errors import DrError
from dr_assets.resources import names
from dr_assets.stack import Site, Stack

# The message attribute by which the event queue recognises an alert of our own that SNS delivered.
KEY_ATTRIBUTE = "dr-assets-key"


class SnsChannel(Channel):
    """Every alert, to the first of `sites` whose topic takes it. Standard topics do not deduplicate."""

    name = "sns"

    def __init__(self, stack: Stack, aws: Aws | None = None) -> None:
        # One attempt: a retry by botocore after a lost answer would notify twice.
        self._aws = aws or Aws(read_timeout=HTTP_SECONDS, attempts=1)
        self._stack, self._account = stack, ""

    def send(self, alert: Alert) -> None:
        refused: list[str] = []
        unknown: list[str] = []
        if not self._account:
            try:
                self._account = self._aws.account([self._stack.region(site) for site in self.sites])
            except DrError as error:
                raise AlertRefused(f"{alert.key} was not sent to SNS: {error}") from error
        for site in self.sites:
            region = self._stack.region(site)
            try:
                self._publish(alert, site, region)
                return
            except Exception as error:
                problem = explain(error, "sns", "publish", region)
                # A 5xx or a lost answer may have been a delivery. The other region is tried all the same: to be notified twice is
                # better than not at all.
                (unknown if fate(error) == "unknown" else refused).append(str(problem))
        if unknown:
            raise AlertUnknown(f"SNS did not answer for {alert.key}: {'; '.join(unknown + refused)}")
        raise AlertRefused(f"SNS refused {alert.key} in both regions: {'; '.join(refused)}")

    def _publish(self, alert: Alert, site: Site, region: str) -> None:
        topic = names.topic(self._stack, site)
        self._aws.client("sns", region).publish(
            TopicArn=names.arn("sns", topic, region=region, account=self._account),
            Subject=alert.subject,
            Message=alert.text,
            MessageAttributes={KEY_ATTRIBUTE: {"DataType": "String", "StringValue": f"{alert.key}.{self.name}"}},
        )
