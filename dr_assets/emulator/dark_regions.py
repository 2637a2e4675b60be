"""Which regions do not answer: set by the gateway from its faults, read by services that act across regions."""

from collections.abc import Callable

_checks: list[Callable[[str], bool]] = []


def use(check: Callable[[str], bool]) -> None:
    """Take `check(region)` for the truth from now on."""
    _checks[:] = [check]


def is_dark(region: str) -> bool:
    """Whether nothing in a region answers. Without a check every region answers."""
    return any(check(region) for check in _checks)
