"""Shared set of regions with a simulated outage: the gateway sets it, cross-region services read it."""

from collections.abc import Callable

_checks: list[Callable[[str], bool]] = []


def use(check: Callable[[str], bool]) -> None:
    """Take `check(region)` for the truth from now on."""
    _checks[:] = [check]


def is_dark(region: str) -> bool:
    """Whether nothing in a region answers. Without a check every region answers."""
    return any(check(region) for check in _checks)
