"""Mutated answers of AWS to the monitoring sources: what is believed stands in the answer, and one item costs its own subject alone.

The answers are those of AWS's API references (`tests.support.source_answers`), for two stacks. What a changed answer says is read here a
second time, by AWS's documents and not by the product.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from dr_assets.core.freshness import Known
from dr_assets.monitoring.samples import Sample
from dr_assets.resources import names
from dr_assets.stack import Stack
from tests.fuzz import mutate
from tests.support.monitoring import S, at
from tests.support.source_answers import ITEMS, OTHER, Aws, ask

# KMS API reference, KeyMetadata, KeyState: those in which the key can be used, and cannot.
USABLE, UNUSABLE = {"Enabled"}, {
    "Creating", "Disabled", "PendingDeletion", "PendingImport", "PendingReplicaDeletion", "Unavailable"
}  # fmt: skip


def stated(stack: Stack, source: str, operation: str, item: Any, sample: Sample) -> bool:
    """Whether the changed item, or one that was not changed, says what the sample says."""
    if operation == "get_metric_data":
        pairs = zip(item["Timestamps"], item["Values"], strict=True)
        return (sample.at, sample.raw) in [
            (when, float(value)) for when, value in pairs if type(value) in (int, float) and isinstance(when, datetime)
        ]
    if operation == "describe_alarms":
        return {"OK": 1.0, "ALARM": 0.0}.get(item["StateValue"]) == sample.raw and not item.get("EvaluationState")
    if operation.startswith("describe_key"):
        return item["KeyState"] in (USABLE if sample.raw == 1.0 else UNUSABLE)
    if operation == "describe_global_clusters":
        members = {member["DBClusterArn"].split(":")[3]: member for member in item["GlobalClusterMembers"]}
        writers = [region for region, member in members.items() if member["IsWriter"] is True]
        if sample.metric == "role":
            region = stack.region("primary" if sample.site == "primary" else "secondary")
            return len(writers) == 1 and (sample.raw == 1.0) == (writers == [region])
        return True
    return True


def problems(stacks: list[Stack], rng: random.Random) -> Iterator[str]:
    source, operation, field = rng.choice(ITEMS)
    aws = Aws(stacks)
    sound = ask(source, stacks, aws)
    whole: list[dict[str, Any]] = []
    aws.garble[operation] = lambda answer: whole.append(copy.deepcopy(answer))
    ask(source, stacks, aws)
    listed = isinstance(whole[0][field], list)
    item = whole[0][field][0] if listed else whole[0][field]
    plain = rng.randrange(4) > 0
    changed = mutate.value(rng, item if plain else whole[0], rng.choice((1, 1, 2, 3)))

    def change(answer: dict[str, Any]) -> None:
        if not plain:
            answer.clear()
            answer.update(copy.deepcopy(changed) if isinstance(changed, dict) else {})
        elif listed:
            answer[field][0] = copy.deepcopy(changed)
        else:
            answer[field] = copy.deepcopy(changed)

    aws.garble[operation] = change
    about = f"{source} {operation}: {str(changed)[:300]}"
    try:
        found = ask(source, stacks, aws)
    except Exception as error:
        # The poller makes the whole source unknown then: right where no list can be read, wrong for one item.
        if plain:
            yield f"{type(error).__name__}: {error}: {about}"
        return
    for name, sample in found.items():
        assessed = sample.assess(at(0))  # no value of another type reaches the rules
        if sample.raw is None and not sample.note:
            yield f"{name} is unknown without a reason: {about}"
        if not plain or sample == sound.get(name):
            continue
        if name.startswith(f"{OTHER}/"):
            yield f"{name} of the other stack changed to {sample}: {about}"
        elif isinstance(assessed, Known):
            try:
                is_stated = stated(stacks[0], source, operation, changed, sample)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
                is_stated = False
            if not is_stated and not _is_absence(stacks[0], operation, changed, sample):
                yield f"{name} is believed to be {sample.raw} ({sample.note}): {about}"


def _is_absence(stack: Stack, operation: str, changed: Any, sample: Sample) -> bool:
    """What an answer that can be read says by leaving something out: no member, another thing's name."""
    if operation != "describe_global_clusters":
        return isinstance(changed, dict) and changed.get("DBClusterIdentifier") is not None  # the key of the cluster
    other = isinstance(changed, dict) and isinstance(changed.get("GlobalClusterIdentifier"), str)
    renamed = other and changed["GlobalClusterIdentifier"] != stack.global_cluster_name
    return bool(renamed or (other and changed.get("GlobalClusterMembers") == []))


def run(stack: Stack, number: int) -> None:
    stacks = [stack, stack.model_copy(update={"environment_suffix": OTHER})]
    assert names.alarm(stacks[0], "primary", "cpu").endswith(S)
    seed, wrong = mutate.seed(), []
    for n in range(number):
        wrong += [f"input {n}: {problem}" for problem in problems(stacks, mutate.generator(seed, "aws", n))]
    assert not wrong, f"{mutate.SEED_VARIABLE}={seed}: {len(wrong)} of {number}\n" + "\n".join(wrong[:10])


def test_case_d5_mutated_answers_cost_their_own_subject_alone(stack: Stack) -> None:
    run(stack, 300)


@pytest.mark.exhaustive
def test_case_d5_five_thousand_mutated_answers(stack: Stack) -> None:
    run(stack, 5000)
