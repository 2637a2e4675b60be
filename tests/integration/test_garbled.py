"""Answers of AWS that nobody can understand: a key missing, of another type, HTML in place of an answer. One thing is unknown,
nothing else changes, and nothing ends in a traceback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dr_assets.aws import Aws
from dr_assets.core.model import Outcome
from dr_assets.emulator import EmbeddedAws
from dr_assets.reconcile import service
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from tests.support.cli import dr

Garble = Callable[[str, str, dict[str, Any]], None]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Garble]]:
    """Functions of (service, operation, answer) that change an answer as botocore parsed it, before the product receives it."""
    garbles: list[Garble] = []
    make = Aws._make

    def instrumented(self: Aws, service: str, region: str, writing: bool) -> Any:
        client = make(self, service, region, writing)

        def after(parsed: dict[str, Any], model: Any, **_: Any) -> None:
            for garble in garbles:
                garble(service, model.name, parsed)

        client.meta.events.register("after-call", after)
        return client

    monkeypatch.setattr(Aws, "_make", instrumented)
    yield garbles


def of_service(stack: Stack, name: str) -> set[str]:
    """Keys of the resources that this service holds, and of all that need one of them."""
    mine: set[str] = set()
    for resource in catalog(stack):
        if resource.kind.split(".")[0] == name or mine.intersection(resource.needs):
            mine.add(resource.key)
    return mine


def bad(outcomes: tuple[Outcome, ...]) -> dict[str, str]:
    return {outcome.key: outcome.status for outcome in outcomes if outcome.status != "in_sync"}


def test_case_d5_any_key_of_any_answer_missing_or_of_another_type_leaves_the_rest_known(
    built: EmbeddedAws, stack: Stack, answers: list[Garble], request: pytest.FixtureRequest
) -> None:
    """Every top-level key of every answer that one verification reads, dropped in turn and replaced by another type."""
    keys: set[tuple[str, str, str]] = set()
    lock = threading.Lock()

    def note(service_name: str, operation: str, answer: dict[str, Any]) -> None:
        with lock:
            keys.update(
                (service_name, operation, key)
                for key in answer
                if key
                not in ("ResponseMetadata", "NextToken", "Marker", "Error", "IsTruncated", "Truncated", "MaxItems")
            )

    answers.append(note)
    assert service.verify(stack).in_sync
    answers.clear()
    assert len(keys) > 40
    everything = "exhaustive" in (request.config.getoption("-m") or "")
    chosen = sorted(keys) if everything else sorted(keys)[::9]
    wrong: dict[str, Any] = {}
    for number, (service_name, operation, key) in enumerate(chosen):
        for drop in (True, False) if everything else (bool(number % 2),):

            def garble(
                s: str, o: str, answer: dict[str, Any], drop: bool = drop, at: Any = (service_name, operation, key)
            ) -> None:
                if (s, o) == at[:2] and at[2] in answer:
                    if drop:
                        del answer[at[2]]
                    else:
                        answer[at[2]] = 7 if isinstance(answer[at[2]], str) else "a text"

            answers[:] = [garble]
            found = bad(service.verify(stack).outcomes)
            name = f"{service_name} {operation} {key} {'dropped' if drop else 'of another type'}"
            allowed = of_service(stack, service_name)
            if service_name == "rds" and operation == "DescribeGlobalClusters":
                allowed |= {
                    r.key for r in catalog(stack) if r.area in ("monitoring", "dns")
                }  # their values depend on the roles
            others = {k: status for k, status in found.items() if k not in allowed}
            if service_name not in ("sts", "s3", "sqs", "cloudwatch") and "absent" in found.values():
                others["read as absent"] = str([k for k, status in found.items() if status == "absent"])
            if others:
                wrong[name] = others
    assert wrong == {}


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
