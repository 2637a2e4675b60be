"""Answers of AWS that nobody can understand: a key missing, of another type, HTML in place of an answer. One thing is unknown,
nothing else changes, and nothing ends in a traceback."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from dr_assets.core.model import Outcome
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import DrError
from dr_assets.reconcile import service
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from tests.support.cli import dr
from tests.support.replay import LEAVE_OUT_EMPTY, Replay, of_service, replay

__all__ = ["replay"]

# The keys are tested in so many parts, the first one every day.
PARTS = 8


def bad(outcomes: tuple[Outcome, ...]) -> dict[str, str]:
    return {outcome.key: outcome.status for outcome in outcomes if outcome.status != "in_sync"}


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.exhaustive) for part in range(1, PARTS))])
def test_case_d5_any_key_of_any_answer_missing_or_of_another_type_leaves_the_rest_known(
    built: EmbeddedAws, stack: Stack, replay: Replay, part: int
) -> None:
    """Every top-level key of every answer that one verification reads, dropped in turn and replaced by another type."""
    assert service.verify(stack).in_sync
    wrong: dict[str, Any] = {}
    for (name, operation, key), drop in itertools.product(replay.keys()[part::PARTS], (True, False)):

        def garble(s: str, o: str, answer: dict[str, Any], at: Any = (name, operation, key), drop: bool = drop) -> None:
            if (s, o) == at[:2] and at[2] in answer:
                value = answer.pop(at[2])
                if not drop:
                    answer[at[2]] = 7 if isinstance(value, str) else "a text"

        replay.garble = garble
        try:
            found = bad(service.verify(stack).outcomes)
        except DrError:
            assert name == "sts", (name, operation, key)  # without an account number nothing can be named
            continue
        allowed = of_service(stack, name)
        if operation == "DescribeGlobalClusters":
            allowed |= {
                r.key for r in catalog(stack) if r.area in ("monitoring", "dns")
            }  # their values depend on the roles
        others = {k: status for k, status in found.items() if k not in allowed}
        if name not in LEAVE_OUT_EMPTY and "absent" in found.values():
            others["read as absent"] = ", ".join(k for k, status in found.items() if status == "absent")
        if others:
            wrong[f"{name} {operation} {key} {'dropped' if drop else 'of another type'}"] = others
    assert len(replay.keys()) > 40
    assert wrong == {}


@pytest.mark.parametrize("item", [None, "a text", 7, []])
@pytest.mark.parametrize(
    ("operation", "name", "key"),
    [
        ("DescribeRouteTables", "RouteTables", "network/route-table"),
        ("DescribeDBInstances", "DBInstances", "aurora/instance-1"),
        ("ListAliases", "Aliases", "encryption/data-alias"),
        ("ListSubscriptionsByTopic", "Subscriptions", "notifications/queue-subscription"),
    ],
)
def test_case_d5_an_item_of_another_type_in_a_list_is_unknown_and_not_absent(
    built: EmbeddedAws, stack: Stack, replay: Replay, operation: str, name: str, key: str, item: Any
) -> None:
    """What reads as absent would be created a second time."""

    def garble(_: str, asked: str, answer: dict[str, Any]) -> None:
        if asked == operation:
            answer[name] = [item, *answer[name][1:]]

    replay.garble = garble
    (outcome,) = service.verify(stack, keys=[f"primary/{key}"]).outcomes
    assert outcome.status == "unknown", outcome


@pytest.mark.parametrize("body", [None, "", "null", "[]", '{"Keys": 3}'])
@pytest.mark.parametrize(
    ("service_name", "operation", "key"),
    [
        ("rds", "DescribeDBClusters", "aurora/cluster"),
        ("kms", "DescribeKey", "encryption/data-key"),
        ("route53", "ListHealthChecks", "dns/health-check"),
        ("logs", "DescribeLogGroups", "aurora/log-group"),
    ],
)
def test_case_d5_html_or_nothing_in_place_of_an_answer_is_unknown(
    built: EmbeddedAws, stack: Stack, service_name: str, operation: str, key: str, body: str | None
) -> None:
    built.control.fault("garbled", service=service_name, operation=operation, message=body)
    keys = [f"{site}/{key}" for site in ("primary", "secondary")] + ["primary/notifications/queue"]
    outcomes = {outcome.key: outcome for outcome in service.verify(stack, keys=keys).outcomes}
    built.control.clear_faults()
    assert {outcomes[k].status for k in keys[:2]} == {"unknown"}, outcomes
    assert outcomes["primary/notifications/queue"].status in ("in_sync", "unknown")


def test_case_d5_status_and_outputs_go_on(built: EmbeddedAws, stack: Stack) -> None:
    built.control.fault("garbled", service="kms", operation="ListAliases", region=stack.secondary_region)
    outputs, status = dr("outputs", "--json"), dr("status", "--json")
    built.control.clear_faults()
    values = json.loads(outputs.stdout)
    assert values["primary_kms_key_id"] and values["secondary_kms_key_id"] is None
    assert outputs.returncode == 1 and "dr: secondary_kms_key_id is unknown" in outputs.stderr
    assert json.loads(status.stdout)["summary"]["unknown"] >= 1
    assert "Traceback (most recent" not in outputs.stderr + status.stderr
