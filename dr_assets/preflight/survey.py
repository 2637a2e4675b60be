"""What the preflight checks share: the stack's observed state, memoised reads, and the result of one check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dr_assets.aws import explain
from dr_assets.core.expressions import UnknownScope
from dr_assets.core.model import Observed, Reads, Resource
from dr_assets.errors import AwsCallError, CredentialsError, DrError, UnansweredError
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.row import GLOBAL_REGION
from dr_assets.stack import SITES, Site

# `not_yet`: it cannot be asked before something else exists or passes. It neither passes nor blocks.
Status = Literal["ok", "fails", "unknown", "not_yet", "skipped"]
# The worst first: what several regions found is as bad as the worst of them.
_ORDER: tuple[Status, ...] = ("fails", "unknown", "not_yet", "ok")


@dataclass(frozen=True)
class Finding:
    """The result of one check: a sentence, the remedy where it is not ok, and plain JSON values behind it."""

    status: Status
    detail: str
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def ok(detail: str, **facts: Any) -> Finding:
    return Finding("ok", detail, facts=facts)


def fails(detail: str, remedy: str, **facts: Any) -> Finding:
    return Finding("fails", detail, remedy, facts)


def unknown(detail: str, remedy: str = "", **facts: Any) -> Finding:
    return Finding("unknown", detail, remedy, facts)


def not_yet(detail: str) -> Finding:
    return Finding("not_yet", detail)


def joined(findings: Sequence[Finding]) -> Finding:
    """One finding out of several: the worst status, with the details of those that have it. Facts are merged."""
    worst = min((item.status for item in findings), key=_ORDER.index)
    chosen = [item for item in findings if item.status == worst]
    facts: dict[str, Any] = {}
    for item in findings:
        facts |= item.facts
    details, remedies = (
        list(dict.fromkeys(filter(None, texts))) for texts in zip(*((i.detail, i.remedy) for i in chosen), strict=True)
    )
    return Finding(worst, "; ".join(details), " ".join(remedies), facts)


class Survey:
    """One account and one stack, as the checks see them.

    Args:
        state: the stack's state; a snapshot that is fresh is used as it is.
        only: keys that are about to be written (None: examine everything, whether or not anything is to be created).
    """

    def __init__(self, state: StackState, only: Iterable[str] | None = None) -> None:
        self.state, self.stack = state, state.stack
        self._only = None if only is None else frozenset(only)
        self._reads: Reads | None = None

    @property
    def everything(self) -> bool:
        return self._only is None

    @property
    def reads(self) -> Reads:
        """Equal reads are made once. Raises CredentialsError, UnansweredError."""
        if self._reads is None:
            self._reads = self.state.aws.reads(self.state.account, memo=True)
        return self._reads

    def observed(self, key: str) -> Observed | None:
        """Raises UnansweredError, AwsCallError, UnknownScope."""
        return self.state.observe(self.state.resources[key])

    def absent(self, kind: str, region: str | None = None) -> list[Resource]:
        """Resources of this kind that provisioning would create. For a report, an unknown one counts: it may have to be."""
        return [row for row in self.rows(kind, region) if self._wanted(row) and self._missing(row)]

    def rows(self, kind: str, region: str | None = None) -> list[Resource]:
        rows = self.state.resources.values()
        return [row for row in rows if row.kind == kind and region in (None, row.region)]

    def creates(self, *kinds: str, region: str | None = None) -> bool:
        return any(self.absent(kind, region) for kind in kinds)

    def kinds_to_create(self) -> set[str]:
        return {row.kind for row in self.state.resources.values() if self._wanted(row) and self._missing(row)}

    def _wanted(self, row: Resource) -> bool:
        return self._only is None or row.key in self._only

    def _missing(self, row: Resource) -> bool:
        try:
            return self.state.observe(row) is None
        except (UnansweredError, AwsCallError, UnknownScope, CredentialsError):
            # A region that does not answer must not keep what is healthy from being corrected.
            return self.everything

    def each_site(self, check: Callable[[Site, str], Finding]) -> Finding:
        """The check for both sites as one finding. Where AWS does not answer for one, the other still counts."""

        def at(site: Site) -> Finding:
            region = self.stack.region(site)
            return guarded(lambda: check(site, region), region)

        return joined([at(site) for site in SITES])


def guarded(check: Callable[[], Finding], region: str = GLOBAL_REGION) -> Finding:
    """The finding, or `unknown` with the reason where AWS did not answer, refused, or answered in an odd shape."""
    try:
        return check()
    except UnknownScope as error:
        return unknown(str(error))
    except DrError as error:
        return unknown(str(error).rstrip("."))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        return unknown(f"AWS's answer has an unexpected shape ({type(error).__name__}: {error})")
    except Exception as error:
        operation = getattr(error, "operation_name", "") or "a call"
        return unknown(str(explain(error, "AWS:", operation, region)).rstrip("."))


@dataclass(frozen=True)
class Check:
    """One line of the preflight.

    essential  an unknown result blocks provisioning too, not a failure alone
    when       `write`: before any write; `create`: before something is created; `first`: before the first resource of the stack
               is created (later, each step refuses for itself, and the others go on); `report`: never blocks provisioning
               (what a drill needs, and what provisioning itself repairs)
    """

    name: str
    title: str
    run: Callable[[Survey], Finding]
    essential: bool = False
    when: Literal["write", "create", "first", "report"] = "create"
