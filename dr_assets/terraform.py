"""Terraform import blocks for what exists in AWS, and Terraform's own drift converted to drift of assets.

Pure but for `refresh_only`, which runs the terraform binary in a working directory it is given. Addresses stand on the rows
of the catalogue, types and import ids on the kinds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from dr_assets import escape
from dr_assets.core.expressions import canonical
from dr_assets.core.model import Drift, Resource, Target
from dr_assets.errors import DrError
from dr_assets.reconcile.stack_state import StackState

DIRECTORY_VARIABLE = "DR_TERRAFORM_DIR"


def addresses(resources: Iterable[Resource]) -> dict[str, str]:
    """Address in `infra/` -> key of the asset. One asset may have several (a peering and its accepter)."""
    return {address: resource.key for resource in resources for address in resource.terraform}


# --- import blocks ---------------------------------------------------------------------------------------------------


# Importing a secret's version would read its text, the password included, into the state. Terraform writes versions of its
# own instead, with the password it reads back: nothing changes but the version.
_IMPORTS_HEAD = """# Adopts what `dr provision` built. The secrets' versions are left out on purpose: importing them would put the
# password into the state. Terraform writes new versions with the same password, read back from the current one.
"""


def import_id(state: StackState, key: str) -> str:
    """The id under which `terraform import` finds the asset. Raises DrError where it is absent."""
    resource = state.resources[key]
    observed = state.observe(resource)
    if observed is None:
        raise DrError(f"{key} is absent, so there is nothing to import. Run `dr provision` first.")
    target = Target(key, resource.kind, resource.region, state.name(resource), state.identity(resource))
    return state.kind(resource.kind).import_id(target, observed)


def imports(state: StackState) -> str:
    """Import blocks for what the stack has in AWS, to be put beside `infra/*.tf`; never the secrets' versions.

    Raises DrError where something is absent or AWS does not answer.
    """
    state.snapshot()
    wanted = [resource for resource in state.resources.values() if state.kind(resource.kind).importable]
    blocks = [(address, import_id(state, key)) for address, key in addresses(wanted).items()]
    return (
        _IMPORTS_HEAD
        + "\n"
        + "\n".join(f"import {{\n  to = {where}\n  id = {escape.hcl(what)}\n}}\n" for where, what in blocks)
    )


# --- drift as Terraform sees it --------------------------------------------------------------------------------------


def plan_drift(resources: Mapping[str, Resource], plan: Mapping[str, Any]) -> dict[str, tuple[Drift, ...]]:
    """`resource_drift` of `terraform show -json` as drifts by asset key; attributes in Terraform's names.

    Only attributes that the configuration sets can drift: the rest of what a refresh brings in belongs to AWS or to another
    resource (a bucket's policy, a route table's routes). What `ignore_changes` leaves to AWS is no drift either: a plan's
    JSON does not show it, so the rows hold it (`terraform_ignores`). Null and empty mean the same. A resource that is gone
    shows as one drift of the field "exists". Values that Terraform calls sensitive are not shown.
    """
    by_address = addresses(resources.values())
    configured = _configured(plan.get("configuration", {}).get("root_module", {}))
    found: dict[str, tuple[Drift, ...]] = {}
    for item in plan.get("resource_drift", ()):
        key = by_address.get(item["address"])
        if key is None:
            continue
        change = item["change"]
        if "delete" in change["actions"]:
            drift: tuple[Drift, ...] = (Drift("exists", True, False),)
        else:
            set_here = configured.get(_INDEX.sub("", item["address"]), frozenset())
            drift = _changed(change, set_here - resources[key].terraform_ignores)
        if drift:
            found[key] = found.get(key, ()) + drift
    return found


_INDEX = re.compile(r"\[[^]]*\]")


def _configured(module: Mapping[str, Any], prefix: str = "") -> dict[str, frozenset[str]]:
    """Address without index -> the attributes and blocks its resource block sets."""
    found = {
        prefix + resource["address"]: frozenset(resource.get("expressions", ()))
        for resource in module.get("resources", ())
    }
    for name, call in module.get("module_calls", {}).items():
        found |= _configured(call.get("module", {}), f"{prefix}module.{name}.")
    return found


def _changed(change: Mapping[str, Any], names: Set[str]) -> tuple[Drift, ...]:
    before, after = change.get("before") or {}, change.get("after") or {}
    hidden = {
        name
        for side in ("before_sensitive", "after_sensitive")
        for name, marks in _entries(change.get(side))
        if _any(marks)
    }
    return tuple(
        Drift(name, *(("<sensitive>",) * 2 if name in hidden else (before.get(name), after.get(name))))
        for name in sorted({*before, *after} & names)
        if _normal(before.get(name)) != _normal(after.get(name))
    )


def _entries(marks: Any) -> list[tuple[str, Any]]:
    return list(marks.items()) if isinstance(marks, Mapping) else []


def _any(marks: Any) -> bool:
    """Whether any part is marked: Terraform mirrors the value's structure, with true where it is sensitive."""
    if isinstance(marks, Mapping):
        return any(_any(item) for item in marks.values())
    if isinstance(marks, list):
        return any(_any(item) for item in marks)
    return bool(marks)


def _normal(value: Any) -> str:
    """Null, empty text, empty list and empty map are one; policies are compared as the JSON they are."""
    if value in (None, "", [], {}, False, 0):
        return ""
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return canonical(json.loads(value))
        except json.JSONDecodeError:
            return canonical(value)
    if isinstance(value, Mapping):
        return canonical({name: item for name, item in value.items() if _normal(item)})
    return canonical(value)


def working_directory() -> Path | None:
    """The initialised Terraform directory named by DR_TERRAFORM_DIR, or None."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    return Path(named) if named else None


def refresh_only(directory: Path) -> dict[str, Any]:
    """`terraform plan -refresh-only` there, as JSON. Raises DrError: no terraform, no such directory, not initialised."""
    if shutil.which("terraform") is None:
        raise DrError("terraform is not on the PATH. Install Terraform 1.11 or newer, or unset DR_TERRAFORM_DIR.")
    if not (directory / ".terraform").is_dir():
        raise DrError(
            f"{directory} is not an initialised Terraform directory. Run `terraform init` there, or correct {DIRECTORY_VARIABLE}."
        )
    plan = directory / ".dr-refresh.tfplan"
    try:
        _terraform(directory, "plan", "-refresh-only", "-input=false", "-no-color", "-lock=false", f"-out={plan.name}")
        document: dict[str, Any] = json.loads(_terraform(directory, "show", "-json", plan.name))
        return document
    finally:
        plan.unlink(missing_ok=True)


def _terraform(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["terraform", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DrError(f"terraform {arguments[0]} failed in {directory}: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout
