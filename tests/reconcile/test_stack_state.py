"""The reconcile loop against an AWS of one thing that misbehaves: refuses for a while, loses answers, or shows no change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from dr_assets.aws import PROVISIONING_SILENCE
from dr_assets.core.model import Call, Drift, Kind, Observed, Reads, Resource, Target
from dr_assets.errors import AwsCallError, NoEffectError, UnansweredError
from dr_assets.reconcile import progress, service
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.aurora.parameter_groups import ClusterParameterGroup
from dr_assets.resources.registry import KINDS
from dr_assets.stack import Stack
from tests.core.test_not_yet import ANSWERS

KEY = "primary/test/thing"


class Thing(Kind):
    name = "test.thing"
    label = "thing"
    immutable = frozenset({"Zone"})
    remedies = {"Applied": "reboot it in the maintenance window"}

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        return {target.key: reads.call("test", "describe", target.region, Name=target.name) or None for target in batch}

    def create(self, target: Target) -> Call:
        return Call("test", "create", dict(target.desired))

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        return Call("test", "modify", {item.field: item.desired for item in drift})

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("test", "delete", {})


class Unnamed(Thing):
    name = "test.unnamed"
    unnamed = True


class Group(Thing):
    """Named at once by AWS and usable only later."""

    name = "test.group"

    def settle_seconds(self) -> float:
        return ClusterParameterGroup().settle_seconds()


class Windowed(Thing):
    """Shows which of its changes are not made yet."""

    name = "test.windowed"
    remedies = {"Pending": "apply it now, or wait for the maintenance window"}

    def pending(self, observed: Observed) -> Sequence[str]:
        return list(observed["Pending"])

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        return Call(
            "test",
            "modify",
            {"ApplyImmediately": not observed["Pending"], **{item.field: item.desired for item in drift}},
        )


class World:
    """An AWS with one thing in it. `answer` is asked before each write and may raise."""

    account_number = "123456789012"

    def __init__(self) -> None:
        self.thing: dict[str, Any] = {}
        self.made = 0
        self.hidden_reads = 0
        self.writes: list[str] = []
        self.ignored: set[str] = set()
        self.answer: Callable[[Call], None] = lambda _: None
        self.after: Callable[[Call], None] = lambda _: None
        self.clock = 0.0

    def tick(self) -> float:
        self.clock += 1.0
        return self.clock

    # what StackState uses of `Aws`
    def account(self, regions: Any) -> str:
        return self.account_number

    def reads(self, account: str = "", memo: bool = False) -> World:
        return self

    def call(self, service: str, operation: str, region: str, **params: Any) -> dict[str, Any]:
        if self.hidden_reads:
            self.hidden_reads -= 1
            return {}
        return dict(self.thing)

    def act(self, call: Call, region: str, account: str) -> None:
        self.writes.append(call.operation)
        self.answer(call)
        self.made += call.operation == "create"
        self.thing |= {name: value for name, value in call.params.items() if name not in self.ignored}
        self.after(call)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setitem(KINDS, Thing.name, Thing())
    for kind in (Unnamed(), Group(), Windowed()):
        monkeypatch.setitem(KINDS, kind.name, kind)
    monkeypatch.setattr(progress.time, "sleep", lambda _: None)
    monkeypatch.setattr(StackState, "refuse_away_from_home", lambda self: None)
    return World()


def state(world: World, stack: Stack, kind: str = "test.thing", **desired: Any) -> tuple[StackState, Resource]:
    made = StackState(stack, world, clock=world.tick)  # type: ignore[arg-type]
    resource = Resource(KEY, kind, "us-east-1", "thing", {"Size": 1, **desired})
    made.resources = {KEY: resource}
    return made, resource


def until_stable(made: StackState, resource: Resource, limit: int = 500) -> Any:
    for _ in range(limit):
        outcome = made.reconcile(resource)
        if outcome.status not in ("waiting", "unknown"):
            return outcome
    raise AssertionError("endless waiting")


def refusal(code: str, message: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Operation")


# --- not yet --------------------------------------------------------------------------------------------------------------


def as_answered(answer: tuple[str, str, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    service, operation, _, _ = answer
    monkeypatch.setattr(Thing, "create", lambda self, target: Call(service, operation, dict(target.desired)))


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: f"{answer[1]}-{answer[2]}")
def test_aws_13_given_a_few_times_it_is_waited_out_and_nothing_is_made_twice(
    world: World, stack: Stack, monkeypatch: pytest.MonkeyPatch, answer: tuple[str, str, str, str]
) -> None:
    as_answered(answer, monkeypatch)
    times = 3

    def refuse(_: Call) -> None:
        nonlocal times
        times -= 1
        if times >= 0:
            raise refusal(*answer[2:])

    world.answer = refuse
    outcome = until_stable(*state(world, stack))
    assert outcome.status == "created"
    assert len(world.writes) == 4 and len(outcome.calls) == 1


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: f"{answer[1]}-{answer[2]}")
def test_aws_13_given_for_ever_it_fails_after_the_bound_with_its_own_text(
    world: World, stack: Stack, monkeypatch: pytest.MonkeyPatch, answer: tuple[str, str, str, str]
) -> None:
    as_answered(answer, monkeypatch)

    def refuse(_: Call) -> None:
        raise refusal(*answer[2:])

    world.answer = refuse
    with pytest.raises(AwsCallError) as caught:
        until_stable(*state(world, stack), limit=5000)
    assert answer[3] in str(caught.value)
    assert "(after " in str(caught.value)
    assert world.clock >= 60


# --- answers that never came ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["test.thing", "test.unnamed"])
@pytest.mark.parametrize("lost", [refusal("InternalFailure", "oops", 500), ReadTimeoutError(endpoint_url="x")])
def test_aws_16_a_creation_carried_out_and_not_answered_is_found_and_not_repeated(
    world: World, stack: Stack, kind: str, lost: Exception
) -> None:
    def lose(_: Call) -> None:
        raise lost

    world.after = lose
    world.hidden_reads = 0
    outcome = until_stable(*state(world, stack, kind))
    assert (outcome.status, world.made) == ("in_sync", 1)


def test_aws_16_what_has_no_name_is_looked_for_before_it_is_made_again_even_if_aws_shows_it_late(
    world: World, stack: Stack
) -> None:
    def lose(_: Call) -> None:
        world.hidden_reads = 8
        raise refusal("InternalError", "oops", 500)

    world.after = lose
    until_stable(*state(world, stack, "test.unnamed"))
    assert world.made == 1


@pytest.mark.parametrize("error", [KeyError("KeyMetadata"), ResponseParserError("no element found: line 1, column 0")])
def test_case_c4_a_creation_with_a_garbled_answer_that_is_shown_late_is_not_made_again(
    world: World, stack: Stack, error: Exception
) -> None:
    answers = iter([error])

    def garble(_: Call) -> None:
        if found := next(answers, None):
            world.hidden_reads = 8
            raise found

    world.after = garble
    assert until_stable(*state(world, stack, "test.unnamed")).status == "in_sync"
    assert world.made == 1


@pytest.mark.parametrize("code", ["RequestTimeout", "RequestTimeoutException", "TransactionInProgressException"])
def test_case_c4_a_400_that_says_nothing_of_the_call_is_looked_up(world: World, stack: Stack, code: str) -> None:
    answers = iter([refusal(code, "try again", 400)])

    def fail(_: Call) -> None:
        if found := next(answers, None):
            world.hidden_reads = 8
            raise found

    world.after = fail
    until_stable(*state(world, stack, "test.unnamed"))
    assert world.made == 1


def test_aws_16_a_thing_without_a_name_is_not_made_again_before_aws_had_its_time_to_show_the_first(
    world: World, stack: Stack
) -> None:
    """EC2 API reference, "Eventual consistency": what was created may not be visible to the next calls, for minutes at times."""
    lost = iter([True, False])
    again: list[float] = []

    def lose(_: Call) -> None:
        again.append(world.clock)
        if next(lost):
            raise refusal("InternalError", "oops", 500)

    world.answer = lose
    until_stable(*state(world, stack, "test.unnamed"))
    assert again[1] - again[0] >= 120.0


def test_aws_16_a_creation_that_was_really_lost_is_made_in_the_end(world: World, stack: Stack) -> None:
    lost = iter([True, False])

    def lose(_: Call) -> None:
        if next(lost):
            raise refusal("InternalError", "oops", 500)

    world.answer = lose
    assert until_stable(*state(world, stack, "test.unnamed")).status == "created"
    assert world.made == 1


def test_aws_16_answers_that_never_come_are_unanswered_and_not_a_failure(world: World, stack: Stack) -> None:
    def lose(_: Call) -> None:
        raise refusal("InternalError", "oops", 500)

    world.answer = lose
    with pytest.raises(UnansweredError):
        until_stable(*state(world, stack))


# --- accepted without effect ----------------------------------------------------------------------------------------------


def test_case_d7_a_field_that_aws_takes_and_does_not_show_fails_after_three_writes_and_is_named(
    world: World, stack: Stack
) -> None:
    world.thing, world.ignored = {"Size": 1, "Colour": "red"}, {"Colour"}
    outcome = until_stable(*state(world, stack, Colour="blue"))
    assert world.writes == ["modify"] * 3
    assert outcome.status == "drifted"
    assert "Colour is 'red', should be 'blue'" in outcome.reason
    assert "accepted test.modify 3 times" in outcome.reason
    assert 100 <= world.clock <= 400, "AWS had the time that its services take to become consistent"


def test_case_d7_a_change_that_aws_shows_late_is_written_once(world: World, stack: Stack) -> None:
    world.thing, world.ignored = {"Size": 2}, {"Size"}
    made, resource = state(world, stack)
    assert made.reconcile(resource).status == "waiting"
    world.thing["Size"] = 1
    outcome = until_stable(made, resource)
    assert (outcome.status, world.writes) == ("updated", ["modify"])


def test_case_d7_a_creation_that_aws_never_shows_is_made_once_and_fails(world: World, stack: Stack) -> None:
    world.after = lambda _: world.thing.clear()
    with pytest.raises(AwsCallError, match="accepted its creation"):
        until_stable(*state(world, stack))
    assert world.made == 1


def test_case_d7_a_creation_that_aws_answers_with_already_exists_and_never_shows_is_not_called_ours(
    world: World, stack: Stack
) -> None:
    def refuse(_: Call) -> None:
        raise refusal("EntityAlreadyExists", "thing already exists.")

    world.answer = refuse
    with pytest.raises(AwsCallError) as caught:
        until_stable(*state(world, stack))
    assert "answered that it exists" in str(caught.value) and "thing already exists" in str(caught.value)
    assert "accepted" not in str(caught.value)
    assert world.writes == ["create"]


def test_a_creation_that_aws_answers_with_already_exists_is_found_and_not_reported_as_created(
    world: World, stack: Stack
) -> None:
    def refuse(call: Call) -> None:
        world.thing = dict(call.params)  # somebody else made it at the same time
        raise refusal("EntityAlreadyExists", "thing already exists.")

    world.answer = refuse
    assert until_stable(*state(world, stack)).status == "updated"


def test_case_d7_a_deletion_that_aws_takes_and_does_not_make_is_asked_for_three_times(
    world: World, stack: Stack
) -> None:
    world.thing = {"Size": 1}
    made, resource = state(world, stack)
    with pytest.raises(NoEffectError, match=r"accepted test\.delete 3 times, and it is still there"):
        for _ in range(500):
            assert made.delete(resource).status == "waiting"
    assert world.writes == ["delete"] * 3
    assert 100 <= world.clock <= 400, "AWS had the time that its services take to become consistent"


def test_a_deletion_that_aws_shows_late_is_made_once(world: World, stack: Stack) -> None:
    world.thing = {"Size": 1}
    made, resource = state(world, stack)
    assert made.delete(resource).status == "waiting"
    world.thing = {}
    assert made.delete(resource).status == "absent"
    assert world.writes == ["delete"]


# --- what cannot be corrected ---------------------------------------------------------------------------------------------


def test_case_d4_what_cannot_be_corrected_is_an_outcome_with_a_remedy_and_the_rest_is_corrected(
    world: World, stack: Stack
) -> None:
    world.thing = {"Size": 2, "Zone": "b", "Applied": "pending-reboot"}
    outcome = until_stable(*state(world, stack, Zone="a", Applied="in-sync"))
    assert world.thing["Size"] == 1 and world.writes == ["modify"]
    assert outcome.status == "drifted"
    assert {item.field for item in outcome.drift} == {"Zone", "Applied"}
    assert "Applied: reboot it in the maintenance window" in outcome.reason
    assert "AWS cannot change Zone in place" in outcome.reason


def test_case_d4_a_refused_correction_leaves_what_exists_usable_and_a_refused_creation_does_not(
    world: World, stack: Stack
) -> None:
    def refuse(_: Call) -> None:
        raise refusal("AccessDenied", "no")

    world.answer, world.thing = refuse, {"Size": 2}
    outcome = until_stable(*state(world, stack))
    assert outcome.status == "drifted" and "is not permitted" in outcome.reason
    world.thing = {}
    with pytest.raises(AwsCallError):
        until_stable(*state(world, stack))


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.immutable], ids=lambda kind: kind.name)
def test_case_a1_no_remedy_proposes_to_destroy_data(kind: Kind) -> None:
    from dr_assets.core.converge import remedy

    text = remedy(kind, [Drift(name, "a", "b") for name in sorted(kind.immutable)])
    keeps = {"rds.cluster", "rds.instance", "rds.global_cluster", "s3.bucket", "secretsmanager.password"}
    assert ("delete it" in text or "destroy" in text) == (kind.name not in keeps), text


# --- answers that cannot be understood ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [KeyError("DBClusters"), TypeError("x"), AttributeError("x"), ValueError("S3cret"), IndexError()]
)
def test_case_d5_an_answer_that_cannot_be_understood_makes_its_resource_unknown(
    world: World, stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def garbled(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(world, "call", garbled)
    # Dagster's migrations disable the loggers that exist.
    monkeypatch.setattr("dr_assets.reconcile.stack_state.LOG", logging.getLogger("tests.unreadable"))
    made, _ = state(world, stack)
    with caplog.at_level(logging.ERROR):
        outcome = made.verify([KEY])[0]
    assert outcome.status == "unknown"
    assert type(error).__name__ in outcome.reason and "test_stack_state.py" in outcome.reason
    assert "Traceback" in caplog.text or "test_stack_state.py" in caplog.text
    assert "S3cret" not in outcome.reason + caplog.text


@pytest.mark.parametrize("method", ["update", "explain", "delete", "waiting_to_delete"])
@pytest.mark.parametrize("error", [KeyError("Id"), TypeError("x"), AttributeError("x"), ValueError("S3cret")])
def test_case_d5_an_answer_that_a_correction_or_deletion_cannot_read_makes_its_resource_unknown(
    world: World,
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    method: str,
) -> None:
    def garbled(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(Thing, method, garbled)
    monkeypatch.setattr("dr_assets.core.converge.LOG", logging.getLogger("tests.unreadable"))
    world.thing = {"Size": 2}
    made, resource = state(world, stack)
    with caplog.at_level(logging.ERROR):
        outcome = made.delete(resource) if "delete" in method else made.reconcile(resource)
    assert outcome.status == "unknown" and type(error).__name__ in outcome.reason
    assert "S3cret" not in outcome.reason + caplog.text
    assert world.writes == []


# --- changes that are pending, and creations that settle ---------------------------------------------------------------------


def test_aws_11_a_change_that_another_left_for_the_maintenance_window_is_not_waited_for(
    world: World, stack: Stack
) -> None:
    """The rest of the resource is corrected, and provisioning goes on with what needs it."""
    made, resource = state(world, stack, "test.windowed", Pending=[], Colour="red")
    world.thing = {"Size": 7, "Colour": "red", "Pending": ["Class"]}
    outcome = until_stable(made, resource, limit=2)
    assert outcome.status == "drifted" and "maintenance window" in outcome.reason
    assert world.writes == ["modify"] and world.thing["Size"] == 1


def test_aws_11_a_change_that_this_run_asked_for_is_waited_for_while_it_is_pending(world: World, stack: Stack) -> None:
    """RDS shows a change as pending between its acceptance and the status `modifying`, ApplyImmediately or not."""
    made, resource = state(world, stack, "test.windowed", Pending=[])
    world.thing, world.ignored = {"Size": 7, "Pending": []}, {"Size"}
    world.after = lambda call: world.thing.update(Pending=["Size"])
    for _ in range(5):
        outcome = made.reconcile(resource)
        assert (outcome.status, outcome.reason) == ("waiting", "AWS accepted the change and is making it: Size")
    world.thing = {"Size": 1, "Pending": []}
    outcome = made.reconcile(resource)
    assert (outcome.status, outcome.calls, world.writes) == ("updated", ("test.modify",), ["modify"])


@pytest.mark.parametrize(("variable", "seconds"), [(None, 300), ("30", 30), ("0", 0)])
def test_aws_10_what_needs_a_new_cluster_parameter_group_is_created_five_minutes_later(
    world: World, stack: Stack, monkeypatch: pytest.MonkeyPatch, variable: str | None, seconds: int
) -> None:
    """Aurora user guide, "Creating a DB cluster parameter group": "wait at least 5 minutes before creating a DB cluster"."""
    monkeypatch.delenv("DR_PARAMETER_GROUP_SECONDS", raising=False)
    if variable is not None:
        monkeypatch.setenv("DR_PARAMETER_GROUP_SECONDS", variable)
    made, _ = state(world, stack)
    now = 0.0
    made._clock = lambda: now
    group = Resource("primary/test/group", "test.group", "us-east-1", "group", {"Family": "f"})
    cluster = Resource(KEY, "test.thing", "us-east-1", "thing", {"Size": 1}, after=(group.key,))
    made.resources = {group.key: group, KEY: cluster}
    assert made.reconcile(group).status == "created"
    world.thing = {}
    if seconds:
        now = seconds - 20.0
        outcome = made.reconcile(cluster)
        assert outcome.status == "waiting"
        assert outcome.reason == "primary/test/group was just created and AWS may need 20 s more until it can be used"
        assert world.made == 1
    now = float(seconds)
    assert made.reconcile(cluster).status == "created" and world.made == 2


def test_aws_10_a_cluster_parameter_group_of_an_earlier_run_is_used_at_once(world: World, stack: Stack) -> None:
    made, _ = state(world, stack)
    group = Resource("primary/test/group", "test.group", "us-east-1", "group", {})
    cluster = Resource(KEY, "test.thing", "us-east-1", "thing", {"Size": 1}, after=(group.key,))
    made.resources = {group.key: group, KEY: cluster}
    assert made.reconcile(cluster).status == "created"


# --- deletions -------------------------------------------------------------------------------------------------------------

# Codes of the API references, each of an operation by which this stack deletes; EC2 and IAM show what is gone for a while.
GONE = [
    ("ec2", "delete_subnet", "InvalidSubnetID.NotFound"),
    ("ec2", "delete_vpc_peering_connection", "InvalidVpcPeeringConnectionID.NotFound"),
    ("ec2", "disassociate_route_table", "InvalidAssociationID.NotFound"),
    ("iam", "detach_role_policy", "NoSuchEntity"),
    ("kms", "delete_alias", "NotFoundException"),
    ("logs", "delete_log_group", "ResourceNotFoundException"),
    ("rds", "delete_db_cluster", "DBClusterNotFoundFault"),
    ("rds", "delete_db_instance", "DBInstanceNotFound"),
    ("rds", "delete_event_subscription", "SubscriptionNotFound"),
    ("rds", "remove_from_global_cluster", "GlobalClusterNotFoundFault"),
    ("route53", "delete_health_check", "NoSuchHealthCheck"),
    ("s3", "delete_bucket", "NoSuchBucket"),
    ("sns", "unsubscribe", "NotFound"),
    ("sqs", "delete_queue", "AWS.SimpleQueueService.NonExistentQueue"),
    ("secretsmanager", "delete_secret", "ResourceNotFoundException"),
]


@pytest.mark.parametrize("service, operation, code", GONE)
def test_aws_13_what_is_gone_and_still_shown_counts_as_deleted_once_it_is_no_longer_shown(
    world: World, stack: Stack, monkeypatch: pytest.MonkeyPatch, service: str, operation: str, code: str
) -> None:
    """EC2 developer guide, "Eventual consistency": a describe may show for a while what a delete has taken away."""
    monkeypatch.setattr(Thing, "delete", lambda self, target, observed: Call(service, operation, {}))
    made, resource = state(world, stack)
    world.thing = {"Size": 1}

    def gone(_: Call) -> None:
        if len(world.writes) == 2:
            world.thing = {}
        if len(world.writes) >= 2:
            raise refusal(code, "it does not exist")

    world.answer = gone
    outcomes = []
    while not outcomes or outcomes[-1].status == "waiting":
        outcomes.append(made.delete(resource))
        assert len(outcomes) < 100
    assert outcomes[-1].status == "absent"
    assert world.writes == [operation] * 2


def test_a_deletion_that_is_refused_otherwise_fails(world: World, stack: Stack) -> None:
    made, resource = state(world, stack)
    world.thing = {"Size": 1}

    def refuse(_: Call) -> None:
        raise refusal("AccessDenied", "no")

    world.answer = refuse
    with pytest.raises(AwsCallError):
        made.delete(resource)


# --- what is known of a creation without an answer ------------------------------------------------------------------------------


def test_aws_16_a_creation_that_never_reached_aws_is_made_again_at_once(world: World, stack: Stack) -> None:
    """botocore: no connection was made, so that AWS cannot have carried it out."""
    refused = iter([True, False])

    def refuse(_: Call) -> None:
        if next(refused):
            raise EndpointConnectionError(endpoint_url="x")

    world.answer = refuse
    assert until_stable(*state(world, stack, "test.unnamed")).status == "created"
    assert world.clock < 60


def test_aws_16_the_outcome_says_why_a_creation_is_not_repeated(world: World, stack: Stack) -> None:
    def lose(_: Call) -> None:
        raise refusal("InternalError", "oops", 500)

    world.answer = lose
    outcome = (made := state(world, stack, "test.unnamed"))[0].reconcile(made[1])
    assert outcome.status == "waiting"
    assert "its creation was not answered" in outcome.reason and "could exist twice" in outcome.reason


@pytest.mark.parametrize("token", ["ClientToken", "CallerReference"])
def test_aws_16_a_repeated_creation_carries_the_same_idempotency_token(
    world: World, stack: Stack, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """EC2: a retry with the same client token is carried out once. Route 53: the caller reference likewise."""
    numbers = iter(range(9))
    monkeypatch.setattr(
        Thing, "create", lambda self, target: Call("test", "create", {token: f"t{next(numbers)}", **target.desired})
    )
    sent: list[Any] = []

    def lose(call: Call) -> None:
        sent.append(call.params[token])
        if len(sent) < 3:
            raise refusal("InternalError", "oops", 500)

    world.answer = lose
    assert until_stable(*state(world, stack)).status == "created"
    assert len(sent) == 3 and len(set(sent)) == 1


def test_aws_10_a_cluster_parameter_group_whose_creation_was_not_answered_settles_too(
    world: World, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The five minutes count from the call that AWS may have carried out."""
    monkeypatch.delenv("DR_PARAMETER_GROUP_SECONDS", raising=False)
    made, _ = state(world, stack)
    made._clock = lambda: 0.0
    group = Resource("primary/test/group", "test.group", "us-east-1", "group", {"Family": "f"})
    cluster = Resource(KEY, "test.thing", "us-east-1", "thing", {"Size": 1}, after=(group.key,))
    made.resources = {group.key: group, KEY: cluster}

    def lose(_: Call) -> None:
        raise refusal("InternalError", "oops", 500)

    world.after = lose
    assert made.reconcile(group).status == "in_sync"
    world.thing = {}
    outcome = made.reconcile(cluster)
    assert outcome.status == "waiting" and outcome.reason.startswith("primary/test/group was just created")


