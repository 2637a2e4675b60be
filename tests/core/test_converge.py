"""The reconcile loop against a fake driver: one look, at most one mutating call, and every refusal."""

from collections.abc import Sequence
from typing import Any

import pytest

from dr_assets.core.converge import converge, remove
from dr_assets.core.expressions import ByRole, Ref, UnknownScope, Unresolved
from dr_assets.core.model import Call, Drift, Kind, Observed, Reads, Resource, Target
from dr_assets.errors import ForeignResourceError, NoEffectError, NotYetError, RefusedError, UnansweredError

TAGS = {"ManagedBy": "dr-assets", "TaskID": "s1"}


class Thing(Kind):
    name = "test.thing"
    label = "thing"
    immutable = frozenset({"Zone"})
    owned = frozenset({"Version"})

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        raise NotImplementedError

    def create(self, target: Target) -> Call:
        return Call("test", "create", dict(target.desired))

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        return Call("test", "update", {item.field: item.desired for item in drift})

    def delete(self, target: Target, observed: Observed) -> Call | None:
        return Call("test", "delete", {})

    def waiting(self, observed: Observed) -> str | None:
        return "still creating" if observed.get("Status") == "creating" else None


class Driver:
    account = "123456789012"

    def __init__(self, observed: Any, adopt: bool = False, writer: str = "primary") -> None:
        self.observed, self.adopt, self.writer, self.calls = observed, adopt, writer, []

    reads: Any = None

    def away(self) -> bool:
        return self.writer != "primary"

    def role(self, site: str) -> Any:
        return "writer" if site == self.writer else "reader"

    def field(self, key: str, field: str) -> Any:
        return Unresolved(key, field)

    def kind(self, name: str) -> Kind:
        return Thing()

    def observe(self, resource: Resource) -> Any:
        if isinstance(self.observed, Exception):
            raise self.observed
        return self.observed

    def act(self, target: Target, call: Call, drift: Sequence[Drift] = ()) -> None:
        self.calls.append(call)


def thing(**desired: Any) -> Resource:
    return Resource("primary/test/thing", "test.thing", "us-east-1", "thing", {"Size": 1, "Tags": TAGS, **desired})


def seen(**fields: Any) -> dict[str, Any]:
    return {"Size": 1, "Tags": TAGS, **fields}


@pytest.mark.parametrize("write", [False, True])
def test_in_sync_makes_no_call(write: bool) -> None:
    driver = Driver(seen())
    assert converge(thing(), driver, write).status == "in_sync"
    assert driver.calls == []


def test_verify_never_writes() -> None:
    for observed, status in ((None, "absent"), (seen(Size=2), "drifted"), (seen(Status="creating", Size=2), "waiting")):
        driver = Driver(observed)
        assert converge(thing(), driver, write=False).status == status
        assert driver.calls == []


def test_absent_is_created_with_one_call() -> None:
    driver = Driver(None)
    assert converge(thing(), driver, write=True).status == "created"
    assert [call.operation for call in driver.calls] == ["create"]


def test_drift_is_corrected_with_one_call_and_named() -> None:
    driver = Driver(seen(Size=2))
    outcome = converge(thing(), driver, write=True)
    assert (outcome.status, [d.field for d in outcome.drift]) == ("updated", ["Size"])
    assert driver.calls == [Call("test", "update", {"Size": 1})]


@pytest.mark.parametrize("error", [UnansweredError("timeout"), UnknownScope("x/y/z", "timeout")])
@pytest.mark.parametrize("write", [False, True])
def test_no_answer_is_unknown_and_nothing_is_done(error: Exception, write: bool) -> None:
    driver = Driver(error)
    assert converge(thing(), driver, write).status == "unknown"
    assert driver.calls == []


def test_not_ready_is_left_alone() -> None:
    driver = Driver(seen(Status="creating", Size=2))
    assert converge(thing(), driver, write=True).status == "waiting"
    assert driver.calls == []


@pytest.mark.parametrize(
    "tags", [{}, {"ManagedBy": "them", "TaskID": "s1"}, {"ManagedBy": "dr-assets", "TaskID": "other"}]
)
def test_what_belongs_to_somebody_else_is_not_touched(tags: dict[str, str]) -> None:
    driver = Driver(seen(Tags=tags, Size=2))
    with pytest.raises(ForeignResourceError, match=r"primary/test/thing.*Nothing was touched"):
        converge(thing(), driver, write=True)
    with pytest.raises(ForeignResourceError):
        remove(thing(), driver)
    assert driver.calls == []


