"""The pure parts: windows, request identification, fault parsing, the list of what is emulated."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_assets.emulator import DIFFERS, EMULATED
from dr_assets.emulator.gateway.faults import Fault
from dr_assets.emulator.gateway.wire import Call, error_answer, error_code, identify
from dr_assets.emulator.rds.windows import window_error


@pytest.mark.parametrize(
    ("backup", "maintenance", "message"),
    [
        ("03:00-04:00", "mon:04:00-mon:05:00", None),  # they touch
        ("03:00-04:00", "mon:02:00-mon:03:00", None),
        ("03:00-04:00", "mon:03:59-mon:05:00", "overlap"),
        ("23:30-00:30", "sun:23:45-mon:00:15", "overlap"),
        ("23:30-00:30", "sun:00:00-sun:00:30", "overlap"),
        ("00:00-00:30", "sun:23:00-mon:00:00", None),
        ("00:00-00:30", "sun:23:00-mon:00:10", "overlap"),
        ("03:00-03:10", None, "30 minutes"),
        (None, "mon:04:00-mon:04:10", "30 minutes"),
        ("3-4", None, "format"),
        (None, "monday", "format"),
        (None, "xxx:04:00-mon:05:00", "format"),
    ],
)
def test_windows(backup: str | None, maintenance: str | None, message: str | None) -> None:
    error = window_error(backup, maintenance)
    assert error is None if message is None else message in (error or "")


minutes = st.integers(0, 24 * 60 - 1)


@given(start=minutes, length=st.integers(30, 600), day=st.integers(0, 6), at=minutes, lasts=st.integers(30, 600))
def test_windows_overlap_as_a_minute_by_minute_count_says(
    start: int, length: int, day: int, at: int, lasts: int
) -> None:
    days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

    def clock(minute: int) -> str:
        return f"{minute % 1440 // 60:02}:{minute % 60:02}"

    begin, end = day * 1440 + at, day * 1440 + at + lasts
    maintenance = f"{days[day]}:{clock(at)}-{days[end // 1440 % 7]}:{clock(end)}"
    busy = {minute % 1440 for minute in range(start, start + length)}
    overlap = any(minute % 1440 in busy for minute in range(begin, end))
    assert (window_error(f"{clock(start)}-{clock(start + length)}", maintenance) is not None) == overlap


def environ(**more: str) -> dict[str, str]:
    scope = "AWS4-HMAC-SHA256 Credential=AKIA/20261123/us-west-2/rds/aws4_request, SignedHeaders=host, Signature=x"
    return {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "HTTP_AUTHORIZATION": scope, **more}


def test_identify_reads_scope_and_action() -> None:
    form = environ(CONTENT_TYPE="application/x-www-form-urlencoded; charset=utf-8")
    call = identify(form, b"Action=SwitchoverGlobalCluster&Version=2014-10-31")
    assert (call.region, call.service, call.operation, call.access_key) == (
        "us-west-2",
        "rds",
        "SwitchoverGlobalCluster",
        "AKIA",
    )
    assert call.mutating and call.protocol == "query"


def test_identify_survives_what_is_no_aws_request() -> None:
    call = identify({"REQUEST_METHOD": "GET", "PATH_INFO": "/x", "HTTP_AUTHORIZATION": "Bearer y"}, b"")
    assert (call.region, call.service, call.operation) == ("?", "?", "?")


def test_identify_reads_presigned_requests() -> None:
    query = "X-Amz-Credential=AKIA%2F20261123%2Fus-west-2%2Fs3%2Faws4_request&X-Amz-Signature=z"
    call = identify({"REQUEST_METHOD": "GET", "PATH_INFO": "/b/k", "QUERY_STRING": query, "SERVER_NAME": "x"}, b"")
    assert (call.region, call.service, call.access_key) == ("us-west-2", "s3", "AKIA")


@pytest.mark.parametrize("protocol", ["query", "ec2", "json", "cbor", "rest-xml", "rest-json"])
def test_error_code_reads_back_what_error_answer_wrote(protocol: str) -> None:
    call = Call("r", "s3" if protocol == "rest-xml" else "x", "Op", "A", protocol)
    answer = error_answer(call, 400, "SomeCode", "a <message> & more")
    assert error_code(answer.status, answer.headers, answer.body) == "SomeCode"
    assert error_code(200, answer.headers, answer.body) is None


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"mode": "x"},
        {"mode": "slow", "rate": "high"},
        {"mode": "slow", "seconds": -1},
        {"mode": "dark", "wrong": 1},
    ],
)
def test_fault_refuses(data: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Fault.parse(data)


def test_the_list_of_what_is_emulated_reads_as_text() -> None:
    lines = [line for lines in EMULATED.values() for line in lines]
    assert len(lines) == len(set(lines)) and all(line == line.strip() and not line.endswith(".") for line in lines)


def test_every_behaviour_names_its_source_or_says_that_it_is_a_guess() -> None:
    lines = [*(line for lines in EMULATED.values() for line in lines), *DIFFERS]
    assert [line for line in lines if not line.endswith("]")] == []


def test_the_client_side_needs_no_moto() -> None:
    code = "import sys, dr_assets.emulator; sys.exit(any(m in sys.modules for m in ('moto', 'boto3', 'flask', 'werkzeug')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0
