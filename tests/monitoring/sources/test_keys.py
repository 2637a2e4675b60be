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


class Kms:
    """DescribeKey by alias: the key's metadata, or an error."""

    def __init__(self, **more: Any) -> None:
        usable = {"KeyId": "k", "KeyState": "Enabled"}
        self.keys: dict[str, Any] = {DATA: {**usable, **more}, NOTIFICATIONS: usable}

    def client(self, service: str, region: str) -> Kms:
        assert (service, region) == ("kms", "us-east-1")
        return self

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
    assert calls == 2
    assert [(s.site, s.metric, s.value) for s in samples] == [
        ("primary", "data-key", 0.0),
        ("primary", "notifications-key", 1.0),
    ]
    assert samples[0].note == "k is PendingDeletion: KMS destroys it on 2026-12-03T00:00:00.000Z"
    run.tick(60, [*healthy(60), *samples])
    assert run.delivered == ["keys opened"]
    (incident,) = run.last.state.incidents.values()
    assert incident.severity == "critical"
    kms.keys[DATA] = {"KeyId": "k", "KeyState": "Enabled"}
    run.tick(120, [*healthy(120), *source(stack, kms)(at(120))[0]])
    assert run.delivered == ["keys opened", "keys resolved"]


def test_a_disabled_key_is_no_better(stack: Stack) -> None:
    samples, _ = source(stack, Kms(KeyState="Disabled"))(at(0))
    assert (samples[0].value, samples[0].note) == (0.0, "k is Disabled")


def test_no_key_is_unknown_and_a_refusal_is_an_error(stack: Stack) -> None:
    kms = Kms()
    kms.keys[DATA] = error("NotFoundException")
    assert [s.value for s in source(stack, kms)(at(0))[0]] == [None, 1.0]
    kms.keys[DATA] = error("AccessDeniedException")
    with pytest.raises(ClientError):
        source(stack, kms)(at(0))


def test_keys_are_asked_once_a_minute(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(keys.time, "monotonic", lambda: now[0])
    asked = source(stack, Kms())
    counts = []
    for seconds in (0, 10, 50, 5):
        now[0] += seconds
        counts.append(asked(at(seconds))[1])
    assert counts == [2, 0, 2, 0]
