"""Compares desired with observed state, the same way for every kind. Pure.

Lists are compared without regard to order (nothing in this stack depends on it). `Tags` and `Parameters` are reported
key by key. Tags may have company (cost allocation adds its own); parameters may not: a parameter set beside ours
is drift, because one such (`rds.global_db_rpo`) can block every commit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dr_assets.core.expressions import canonical, is_resolved, plain
from dr_assets.core.model import MANAGERS, Drift, Observed


def compare(desired: Mapping[str, Any], observed: Observed, owned: frozenset[str] = frozenset()) -> tuple[Drift, ...]:
    """The fields in which `observed` differs from `desired`, sorted by name; fields in `owned` are left out."""
    drift: list[Drift] = []
    for name in sorted(desired):
        if name in owned:
            continue
        want, have = desired[name], observed.get(name)
        if name in ("Tags", "Parameters") and isinstance(want, Mapping):
            drift.extend(_by_key(name, want, have or {}))
        elif not same(want, have):
            drift.append(Drift(name, plain(want), plain(have)))
    return tuple(drift)


def same(want: Any, have: Any) -> bool:
    """Equal, lists in any order; policies where they mean the same. Something unresolved equals nothing."""
    return is_resolved(want) and canonical(_meaning(want)) == canonical(_meaning(have))


def _by_key(name: str, want: Mapping[str, Any], have: Mapping[str, Any]) -> list[Drift]:
    keys = set(want) if name == "Tags" else {*want, *have}
    drift = []
    for key in sorted(keys):
        # Either of our two tools may own a resource; anyone else's mark is a difference worth showing.
        if name == "Tags" and key == "ManagedBy" and have.get(key) in MANAGERS:
            continue
        if not same(want.get(key), have.get(key)):
            drift.append(Drift(f"{name}.{key}", plain(want.get(key)), plain(have.get(key))))
    return drift


def normal_policy(document: Any) -> dict[str, Any]:
    """An IAM policy document in one spelling: single values become lists, lists are sorted.

    AWS returns what was sent, or the same rewritten (one-element lists as a text, for example); both mean the same.
    """
    statements = document.get("Statement", []) if isinstance(document, Mapping) else []
    if isinstance(statements, Mapping):
        statements = [statements]
    return {
        "Version": document.get("Version", "2012-10-17"),
        "Statement": [_normal_statement(statement) for statement in statements],
    }


def _normal_statement(statement: Mapping[str, Any]) -> dict[str, Any]:
    normal: dict[str, Any] = {}
    for key, value in statement.items():
        if key in ("Action", "NotAction", "Resource", "NotResource"):
            normal[key] = _listed(value)
        elif key in ("Principal", "NotPrincipal"):
            normal[key] = {kind: _listed(who) for kind, who in value.items()} if isinstance(value, Mapping) else value
        elif key == "Condition":
            normal[key] = {
                operator: {name: _listed(item) for name, item in tests.items()} for operator, tests in value.items()
            }
        else:
            normal[key] = value
    return normal


_ACCOUNT_ROOT = re.compile(r"arn:[\w-]+:iam::(\d{12}):root")


def _meaning(value: Any) -> Any:
    """A policy document without the differences of spelling that IAM does not make; anything else as it is.

    AWS services may answer the one for the other: `"*"` and `{"AWS": "*"}`, an account's number and the ARN of its root (IAM user guide,
    "AWS JSON policy elements: Principal"), names of actions ("Action") and condition keys ("Condition") in any case.
    """
    if not (isinstance(value, Mapping) and isinstance(value.get("Statement"), list)):
        return value
    return {**value, "Statement": [_meaning_of_statement(each) for each in value["Statement"]]}


def _meaning_of_statement(statement: Any) -> Any:
    if not isinstance(statement, Mapping):
        return statement
    meaning = dict(statement)
    for key in ("Principal", "NotPrincipal"):
        if key in meaning:
            who = {"AWS": ["*"]} if meaning[key] == "*" else meaning[key]
            meaning[key] = {
                kind: [_ACCOUNT_ROOT.sub(r"\1", str(each)) for each in (names if isinstance(names, list) else [names])]
                for kind, names in who.items()
            }
    for key in ("Action", "NotAction"):
        if key in meaning:
            meaning[key] = [str(each).lower() for each in meaning[key]]
    if "Condition" in meaning:
        meaning["Condition"] = {
            operator: {name.lower(): item for name, item in tests.items()}
            for operator, tests in meaning["Condition"].items()
        }
    return meaning


def _listed(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    texts = [str(item).lower() if isinstance(item, bool) else item for item in items]
    return sorted(texts, key=canonical)