def test_terraform_keeps_what_it_manages_unless_adopted() -> None:
    observed = seen(Tags={**TAGS, "ManagedBy": "terraform"}, Size=2)
    with pytest.raises(RefusedError, match="--adopt"):
        converge(thing(), Driver(observed), write=True)
    assert converge(thing(), Driver(observed, adopt=True), write=True).status == "updated"
    assert converge(thing(), Driver({**observed, "Size": 1}), write=True).status == "in_sync"


def test_what_aws_cannot_change_is_told_and_not_tried() -> None:
    driver = Driver(seen(Zone="b"))
    with pytest.raises(RefusedError, match="Zone is 'b', should be 'a'"):
        converge(thing(Zone="a"), driver, write=True)
    assert driver.calls == []


def test_what_can_be_changed_goes_first() -> None:
    driver = Driver(seen(Zone="b", Size=2))
    converge(thing(Zone="a"), driver, write=True)
    assert driver.calls == [Call("test", "update", {"Size": 1})]


class Deaf(Driver):
    """Takes every call that sets Colour, and has taken it often enough."""

    def act(self, target: Target, call: Call, drift: Sequence[Drift] = ()) -> None:
        if "Colour" in call.params:
            raise NoEffectError("Colour is 'red', should be 'blue'")
        super().act(target, call, drift)


def test_case_d7_a_field_without_effect_keeps_the_others_from_nothing() -> None:
    driver = Deaf(seen(Colour="red", Size=2))
    assert converge(thing(Colour="blue"), driver, write=True).status == "updated"
    assert driver.calls == [Call("test", "update", {"Size": 1})]
    with pytest.raises(NoEffectError, match="Colour"):
        converge(thing(Colour="blue"), Deaf(seen(Colour="red")), write=True)


def test_owned_fields_are_no_drift() -> None:
    assert converge(thing(Version="1"), Driver(seen(Version="2")), write=True).status == "in_sync"


def test_a_need_that_is_absent_is_named() -> None:
    driver = Driver(None)
    with pytest.raises(RefusedError, match="VpcId of primary/network/vpc"):
        converge(thing(VpcId=Ref("primary/network/vpc", "VpcId")), driver, write=True)
    assert driver.calls == []


def test_remove_goes_one_step() -> None:
    assert remove(thing(), Driver(None)).status == "absent"
    driver = Driver(seen())
    assert remove(thing(), driver).status == "updated"
    assert [call.operation for call in driver.calls] == ["delete"]


BY_ROLE = ByRole("primary", writer="notBreaching", reader="breaching")


def test_after_a_switchover_what_was_right_for_the_former_role_is_no_drift() -> None:
    outcome = converge(thing(Missing=BY_ROLE), Driver(seen(Missing="notBreaching"), writer="secondary"), write=False)
    assert outcome.status == "in_sync"
    assert "Missing still set for the role the site had before" in outcome.reason


def test_at_home_the_other_roles_value_is_drift() -> None:
    outcome = converge(thing(Missing=BY_ROLE), Driver(seen(Missing="breaching")), write=False)
    assert [d.field for d in outcome.drift] == ["Missing"]


def test_away_from_home_a_value_right_for_no_role_is_drift_and_others_are_not_excused() -> None:
    driver = Driver(seen(Missing="ignore", Size=2), writer="secondary")
    assert [d.field for d in converge(thing(Missing=BY_ROLE), driver, write=False).drift] == ["Missing", "Size"]
    driver = Driver(seen(Missing="notBreaching", Size=2), writer="secondary")
    assert [d.field for d in converge(thing(Missing=BY_ROLE), driver, write=False).drift] == ["Size"]


def test_writing_away_from_home_turns_it_round() -> None:
    driver = Driver(seen(Missing="notBreaching"), writer="secondary")
    assert converge(thing(Missing=BY_ROLE), driver, write=True).status == "updated"
    assert driver.calls == [Call("test", "update", {"Missing": "breaching"})]


@pytest.mark.parametrize("present", [True, False])
def test_aws_a_field_that_an_existing_resource_does_not_show_yet_is_waited_for(present: bool) -> None:
    """ "Until you create the primary DB instance, the DB cluster endpoints remain in the Creating status" (Aurora user guide, "Creating a
    DB cluster"): the secret needs the endpoint's name, and AWS makes the instances meanwhile. What is absent is not waited for."""

    class Incomplete(Driver):
        def field(self, key: str, field: str) -> Any:
            return Unresolved(key, field, present=present)

    driver = Incomplete(None)
    secret = thing(Host=Ref("secondary/aurora/cluster", "Endpoint"))
    with pytest.raises(NotYetError if present else RefusedError) as caught:
        converge(secret, driver, write=True)
    assert "Endpoint of secondary/aurora/cluster" in str(caught.value)
    assert driver.calls == []
