"""What the history keeps as JSON beside the samples: the sensors' incidents, verified restores, and what became of corrective
actions.

May import `errors` and its neighbours. A damaged or foreign document is named, set aside under `aside/` and left out, one of a
later version is named and stays; neither is fatal. The records of drills have a module of their own (`drills.record`): they are
a chain, so nothing of them is ever moved.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dr_assets import utc
from dr_assets.errors import DrError
from dr_assets.history.store import Store, set_aside

INCIDENT, RESTORE, ACTION = "dr-assets/incident/1", "dr-assets/restore/1", "dr-assets/action/1"
Document = dict[str, Any]


def incidents(store: Store, stack: str, problems: list[str]) -> list[Document]:
    """Every incident of the sensors, by its beginning: `incidents/STACK/ID.json`, and those that a maintenance window kept quiet
    (`maintenance/STACK/trace/`). Times in epoch seconds, UTC."""
    found: dict[str, Document] = {}
    for key, document in _load(store, f"maintenance/{stack}/trace/", None, _trace, problems):
        told = {"id": key.rsplit("/", 1)[1].rsplit(".", 2)[0], **document["incident"]}
        if told["id"] not in found or told["ended"] is not None:
            found[told["id"]] = told
    for _, document in _load(store, f"incidents/{stack}/", INCIDENT, _incident, problems):
        found[document["id"]] = document
    return sorted(found.values(), key=lambda each: (each["since"], each["id"]))


def restores(store: Store, stack: str, problems: list[str]) -> list[dt.datetime]:
    """When backups were restored and found good: the `ended_at` of each `restores/STACK/ID.json` with `verified` true."""
    found = _load(store, f"restores/{stack}/", RESTORE, _restore, problems)
    return sorted(utc.parse(document["ended_at"]) for _, document in found if document["verified"] is True)


def actions(store: Store, stack: str, problems: list[str]) -> list[Document]:
    """What was said of corrective actions since their records were written, oldest first: `record`, `number` (from 1), `owner`,
    `due`, `done` (each None where it did not change), `note`, `by`, `at`."""
    return [document for _, document in _load(store, f"actions/{stack}/", ACTION, _action, problems)]


def amend_action(store: Store, stack: str, change: Mapping[str, Any]) -> Document:
    """Write down who takes an action upon himself, by when, or that it is done. Nothing is ever overwritten.

    `change`: as in `actions`. Raises DrError for one that is none.
    """
    document: Document = {"schema": ACTION, **change}
    try:
        good = _action(document)
    except (KeyError, ValueError, TypeError):
        good = False
    if not good:
        raise DrError("A change of a corrective action tells its record, number, by and at, and dates as 2026-11-30.")
    at = utc.parse(document["at"])
    for second in range(60):  # two at once: the later one takes the next name
        stamp = f"{at + dt.timedelta(milliseconds=second):%Y%m%dT%H%M%S%f}"
        try:
            store.create(f"actions/{stack}/{stamp}.json", (json.dumps(document, indent=1) + "\n").encode())
        except FileExistsError:
            continue
        return document
    raise DrError(
        f"Others wrote into actions/{stack} at the same moment, again and again. Nothing was written: repeat it."
    )


def _load(
    store: Store, prefix: str, schema: str | None, fits: Callable[[Document], bool], problems: list[str]
) -> Sequence[tuple[str, Document]]:
    found = []
    for key in store.list(prefix):
        try:
            data = store.read(key)
        except KeyError:  # removed since it was listed
            continue
        wrong = "it is not JSON"
        try:
            document = json.loads(data)
            wrong = "it is none of ours" if schema is None else f"it is no {schema}"
            if schema is not None and _is_newer(document, schema):
                problems.append(
                    f"{key}: written as {document['schema']}, newer than {schema}; left out. Update DR Assets to read it."
                )
                continue
            if (schema is None or document["schema"] == schema) and fits(document):
                found.append((key, document))
                continue
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        problems.append(set_aside(store, key, data, wrong, "what it told is not in the report"))
    return found


def _is_newer(document: Any, schema: str) -> bool:
    name, _, version = schema.rpartition("/")
    match = re.fullmatch(rf"{re.escape(name)}/(\d+)", str(document["schema"]))
    return match is not None and int(match[1]) > int(version)


def _incident(document: Document) -> bool:
    return isinstance(document["id"], str) and _is_incident(document)


def _trace(document: Document) -> bool:
    return _is_incident(document["incident"])


def _is_incident(incident: Document) -> bool:
    texts = all(
        isinstance(incident[name], str) for name in ("topic", "severity", "text", "objective", "site", "resource")
    )
    times = all(_is_number(incident[name]) for name in ("since", "opened"))
    return (
        texts
        and times
        and all(incident[name] is None or _is_number(incident[name]) for name in ("ended", "calm", "value"))
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _restore(document: Document) -> bool:
    return isinstance(document["verified"], bool) and utc.parse(document["ended_at"]).tzinfo is not None


def _action(document: Document) -> bool:
    number = document["number"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        return False
    for name in ("due", "done"):
        if document.get(name) is not None:
            dt.date.fromisoformat(document[name])
    return isinstance(document["record"], str) and isinstance(document["by"], str) and bool(utc.parse(document["at"]))
