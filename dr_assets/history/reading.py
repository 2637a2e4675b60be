"""Read objects of the history one by one: what cannot be used is refused by name, and the others are read all the same.

Any process or person may have left any bytes under any key. A reader says what it expects as a function of (bytes, key) that
raises DocumentError, such as `Window.from_bytes`; whether the content belongs at its key is a part of that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from dr_assets import escape
from dr_assets.documents import DocumentError, NewerDocumentError
from dr_assets.errors import DrError, UnansweredError
from dr_assets.history.store import Store, quarantine

T = TypeVar("T")
Read = Callable[[bytes, str], T]

log = escape.logger(__name__)


@dataclass(frozen=True)
class Refused:
    """An object that is not used. `reason` is a sentence that names it.

    kind  `damaged`: not what belongs at this key, whether cut off, of another stack or no document at all
          `newer`: of a later version of this product, which reads it
          `unreadable`: the store keeps it back (permissions, an archived object, a folder in its place)
    """

    key: str
    reason: str
    kind: Literal["damaged", "newer", "unreadable"]
    data: bytes | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return escape.line(self.reason)


@dataclass(frozen=True)
class Found(Generic[T]):
    """What is below a prefix: the objects that can be used, by key, and the others."""

    items: dict[str, T]
    refused: tuple[Refused, ...]


def read_one(store: Store, key: str, read: Read[T]) -> T | Refused | None:
    """The object at `key`. None: there is none. Raises UnansweredError while the store does not answer."""
    try:
        data = store.read(key)
    except KeyError:
        return None
    except UnansweredError:
        raise
    except DrError as error:  # the store answers, and keeps back this object alone
        return Refused(key, f"{key}: {error}", "unreadable")
    try:
        return read(data, key)
    except NewerDocumentError as error:
        return Refused(key, str(error), "newer", data)
    except DocumentError as error:
        return Refused(key, str(error), "damaged", data)


def read_all(store: Store, prefix: str, read: Read[T], wanted: Callable[[str], bool] | None = None) -> Found[T]:
    """The objects below `prefix` in the order of their keys; `wanted` chooses by key. Raises DrError where the store does not list."""
    items: dict[str, T] = {}
    refused: list[Refused] = []
    for key in store.list(prefix):
        if wanted is None or wanted(key):
            found = read_one(store, key, read)
            if isinstance(found, Refused):
                refused.append(found)
            elif found is not None:  # None: removed since it was listed
                items[key] = found
    return Found(items, tuple(refused))


def set_aside(store: Store, refused: Refused, until: str) -> str:
    """Quarantine a damaged object; any other stays where it is. Returns one sentence with its name, the reason and `until`.

    For the sensors' own folders. Records, journals, locks and armings are named only: what they meant needs a person.
    """
    if refused.kind != "damaged" or refused.data is None:
        log.warning("%s", refused)
        return str(refused)
    reason = refused.reason.removeprefix(refused.key).removeprefix(":").strip(" .")
    return quarantine(store, refused.key, refused.data, reason, until)