def test_case_d7_what_was_deleted_and_made_anew_is_deleted_anew(world: World, stack: Stack) -> None:
    world.thing = {"Size": 1}
    made, resource = state(world, stack)
    world.after = lambda _: world.thing.clear()
    for times in (1, 2, 3, 4):
        world.thing = {"Size": 1}
        assert made.delete(resource).status == "absent"
        assert world.writes == ["delete"] * times


def test_a_refused_read_for_a_deletion_is_an_error_with_a_remedy(
    world: World, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> Any:
        raise refusal("AccessDenied", "no")

    monkeypatch.setattr(Thing, "before_delete", refused)
    world.thing = {"Size": 1}
    made, resource = state(world, stack)
    with pytest.raises(AwsCallError, match="Grant what `dr permissions` prints"):
        made.delete(resource)


def test_case_d6_the_comparison_before_a_provisioning_is_as_patient_as_the_provisioning(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less patient, it would take a slow region for an unknown one, and the whole run would be made for nothing."""
    silences: list[float] = []

    class Stop(Exception):
        pass

    def aws(silence: float = 0.0) -> Any:
        silences.append(silence)
        raise Stop

    monkeypatch.setattr(service, "Aws", aws)
    with pytest.raises(Stop):
        service.nothing_to_provision(stack)
    assert silences == [PROVISIONING_SILENCE]
