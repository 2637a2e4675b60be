"""What a drill has done so far, on disk before it does the next thing: so that a killed drill is resumed, never repeated.

May import `errors` and `history.store`. One JSON document per drill, replaced atomically at every entry.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime
from typing import Any

from dr_assets import utc
from dr_assets.errors import DrError
from dr_assets.history.store import Store

SCHEMA = "dr-assets/journal/1"


class Journal:
    """The state of one drill (`drills/{stack}/{id}.json`).

    `data["steps"]` maps a step's name to {"intended": [UTC times], "done": UTC time or None, "result": {…}}. A step that was
    intended and not done must be looked for in the world before it is taken again.
    """

    def __init__(self, store: Store, stack: str, drill: str, data: dict[str, Any]) -> None:
        self._store, self.drill, self.data = store, drill, data
        self._key = _key(stack, drill)
        self._lock = threading.Lock()

    @classmethod
    def begin(cls, store: Store, stack: str, drill: str, plan: dict[str, Any]) -> Journal:
        """A new drill's journal. Raises FileExistsError when there is one of that id."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "id": drill,
            "stack": stack,
            "plan": plan,
            "steps": {},
            "timeline": [],
            "calls": [],
            "ended": None,
        }
        store.create(_key(stack, drill), _encode(data))
        return cls(store, stack, drill, data)

    @classmethod
    def load(cls, store: Store, stack: str, drill: str) -> Journal:
        """An earlier drill's journal. Raises DrError when there is none or it is not one."""
        key = _key(stack, drill)
        try:
            data = json.loads(store.read(key))
        except KeyError:
            known = ", ".join(unfinished(store, stack)) or "none"
            raise DrError(f"There is no drill {drill} of stack {stack} in {store.uri}. Unfinished: {known}.") from None
        except ValueError as error:
            raise DrError(
                f"{key} in {store.uri} is not a drill's journal ({error}). Restore it from a backup."
            ) from error
        if data.get("schema") != SCHEMA:
            raise DrError(
                f"{key} has the schema {data.get('schema')!r}, not {SCHEMA!r}: use the version that wrote it."
            )
        return cls(store, stack, drill, data)

    def intend(self, step: str) -> bool:
        """Say that `step` is about to be taken. True when it was intended before: look before repeating it."""
        with self._lock:
            entry = self.data["steps"].setdefault(step, {"intended": [], "done": None, "result": {}})
            again = bool(entry["intended"])
            entry["intended"].append(utc.now_text())
            self._save()
            return again

    def done(self, step: str, **result: Any) -> None:
        """Say that `step` is complete, with what later steps and the record need of it."""
        with self._lock:
            self.data["steps"][step] |= {"done": utc.now_text(), "result": result}
            self._save()

    def is_done(self, step: str) -> bool:
        return bool(self.data["steps"].get(step, {}).get("done"))

    def result(self, step: str) -> dict[str, Any]:
        """What `done` was given; empty when the step is not done."""
        found: dict[str, Any] = self.data["steps"].get(step, {}).get("result", {})
        return found

    def note(self, text: str, source: str, mark: str | None = None, at: datetime | None = None) -> None:
        """Add to the timeline; `mark` (T0 … T6) is kept where first set."""
        with self._lock:
            if mark and any(entry["mark"] == mark for entry in self.data["timeline"]):
                mark = None
            self.data["timeline"].append(
                {"mark": mark, "at": utc.to_text(at) if at else utc.now_text(), "source": source, "text": text}
            )
            self._save()

    def add_calls(self, calls: list[dict[str, Any]]) -> None:
        with self._lock:
            self.data["calls"].extend(calls)
            self._save()

    def end(self, status: str) -> None:
        """The drill is over; it can be neither resumed nor aborted any more."""
        with self._lock:
            self.data["ended"] = {"status": status, "at": utc.now_text()}
            self._save()

    def _save(self) -> None:
        self._store.write(self._key, _encode(self.data))


def unfinished(store: Store, stack: str) -> list[str]:
    """Ids of the stack's drills that have not ended, oldest first."""
    found = []
    for key in store.list(f"drills/{stack}/"):
        try:
            data = json.loads(store.read(key))
        except (KeyError, ValueError):
            continue
        if data.get("schema") == SCHEMA and not data.get("ended"):
            found.append(str(data["id"]))
    return found


def _key(stack: str, drill: str) -> str:
    return f"drills/{stack}/{drill}.json"


def _encode(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()
