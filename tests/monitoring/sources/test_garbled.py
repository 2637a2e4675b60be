"""One item of an AWS answer that cannot be understood makes its own subject unknown, with the reason; the others stay as they are.

Answers: the examples of the API references (CloudWatch GetMetricData and DescribeAlarms, KMS DescribeKey, RDS DescribeGlobalClusters
and DescribeDBClusters, Route 53 ListHealthChecks), with our names, and one field removed or of another type."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dr_assets.stack import Stack
from tests.fuzz import mutate
from tests.support.monitoring import S, at
from tests.support.source_answers import ITEMS, OTHER, Aws, ask

ODD: tuple[Any, ...] = (None, True, -1, 10**400, float("nan"), "", "x", [], ["x"], {}, {"a": 1}, at(0))


@pytest.fixture
def stacks(stack: Stack) -> list[Stack]:
    return [stack, stack.model_copy(update={"environment_suffix": OTHER})]


@pytest.mark.parametrize(("source", "operation", "field"), ITEMS)
def test_case_d5_one_garbled_item_of_a_list_is_one_unknown(
    stacks: list[Stack], source: str, operation: str, field: str
) -> None:
    """Whatever is wrong with the item: its subject is as it was or unknown with a reason, every other one as it was."""
    aws = Aws(stacks)
    sound = ask(source, stacks, aws)
    assert {name.split("/")[0] for name in sound} == {S, OTHER}
    whole: list[dict[str, Any]] = []
    aws.garble[operation] = lambda answer: whole.append(copy.deepcopy(answer))
    ask(source, stacks, aws)
    first: tuple[Any, ...] = (field, 0) if isinstance(whole[0][field], list) else (field,)
    item = mutate.value_at(whole[0], first)
    cases = [((), odd) for odd in ODD]
    cases += [(path, odd) for path in mutate.paths(item) for odd in (*ODD, "REMOVED")]
    unknown = 0
    for path, odd in cases:

        def change(answer: dict[str, Any], path: Any = path, odd: Any = odd) -> None:
            found = mutate.value_at(answer, first)
            if not path:
                parent = mutate.value_at(answer, first[:-1])
                parent[first[-1]] = odd
            elif odd == "REMOVED":
                del mutate.value_at(found, path[:-1])[path[-1]]
            else:
                mutate.value_at(found, path[:-1])[path[-1]] = odd

        aws.garble[operation] = change
        found = ask(source, stacks, aws)
        missing = sound.keys() - found.keys()
        # What AWS can give: a text, which is the name of another thing; a global cluster that has no members.
        if (isinstance(odd, str) and odd != "REMOVED") or (path, odd) == (("GlobalClusterMembers",), []):
            missing = {name for name in missing if name.startswith(f"{OTHER}/")}
        assert missing <= {f"{S}/global/topology/transition"}, (path, odd)
        assert found.keys() - sound.keys() <= {f"{S}/global/topology/named-writers"}, (path, odd)
        changed = {name for name in found if found[name] != sound.get(name)}
        for name in changed:
            assert name.startswith(f"{S}/"), (path, odd)
            assert found[name].raw is not None or found[name].note, (path, odd, found[name])
            known = found[name].raw
            # A value that AWS can give is one: 0 and 1, true and false, another state.
            assert known is None or type(known) is float, (path, odd)
            unknown += known is None
    assert unknown > len(ODD)


def test_case_d5_what_cannot_be_understood_is_named_with_its_reason(stacks: list[Stack]) -> None:
    aws = Aws(stacks)
    notes = [
        ("metric", "get_metric_data", lambda a: a["MetricDataResults"][0].pop("Values"), "metric/connectivity", "KeyError: 'Values'"),
        ("metric", "get_metric_data", lambda a: a["MetricDataResults"].pop(0), "metric/connectivity", "gave no result"),
        ("alarm", "describe_alarms", lambda a: a["MetricAlarms"][1].pop("StateValue"), None, "no StateValue"),
        ("alarm", "describe_alarms", lambda a: a["MetricAlarms"][1].pop("AlarmName"), None, "1 alarms without a name"),
        ("topology", "describe_global_clusters", lambda a: a["GlobalClusters"][0].pop("GlobalClusterIdentifier"), None, "no identifier"),
        ("topology", "describe_global_clusters", lambda a: a["GlobalClusters"][0]["GlobalClusterMembers"][1].pop("IsWriter"), None, "IsWriter"),
        ("key", f"describe_key alias/rds-aurora-us-east-1-{S}", lambda a: a["KeyMetadata"].pop("KeyState"), "key/data-key", "KeyError"),
        ("health-check", "list_health_checks", lambda a: a["HealthChecks"][0].pop("Id"), None, "1 of Route 53's health checks"),
    ]  # fmt: skip
    for source, operation, change, subject, reason in notes:
        aws.garble = {operation: change}
        unknown = {name: s for name, s in ask(source, stacks, aws).items() if s.raw is None}
        assert unknown, reason
        for name, sample in unknown.items():
            assert reason in sample.note
            assert subject is None or name == f"{S}/primary/{subject}"


def test_case_d5_another_team_s_thing_that_cannot_be_understood_changes_nothing(stacks: list[Stack]) -> None:
    aws = Aws(stacks)
    for source, operation, field in ITEMS:
        if source == "key":
            continue
        aws.garble = {}
        sound = ask(source, stacks, aws)
        for odd in (None, {}, [], "x", {"Id": 1}, {"HealthCheckConfig": None}):
            aws.garble = {operation: lambda answer, field=field, odd=odd: answer[field].insert(0, odd)}  # type: ignore[misc]
            assert ask(source, stacks, aws) == sound


def test_case_d5_a_key_that_is_to_be_destroyed_is_bad_whatever_else_the_answer_lacks(stacks: list[Stack]) -> None:
    aws = Aws(stacks)
    for change in ({"DeletionDate": "soon"}, {"KeyId": None}, {"Arn": None}, {"Arn": []}):
        aws.garble = {
            f"describe_key alias/rds-aurora-us-east-1-{S}": lambda answer, change=change: answer["KeyMetadata"].update(  # type: ignore[misc]
                KeyState="PendingDeletion", **change
            )
        }
        assert ask("key", stacks, aws)[f"{S}/primary/key/data-key"].raw == 0.0


def test_case_d5_a_list_that_is_not_there_is_no_empty_list(stacks: list[Stack]) -> None:
    """Nothing is known of any of its subjects then; the poller calls that the source's error."""
    aws = Aws(stacks)
    for source, operation, field in ITEMS:
        if source != "key":
            aws.garble = {operation: lambda answer, field=field: answer.pop(field)}  # type: ignore[misc]
            with pytest.raises(KeyError):
                ask(source, stacks, aws)
