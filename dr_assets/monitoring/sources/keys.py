"""Source `key`: whether each site's KMS keys can be used, from DescribeKey once a minute.

A key that is scheduled for deletion takes everything it encrypts with it at its date. KMS tells no one but CloudTrail, so the key is
asked (KMS developer guide, "Determine past usage of a KMS key", and "Monitoring with Amazon EventBridge"). A cluster keeps the key
it was created with, wherever the alias points later; so the cluster's own key is asked, too (RDS API, DBCluster, KmsKeyId).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.core.model import error_code
from dr_assets.monitoring.samples import STATE, Sample
from dr_assets.monitoring.sources.source import Answer, Ask, reason_of, regions_of
from dr_assets.resources import names
from dr_assets.stack import Site, Stack

KEYS = {"data-key": names.data_key, "notifications-key": names.notifications_key}
CLUSTER_KEY = "cluster-key"
METRICS = (*KEYS, CLUSTER_KEY)
EVERY_SECONDS = 60.0
# States in which KMS refuses cryptographic operations (KMS developer guide, "Key states of AWS KMS keys").
UNUSABLE = {"Creating", "Disabled", "PendingDeletion", "PendingImport", "PendingReplicaDeletion", "Unavailable"}
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
        found: dict[str, tuple[float | None, str]] = {}
        described: dict[str, tuple[float | None, str]] = {}
        calls, absent = 3, 0
        for metric, name in KEYS.items():
            alias = f"alias/{name(stack, site)}"
            try:
                arn, found[metric] = self._describe(alias)
                described[arn] = found[metric]
            except Exception as error:
                absent += error_code(error) == "NotFoundException"
                found[metric] = self._unknown(error, "kms", "describe_key", f"there is no key behind {alias}")
        identifier = names.cluster(stack, site)
        try:
            key = self._key_of(identifier)
        except Exception as error:
            # The cluster's absence is the topology's to report.
            if error_code(error) == "DBClusterNotFoundFault":
                return ({} if absent == len(KEYS) else found), calls
            found[CLUSTER_KEY] = None, reason_of(error, "rds", "describe_db_clusters", self._region)
            return found, calls
        if not key:
            found[CLUSTER_KEY] = None, f"{identifier} has no KMS key"
        elif key in described:
            found[CLUSTER_KEY] = described[key]
        else:
            calls += 1
            try:
                _, found[CLUSTER_KEY] = self._describe(key)
            except Exception as error:
                missing = f"there is no key {key} of {identifier}"
                found[CLUSTER_KEY] = self._unknown(error, "kms", "describe_key", missing)
        return found, calls

    def _key_of(self, cluster: str) -> str:
        """The key that the cluster is encrypted with; empty: none."""
        answer = self._aws.client("rds", self._region).describe_db_clusters(DBClusterIdentifier=cluster)
        key = answer["DBClusters"][0].get("KmsKeyId", "")
        if not isinstance(key, str):
            raise TypeError("KmsKeyId is no text")
        return key

    def _describe(self, key: str) -> tuple[str, tuple[float | None, str]]:
        """The key's ARN, and 1.0 when it is enabled, 0.0 when it cannot be used, None unknown, with what KMS answered."""
        meta = self._aws.client("kms", self._region).describe_key(KeyId=key)["KeyMetadata"]
        arn, state = str(meta.get("Arn", "")), meta["KeyState"]
        if state == "Enabled":
            return arn, (1.0, "")
        note = f"{meta.get('KeyId', key)} is {state}"
        if isinstance(date := meta.get("DeletionDate"), datetime):
            note += f": KMS destroys it on {utc.to_text(date)}"
        return arn, (0.0 if isinstance(state, str) and state in UNUSABLE else None, note[:200])

    def _unknown(self, error: Exception, service: str, operation: str, absent: str) -> tuple[None, str]:
        if error_code(error) == "NotFoundException":
            return None, absent
        return None, reason_of(error, service, operation, self._region)
