"""What blocks a drill, and what an override lifts."""

from dr_assets.drills.parts import Condition, Override
from dr_assets.drills.preconditions import PRECONDITIONS, blocking, current_name

FAILED = Condition(name="alert-subscription-confirmed", passed=False, reason="no confirmed subscription")
UNKNOWN = Condition(name="lag", passed=None, reason="unknown: no reading")
HOLDS = Condition(name="parity", passed=True, reason=None)


def test_failed_and_unknown_block_alike() -> None:
    assert blocking([FAILED, UNKNOWN, HOLDS], []) == [FAILED, UNKNOWN]


def test_an_override_lifts_its_own_precondition_alone() -> None:
    override = Override(precondition="lag", reason="the region is gone", by="lee")
    assert blocking([FAILED, UNKNOWN], [override]) == [FAILED]


def test_an_override_may_still_use_the_earlier_name() -> None:
    override = Override(precondition="someone-hears", reason="known", by="lee")
    assert blocking([FAILED], [override]) == []
    assert current_name("someone-hears") in PRECONDITIONS
    assert "someone-hears" not in PRECONDITIONS
