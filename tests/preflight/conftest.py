"""An embedded AWS that is empty before each test, and a full preflight of it."""

from collections.abc import Callable, Iterator

import pytest

from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.preflight import permissions, service
from dr_assets.preflight.report import PreflightReport
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import Stack

Examine = Callable[..., PreflightReport]


@pytest.fixture(scope="module")
def _embedded() -> Iterator[EmbeddedAws]:
    with EmbeddedAws(settle_seconds=0) as aws:
        yield aws


@pytest.fixture
def empty_aws(_embedded: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> EmbeddedAws:
    """Without any resource, fault or changed answer; boto3 finds it by itself."""
    _embedded.control.reset()
    _embedded.control.clear_faults()
    for name, value in _embedded.env().items():
        monkeypatch.setenv(name, value)
    return _embedded


@pytest.fixture
def all_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is a role, and IAM's simulation allows whatever is asked."""
    monkeypatch.setattr(permissions, "principal", lambda _: "arn:aws:iam::123456789012:role/operator")
    monkeypatch.setattr(permissions, "simulate", lambda _, __, actions, *___: dict.fromkeys(actions, "allowed"))


@pytest.fixture
def authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle of certificates: those that certifi brings."""
    certifi = pytest.importorskip("certifi")
    monkeypatch.setenv("DR_TLS_CA", certifi.where())


@pytest.fixture
def examine(stack: Stack) -> Examine:
    """`examine()`, `examine(another_stack, skips={...})`: a full preflight."""

    def run(of: Stack | None = None, **more: object) -> PreflightReport:
        return service.examine(StackState(of or stack, Aws()), **more)  # type: ignore[arg-type]  # passed through

    return run


def failing(report: PreflightReport) -> list[str]:
    return [line.name for line in report.checks if line.status == "fails"]


def status(report: PreflightReport, name: str) -> str:
    return next(line.status for line in report.checks if line.name == name)
