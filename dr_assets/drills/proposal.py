"""Store the summary of a lost-writes proposal beside its drill's journal, for the drill's record and the report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from dr_assets.documents import Document, DocumentError
from dr_assets.drills.journal import Journal
from dr_assets.drills.parts import Reconciliation
from dr_assets.history.store import Store
from dr_assets.lost_writes.compare import Proposal


class DrillProposal(Document):
    """The counts of the newest proposal made for `drill` (`drills/{stack}/{id}-proposal.json`)."""

    SCHEMA: ClassVar[str] = "dr-assets/drill-proposal/1"
    drill: str
    proposal: Reconciliation


def attach(store: Store, stack: str, drill: str, made: Proposal) -> None:
    """Keep the proposal's counts for the drill's record, and for the report where that is written already.

    Raises DrError where there is no such drill.
    """
    Journal.load(store, stack, drill)
    proposal = Reconciliation(**made.as_json())
    store.write(_key(stack, drill), DrillProposal(drill=drill, proposal=proposal).to_bytes())


def proposed(store: Store, stack: str, drill: str) -> Reconciliation | None:
    """What was attached, or None. Raises DocumentError for a damaged file, and for one of another drill."""
    key = _key(stack, drill)
    try:
        found = DrillProposal.from_bytes(store.read(key), f"{key} in {store.uri}")
    except KeyError:
        return None
    if found.drill != drill:
        raise DocumentError(
            f"{key} in {store.uri} belongs to the drill {found.drill}. Compare again with --drill {drill}."
        )
    return found.proposal


def all_proposed(store: Store, stack: str, drills: Iterable[str], problems: list[str]) -> dict[str, Reconciliation]:
    """The newest proposal of each of these drills that has one. A damaged one is left out and named in `problems`."""
    keys = set(store.list(f"drills/{stack}/"))
    found: dict[str, Reconciliation] = {}
    for drill in drills:
        try:
            if _key(stack, drill) in keys and (proposal := proposed(store, stack, drill)) is not None:
                found[drill] = proposal
        except DocumentError as error:
            problems.append(str(error))
    return found


def _key(stack: str, drill: str) -> str:
    return f"drills/{stack}/{drill}-proposal.json"
