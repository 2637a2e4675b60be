"""Source `key`: whether each site's KMS keys can be used, from DescribeKey once a minute.

A key that is scheduled for deletion takes everything it encrypts with it at its date. KMS tells no one but CloudTrail, so the key is
asked (KMS developer guide, "Determine past usage of a KMS key", and "Monitoring with Amazon EventBridge"). A cluster keeps the key
it was created with, wherever the alias points later; so the cluster's own key is asked, too (RDS API, DBCluster, KmsKeyId).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from dr_assets import utc
from dr_assets.aws import Aws, explain
from dr_assets.core.model import error_code
from dr_assets.monitoring.samples import STATE, Sample
from dr_assets.monitoring.sources.source import Answer, Ask, regions_of
from dr_assets.resources import names
from dr_assets.stack import Site, Stack

KEYS = {"data-key": names.data_key, "notifications-key": names.notifications_key}
CLUSTER_KEY = "cluster-key"
METRICS = (*KEYS, CLUSTER_KEY)
EVERY_SECONDS = 60.0
USABLE = STATE._replace(age_limit=120.0)


def key_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    for region in regions_of(stacks):
        yield region, KeySource(stacks, aws, region)


class KeySource:
    """The keys of all stacks with a site in one region. For each stack one call for each alias and one for its cluster, and one
    for the cluster's key where no alias points to it."""

    def __init__(self, stacks: Sequence[Stack], aws: Aws, region: str) -> None:
        self._aws, self._region = aws, region
        self._stacks = [(stack, site) for stack in stacks if (site := stack.site_in(region)) is not None]
        self._asked: float | None = None

    def __call__(self, at: datetime) -> Answer:
        """Each key by itself: what AWS refuses about one is unknown. Raises what says nothing of a single key: no answer."""
        if self._asked is not None and time.monotonic() - self._asked < EVERY_SECONDS:
            return [], 0
        self._asked = time.monotonic()
        samples, calls = [], 0
        for stack, site in self._stacks:
            found, more = self._keys(stack, site)
            calls += more
            samples += [
                Sample(at, stack.environment_suffix, site, "key", metric, value, USABLE, note)
                for metric, (value, note) in found.items()
            ]
        return samples, calls

    def _keys(self, stack: Stack, site: Site) -> tuple[dict[str, tuple[float | None, str]], int]:
        """By metric: 1 usable, 0 not, None unknown, and why; and how many calls it took. Nothing where nothing is provisioned."""
        kms, calls = self._aws.client("kms", self._region), 2
        found: dict[str, tuple[float | None, str]] = {}
        described: dict[str, tuple[float | None, str]] = {}
        absent = 0
        for metric, name in KEYS.items():
            alias = f"alias/{name(stack, site)}"
            try:
                meta = kms.describe_key(KeyId=alias)["KeyMetadata"]
            except Exception as error:
                absent += error_code(error) == "NotFoundException"
                found[metric] = self._unknown(error, "kms", "describe_key", f"there is no key behind {alias}")
            else:
                found[metric] = described[meta.get("Arn", "")] = _usable(meta)
        identifier = names.cluster(stack, site)
        try:
            calls += 1
            rds = self._aws.client("rds", self._region)
            cluster = rds.describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0]
        except Exception as error:
            gone = error_code(error) == "DBClusterNotFoundFault"
            if gone and absent == len(KEYS):
                return {}, calls
            found[CLUSTER_KEY] = self._unknown(
                error, "rds", "describe_db_clusters", f"there is no cluster {identifier}"
            )
            if gone:
                del found[CLUSTER_KEY]  # its absence is the topology's to report
            return found, calls
        key = cluster.get("KmsKeyId")
        if not key:
            found[CLUSTER_KEY] = None, f"{identifier} has no KMS key"
        elif key in described:
            found[CLUSTER_KEY] = described[key]
        else:
            try:
                calls += 1
                found[CLUSTER_KEY] = _usable(kms.describe_key(KeyId=key)["KeyMetadata"])
            except Exception as error:
                found[CLUSTER_KEY] = self._unknown(
                    error, "kms", "describe_key", f"there is no key {key} of {identifier}"
                )
        return found, calls

    def _unknown(self, error: Exception, service: str, operation: str, absent: str) -> tuple[None, str]:
        """Raises the error itself where it is no answer of AWS's: then nothing is known of any key."""
        if not error_code(error):
            raise error
        if error_code(error) in ("NotFoundException", "DBClusterNotFoundFault"):
            return None, absent
        return None, str(explain(error, service, operation, self._region))[:200]


def _usable(meta: Any) -> tuple[float, str]:
    """1.0 when enabled, 0.0 when not, with what KMS says."""
    if meta["KeyState"] == "Enabled":
        return 1.0, ""
    note = f"{meta['KeyId']} is {meta['KeyState']}"
    if meta.get("DeletionDate"):
        note += f": KMS destroys it on {utc.to_text(meta['DeletionDate'])}"
    return 0.0, note
