"""Source `key`: a key that cannot be used is a breach at once; one that is not there, or not asked for, is unknown."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.monitoring.sources import keys
from dr_assets.monitoring.sources.keys import KeySource
from dr_assets.stack import Stack
from tests.support.aws_double import error
from tests.support.monitoring import Run, S, at, healthy

DATA, NOTIFICATIONS = f"alias/rds-aurora-us-east-1-{S}", f"alias/sns-us-east-1-{S}"


CLUSTER = f"aurora-primary-{S}"


def arn(key: str) -> str:
    return f"arn:aws:kms:us-east-1:123456789012:key/{key}"


class Kms:
    """DescribeKey by alias or ARN: the key's metadata, or an error; and the cluster, which names the ARN of its key."""

    def __init__(self, **more: Any) -> None:
        usable = {"KeyId": "k", "Arn": arn("k"), "KeyState": "Enabled"}
        self.keys: dict[str, Any] = {DATA: {**usable, **more}, NOTIFICATIONS: {**usable, "KeyId": "n", "Arn": arn("n")}}
        self.cluster: Any = {"DBClusterIdentifier": CLUSTER, "KmsKeyId": arn("k")}

    def client(self, service: str, region: str) -> Kms:
        assert service in ("kms", "rds")
        assert region == "us-east-1"
        return self

    def describe_db_clusters(self, DBClusterIdentifier: str) -> dict[str, Any]:
        assert DBClusterIdentifier == CLUSTER
        if isinstance(self.cluster, ClientError):
            raise self.cluster
        return {"DBClusters": [self.cluster]}

    def describe_key(self, KeyId: str) -> dict[str, Any]:
        found = self.keys[KeyId]
        if isinstance(found, ClientError):
            raise found
        return {"KeyMetadata": found}


def source(stack: Stack, kms: Kms) -> KeySource:
    return KeySource([stack], kms, "us-east-1")  # type: ignore[arg-type]  (a double)


def test_case_a1_a_key_scheduled_for_deletion_alerts_at_once_and_names_the_date(stack: Stack) -> None:
    kms, run = Kms(), Run(stack)
    run.tick(0, [*healthy(0), *source(stack, kms)(at(0))[0]])
    kms.keys[DATA] |= {"KeyState": "PendingDeletion", "DeletionDate": datetime(2026, 12, 3, tzinfo=timezone.utc)}
    samples, calls = source(stack, kms)(at(60))
    assert calls == 3
    assert [(s.site, s.metric, s.raw) for s in samples] == [
        ("primary", "data-key", 0.0),
        ("primary", "notifications-key", 1.0),
        ("primary", "cluster-key", 0.0),
    ]
    assert samples[0].note == "k is PendingDeletion: KMS destroys it on 2026-12-03T00:00:00.000Z"
    run.tick(60, [*healthy(60), *samples])
    # Two resources depend on that key: each is a subject of its own.
    assert run.delivered == ["keys.primary.cluster-key opened", "keys.primary.data-key opened"]
    assert {incident.severity for incident in run.last.state.incidents.values()} == {"critical"}
    kms.keys[DATA] = {"KeyId": "k", "Arn": arn("k"), "KeyState": "Enabled"}
    run.tick(120, [*healthy(120), *source(stack, kms)(at(120))[0]])
    assert run.delivered[2:] == ["keys.primary.cluster-key resolved", "keys.primary.data-key resolved"]


def test_a_disabled_key_is_no_better(stack: Stack) -> None:
    samples, _ = source(stack, Kms(KeyState="Disabled"))(at(0))
    assert (samples[0].raw, samples[0].note) == (0.0, "k is Disabled")


def test_case_a1_a_cluster_s_own_key_is_asked_when_the_alias_points_elsewhere(stack: Stack) -> None:
    """An alias can be moved to another key; what a cluster is encrypted with never changes (Aurora user guide, "Encrypting")."""
    kms = Kms()
    kms.cluster["KmsKeyId"] = arn("old")
    kms.keys[arn("old")] = {"KeyId": "old", "Arn": arn("old"), "KeyState": "PendingDeletion"}
    samples, calls = source(stack, kms)(at(0))
    assert calls == 4
    assert {s.metric: s.raw for s in samples} == {"data-key": 1.0, "notifications-key": 1.0, "cluster-key": 0.0}
    run = Run(stack)
    run.tick(0, [*healthy(0), *samples])
    assert run.delivered == ["keys.primary.cluster-key opened"]


def test_case_a1_a_key_that_is_absent_or_refused_is_unknown_alone_and_alerts(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(keys.time, "monotonic", lambda: now[0])
    for code in ("NotFoundException", "AccessDeniedException"):
        kms, run = Kms(), Run(stack)
        kms.keys[DATA], kms.keys[arn("k")] = error(code), kms.keys[DATA]
        asked, counts = source(stack, kms), []
        for second in range(0, 400, 10):
            now[0] += 10
            samples, calls = asked(at(second))
            counts.append(calls)
            run.tick(second, [*healthy(second), *samples])
            if calls:
                assert {s.metric: s.raw for s in samples} == {
                    "data-key": None,
                    "notifications-key": 1.0,
                    "cluster-key": 1.0,
                }
        assert sum(map(bool, counts)) == 7  # once a minute
        assert run.delivered == ["sources.primary opened"]
        assert "key data-key has not been known" in run.last.state.incidents[f"{S}/sources.primary"].text


def test_before_a_stack_is_provisioned_its_keys_yield_nothing(stack: Stack) -> None:
    kms = Kms()
    kms.keys = {DATA: error("NotFoundException"), NOTIFICATIONS: error("NotFoundException")}
    kms.cluster = error("DBClusterNotFoundFault")
    assert source(stack, kms)(at(0)) == ([], 3)
    kms.cluster = {"KmsKeyId": arn("gone")}
    kms.keys[arn("gone")] = error("NotFoundException")
    assert [s.raw for s in source(stack, kms)(at(0))[0]] == [None, None, None]


def test_keys_are_asked_once_a_minute(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(keys.time, "monotonic", lambda: now[0])
    asked = source(stack, Kms())
    counts = []
    for seconds in (0, 10, 50, 5):
        now[0] += seconds
        counts.append(asked(at(seconds))[1])
    assert counts == [3, 0, 3, 0]
