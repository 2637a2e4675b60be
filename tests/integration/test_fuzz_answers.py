"""Mutated answers of AWS to a verification: the resources of that service are known or unknown, all others as they were."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import DrError
from dr_assets.reconcile import service
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from tests.fuzz import mutate
from tests.support.replay import LEAVE_OUT_EMPTY, Replay, of_service, replay

__all__ = ["replay"]

KEYS = [
    f"primary/{key}"
    for key in ("network/vpc", "encryption/data-key", "aurora/cluster", "notifications/queue", "backup/bucket")
]
STATUSES = {"in_sync", "drifted", "unknown", "absent", "waiting"}


def leaves_out(before: Any, after: Any) -> bool:
    """Whether the changed answer shows fewer things, or another name: then a thing may rightly be read as absent."""
    if isinstance(before, dict) and isinstance(after, dict):
        return any(leaves_out(value, after[key]) for key, value in before.items() if key in after)
    if isinstance(before, list) and isinstance(after, list):
        return len(after) < len(before) or any(leaves_out(one, two) for one, two in zip(before, after, strict=False))
    return isinstance(before, str) and isinstance(after, str) and before != after


def problems(stack: Stack, replay: Replay, rng: random.Random, roles: set[str]) -> Iterator[str]:
    name, operation, _ = rng.choice(replay.keys())
    changes: list[tuple[Any, Any]] = []

    def garble(asked_service: str, asked: str, answer: dict[str, Any]) -> None:
        if (asked_service, asked) != (name, operation) or changes:
            return
        before = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
        after = mutate.value(rng, before, rng.choice((1, 1, 2)))
        changes.append((copy.deepcopy(before), after))
        for key in before:
            del answer[key]
        answer.update(copy.deepcopy(after) if isinstance(after, dict) else {})

    replay.garble = garble
    about = f"{name} {operation}"
    try:
        outcomes = {outcome.key: outcome.status for outcome in service.verify(stack, keys=KEYS).outcomes}
    except DrError as error:
        if name != "sts":  # without an account number nothing can be named
            yield f"{about}: {error}: {str(changes)[:400]}"
        return
    except Exception as error:
        yield f"{about}: {type(error).__name__}: {error}: {str(changes)[:400]}"
        return
    allowed = of_service(stack, name) | (roles if operation == "DescribeGlobalClusters" else set())
    for key, status in outcomes.items():
        if status not in STATUSES:
            yield f"{about}: {key} is {status}: {str(changes)[:400]}"
        if status != "in_sync" and key not in allowed and name != "sts":
            yield f"{about}: {key} of another service is {status}: {str(changes)[:400]}"
        if status == "absent" and name not in LEAVE_OUT_EMPTY and not any(leaves_out(*each) for each in changes):
            yield f"{about}: {key} is read as absent: {str(changes)[:400]}"


def run(stack: Stack, replay: Replay, number: int) -> None:
    assert {outcome.status for outcome in service.verify(stack, keys=KEYS).outcomes} == {"in_sync"}
    roles = {row.key for row in catalog(stack) if row.area in ("monitoring", "dns")}
    seed, wrong = mutate.seed(), []
    for n in range(number):
        found = problems(stack, replay, mutate.generator(seed, "verify", n), roles)
        wrong += [f"input {n}: {problem}" for problem in found]
    assert not wrong, f"{mutate.SEED_VARIABLE}={seed}: {len(wrong)} of {number}\n" + "\n".join(wrong[:10])


def test_case_d5_mutated_answers_leave_the_rest_known(built: EmbeddedAws, stack: Stack, replay: Replay) -> None:
    run(stack, replay, 300)


@pytest.mark.exhaustive
def test_case_d5_five_thousand_mutated_answers_of_a_verification(
    built: EmbeddedAws, stack: Stack, replay: Replay
) -> None:
    run(stack, replay, 5000)
