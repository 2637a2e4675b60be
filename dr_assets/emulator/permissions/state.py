"""moto's state by service, imported when it is first asked for: nothing here makes the server's start slower."""

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID

ACCOUNT = DEFAULT_ACCOUNT_ID
PARTITION = "aws"


_prepare: list[Callable[[str], None]] = []


def use(prepare: Callable[[str], None]) -> None:
    """Call this with a service's name before its state is read for the first time: it puts the extension in place."""
    _prepare[:] = [prepare]


@lru_cache(maxsize=64)
def _of_service(service: Any) -> Any:
    # A backend that is made while the service's extension is being put in place would stay moto's own for ever.
    for prepare in _prepare:
        prepare(service)
    return get_backend(service)


def backend(service: str, region: str = PARTITION) -> Any:
    """moto's backend of a service in a region; global services have the partition for a region."""
    return _of_service(service)[ACCOUNT][region]


def is_loaded(service: str) -> bool:
    """Whether the service's state can be other than empty."""
    return f"moto.{service}.models" in sys.modules
