"""AWS at its worst: throttled, failing, dark."""

import time
from functools import partial

import pytest

from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.reconcile import service
from dr_assets.stack import Stack
from tests.support.stack import provision


@pytest.mark.exhaustive
@pytest.mark.slow
def test_throttled_and_failing_it_still_converges(
    cloud: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # botocore waits up to 20 s between tries; how often it tries is what matters here.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.02)
    cloud.control.fault("throttle", rate=0.20, seed=7)
    cloud.control.fault("error", rate=0.05, seed=11)
    result = provision(stack)
    assert result.success, result.failures
    verification = service.verify(stack)
    assert verification.in_sync, [o for o in verification.outcomes if o.status != "in_sync"]
    codes = {call["error_code"] for call in cloud.control.calls() if call["error_code"]}
    assert len(codes) > 1, "the faults were really there"


@pytest.mark.parametrize("dark", ["us-east-1", "us-west-2"])
def test_a_dark_region_is_unknown_and_the_other_one_right(built: EmbeddedAws, stack: Stack, dark: str) -> None:
    built.control.fault("dark", region=dark)
    started = time.monotonic()
    verification = service.verify(stack)
    seconds = time.monotonic() - started
    built.control.clear_faults()
    # The promise of 30 seconds is a bound on behaviour, not a benchmark: every time-out added up must fit into it.
    assert seconds < 30
    regions = {outcome.key: outcome for outcome in verification.outcomes}
    dark_site = "primary" if dark == "us-east-1" else "secondary"
    light_site = "secondary" if dark_site == "primary" else "primary"
    for key, outcome in regions.items():
        if outcome.key.startswith(dark_site) and "/identity/" not in key and "/dns/" not in key:
            assert outcome.status == "unknown", (key, outcome.status)
        if outcome.key.startswith(light_site) and "/identity/" not in key and "/dns/" not in key:
            assert outcome.status in ("in_sync", "unknown"), (key, outcome)
    light = [o for o in verification.outcomes if o.key.startswith(light_site)]
    # Only what refers to the dark region, or to a service whose control plane lives there, may be unknown.
    told = [o for o in light if o.status == "unknown"]
    assert all(dark in o.reason or dark_site in o.reason or "us-east-1" in o.reason for o in told), told
    assert len(told) <= len(light) / 3
    assert not any(o.status in ("absent", "drifted") for o in verification.outcomes)


def test_an_unanswered_verification_fails_its_step_and_is_no_drift(built: EmbeddedAws, stack: Stack) -> None:
    from dr_assets.cli.run_job import run_job

    built.control.fault("error", service="kms", region="us-west-2", rate=1.0)
    result = run_job(stack, "verify_stack", {})
    built.control.clear_faults()
    assert not result.success
    assert any("secondary/encryption/data-key is unknown" in text for text in result.failures)
    assert "secondary/encryption/data-key:desired_state" not in result.failed_checks


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_slow_region_is_waited_for_and_every_resource_is_known(built: EmbeddedAws, stack: Stack) -> None:
    built.control.fault("slow", region=stack.secondary_region, seconds=6.0)
    verification = service.verify(stack)
    built.control.clear_faults()
    assert verification.in_sync, [o for o in verification.outcomes if o.status != "in_sync"]


def test_answers_that_come_too_late_are_asked_for_again(
    built: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of all answers exceed the read timeout, so that several in a row do; none of that makes a region dark."""
    monkeypatch.setattr(service, "Aws", partial(Aws, read_timeout=1.5, silence=30.0))
    built.control.fault("slow", rate=0.3, seconds=2.5, seed=3)
    verification = service.verify(stack)
    built.control.clear_faults()
    assert verification.in_sync, [o for o in verification.outcomes if o.status != "in_sync"]
