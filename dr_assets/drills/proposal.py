"""Store the summary of a lost-writes proposal beside its drill's journal, for the drill's record."""

from __future__ import annotations

from typing import ClassVar

from dr_assets.documents import Document, DocumentError
from dr_assets.drills.journal import Journal
from dr_assets.drills.parts import Reconciliation
from dr_assets.errors import RefusedError
from dr_assets.history.store import Store
from dr_assets.lost_writes.compare import Proposal


class DrillProposal(Document):
    """The counts of the newest proposal made for `drill` (`drills/{stack}/{id}-proposal.json`)."""

    SCHEMA: ClassVar[str] = "dr-assets/drill-proposal/1"
    drill: str
    proposal: Reconciliation


def check_open(store: Store, stack: str, drill: str) -> None:
    """Raises RefusedError where the drill's record is written already, DrError where there is no such drill."""
    if Journal.load(store, stack, drill).document.ended:
        raise RefusedError(f"The drill {drill} has ended and its record never changes. Compare without --drill.")


def attach(store: Store, stack: str, drill: str, made: Proposal) -> None:
    """Keep the proposal's counts for the drill's record. Raises what `check_open` raises."""
    check_open(store, stack, drill)
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


def _key(stack: str, drill: str) -> str:
    return f"drills/{stack}/{drill}-proposal.json"
