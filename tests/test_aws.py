"""AWS clients: a slow region is waited for, a silent one costs a bounded time, and no mutating call is repeated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import botocore.exceptions
import pytest

from dr_assets.aws import Aws, explain
from dr_assets.circuit_breaker import Breaker, RegionDarkError
from dr_assets.core.model import Call
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import UnansweredError

EAST, WEST = "us-east-1", "us-west-2"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(silence=12.0, probe_seconds=15.0, clock=clock)


def time_out(breaker: Breaker, clock: Clock, seconds: float, calls: int = 1) -> None:
    """Send calls to us-east-1 at once, none of which is answered within `seconds`."""
    for _ in range(calls):
        breaker.before_send(EAST)
    clock.now += seconds
    for _ in range(calls):
        breaker.unanswered(EAST)


def open_breaker(breaker: Breaker, clock: Clock) -> None:
    time_out(breaker, clock, 6.0)
    time_out(breaker, clock, 6.0)


def is_open(breaker: Breaker, region: str = EAST) -> bool:
    try:
        breaker.before_send(region)
    except RegionDarkError:
        return True
    return False


def test_case_d6_many_timeouts_at_once_are_not_yet_silence(breaker: Breaker, clock: Clock) -> None:
    time_out(breaker, clock, 6.0, calls=16)
    assert not is_open(breaker)


def test_silence_opens_the_breaker_of_that_region_alone(breaker: Breaker, clock: Clock) -> None:
    open_breaker(breaker, clock)
    with pytest.raises(RegionDarkError, match=r"us-east-1 has not answered for 12 s; it is tried again in 15 s"):
        breaker.before_send(EAST)
    assert not is_open(breaker, WEST)


def test_a_slow_region_never_opens_it(breaker: Breaker, clock: Clock) -> None:
    for _ in range(100):  # most calls time out, but one in ten is answered
        time_out(breaker, clock, 6.0, calls=9)
        breaker.before_send(EAST)
        breaker.answered(EAST)
    assert not is_open(breaker)


def test_an_answer_while_other_calls_hang_proves_that_the_region_is_alive(breaker: Breaker, clock: Clock) -> None:
    breaker.before_send(EAST)  # a write that will take a minute
    clock.now += 59.0
    breaker.before_send(EAST)
    breaker.answered(EAST)
    clock.now += 1.0
    breaker.unanswered(EAST)
    assert not is_open(breaker)


def test_time_without_calls_is_no_silence(breaker: Breaker, clock: Clock) -> None:
    time_out(breaker, clock, 6.0)
    clock.now += 3600.0
    time_out(breaker, clock, 6.0)
    assert not is_open(breaker)
    breaker.answered(EAST)
    time_out(breaker, clock, 6.0)
    clock.now += 10.0
    time_out(breaker, clock, 6.0)
    assert is_open(breaker)


def test_a_refusal_while_another_call_is_slow_is_no_silence(breaker: Breaker, clock: Clock) -> None:
    breaker.before_send(EAST)  # a write that takes long
    clock.now += 8.0
    breaker.before_send(EAST)
    breaker.unanswered(EAST, refused=True)  # a service without an endpoint here
    assert not is_open(breaker)


def test_refused_connections_open_it_sooner_because_waiting_is_pointless(breaker: Breaker, clock: Clock) -> None:
    breaker.before_send(EAST)
    breaker.unanswered(EAST, refused=True)
    assert not is_open(breaker)
    clock.now += 2.0
    breaker.unanswered(EAST, refused=True)
    assert is_open(breaker)


def test_open_it_lets_one_probe_through_at_a_time(breaker: Breaker, clock: Clock) -> None:
    open_breaker(breaker, clock)
    clock.now += 14.9
    assert is_open(breaker)
    clock.now += 0.1
    assert [is_open(breaker) for _ in range(4)] == [False, True, True, True]
    clock.now += 6.0
    breaker.unanswered(EAST)  # the probe failed: a full interval passes before the next
    clock.now += 14.9
    assert is_open(breaker)
    clock.now += 0.1
    assert [is_open(breaker) for _ in range(4)] == [False, True, True, True]


def test_an_answered_probe_closes_it(breaker: Breaker, clock: Clock) -> None:
    open_breaker(breaker, clock)
    clock.now += 15.0
    breaker.before_send(EAST)
    breaker.answered(EAST)
    assert not any(is_open(breaker) for _ in range(4))
    time_out(breaker, clock, 6.0)
    assert not is_open(breaker)  # the silence before the answer counts no more


def test_a_probe_that_never_returns_does_not_block_the_next(breaker: Breaker, clock: Clock) -> None:
    open_breaker(breaker, clock)
    clock.now += 15.0
    breaker.before_send(EAST)
    clock.now += 15.0
    assert not is_open(breaker)


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as aws:
        yield aws


@pytest.fixture
def cloud(embedded: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedAws]:
    for name, value in embedded.env().items():
        monkeypatch.setenv(name, value)
    embedded.control.clear_calls()
    yield embedded
    embedded.control.clear_faults()


def describe(aws: Aws, region: str = WEST) -> None:
    aws.reads().call("rds", "describe_global_clusters", region)


def test_case_d6_answers_slower_than_the_timeout_do_not_make_a_region_dark(cloud: EmbeddedAws) -> None:
    aws = Aws(read_timeout=1.0, attempts=1, silence=1.5)
    prompt = Aws()
    prompt.breaker = aws.breaker  # the same region, asked for something that it answers at once
    cloud.control.fault("slow", region=WEST, service="rds", seconds=3.0)
    for _ in range(4):
        with pytest.raises(botocore.exceptions.ReadTimeoutError):
            describe(aws)
        prompt.reads().call("kms", "list_keys", WEST)


def test_a_dark_region_costs_its_silence_once_and_not_for_every_call(cloud: EmbeddedAws) -> None:
    cloud.control.fault("dark", region=WEST)
    aws = Aws(read_timeout=0.5, attempts=8)
    with pytest.raises(RegionDarkError) as caught:
        describe(aws)
    assert isinstance(explain(caught.value, "rds", "describe_global_clusters", WEST), UnansweredError)
    sent = len(cloud.control.calls())
    assert sent <= 3, "eight attempts were allowed; silence ended them"
    for _ in range(20):
        with pytest.raises(RegionDarkError):
            describe(aws)
    assert len(cloud.control.calls()) == sent
    describe(aws, EAST)


def test_nothing_listening_is_found_out_in_seconds(monkeypatch: pytest.MonkeyPatch, cloud: EmbeddedAws) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises((RegionDarkError, botocore.exceptions.EndpointConnectionError)):
        describe(Aws(silence=120.0))
    assert time.monotonic() - started < 60.0  # eight attempts with their pauses take 70 s at most


def test_a_mutating_call_is_sent_once_whatever_becomes_of_its_answer(
    cloud: EmbeddedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr_assets.aws.WRITE_TIMEOUT", 0.5)
    cloud.control.fault("dark", operation="CreateTopic")
    with pytest.raises(botocore.exceptions.ReadTimeoutError):
        Aws(silence=120.0).act(Call("sns", "create_topic", {"Name": "once"}), EAST, "")
    assert len([call for call in cloud.control.calls() if call["operation"] == "CreateTopic"]) == 1


def test_after_one_refusal_the_calls_to_route_53_are_spaced_by_its_quota(cloud: EmbeddedAws) -> None:
    """Developer guide, "Quotas": five requests a second of the whole account; other programs call as well."""
    cloud.control.answers(route53_calls_per_second=5.0)
    cloud.control.clear_calls()
    aws = Aws()
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        zones = [pool.submit(aws.reads().pages, "route53", "list_hosted_zones", EAST, "HostedZones") for _ in range(24)]
        assert [zone.result() for zone in zones] == [[]] * 24
    seconds = time.monotonic() - started
    cloud.control.answers(route53_calls_per_second=0.0)
    refused = [call for call in cloud.control.calls() if call["error_code"] == "Throttling"]
    assert 0 < len(refused) <= 12, "without spacing each answer costs another refusal"
    assert seconds < 20.0, "the quota alone asks for 4 s"
