"""Source `key`: whether each site's KMS keys can be used, from DescribeKey once a minute.

A key that is scheduled for deletion takes everything it encrypts with it at its date. KMS tells no one but CloudTrail, so the key is
asked (KMS developer guide, "Determine past usage of a KMS key", and "Monitoring with Amazon EventBridge").
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.core.model import error_code
from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.sources.source import Answer, Ask, regions_of
from dr_assets.resources import names
from dr_assets.stack import Stack

KEYS = {"data-key": names.data_key, "notifications-key": names.notifications_key}
EVERY_SECONDS = 60.0


def key_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    for region in regions_of(stacks):
        yield region, KeySource(stacks, aws, region)


class KeySource:
    """The keys of all stacks with a site in one region, through their aliases: one call each."""

    def __init__(self, stacks: Sequence[Stack], aws: Aws, region: str) -> None:
        self._aws, self._region = aws, region
        self._stacks = [(stack, site) for stack in stacks if (site := stack.site_in(region)) is not None]
        self._asked: float | None = None

    def __call__(self, at: datetime) -> Answer:
        if self._asked is not None and time.monotonic() - self._asked < EVERY_SECONDS:
            return [], 0
        client, samples = self._aws.client("kms", self._region), []
        for stack, site in self._stacks:
            for metric, name in KEYS.items():
                value, note = _usable(client, f"alias/{name(stack, site)}")
                samples.append(Sample(at, stack.environment_suffix, site, "key", metric, value, "bool", note))
        self._asked = time.monotonic()
        return samples, len(samples)


def _usable(client: Any, alias: str) -> tuple[float | None, str]:
    """1.0 when enabled, 0.0 when not, with what KMS says; None where no key is behind the alias (drift: not this source's)."""
    try:
        meta = client.describe_key(KeyId=alias)["KeyMetadata"]
    except Exception as error:
        if error_code(error) == "NotFoundException":
            return None, f"there is no key behind {alias}"
        raise
    if meta["KeyState"] == "Enabled":
        return 1.0, ""
    note = f"{meta['KeyId']} is {meta['KeyState']}"
    if meta.get("DeletionDate"):
        note += f": KMS destroys it on {utc.to_text(meta['DeletionDate'])}"
    return 0.0, note
