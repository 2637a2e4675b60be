"""Interface of a monitoring source: name, region, deadline, and the call that returns a Reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from dr_assets.aws import Aws, explain, is_answer
from dr_assets.core.freshness import Quantity
from dr_assets.core.model import error_code
from dr_assets.monitoring.samples import STATE, Sample
from dr_assets.stack import SITES, Site, Stack

# The samples of one tick, and how many calls they took. Raises what its client raises.
Answer = tuple[list[Sample], int]
Ask = Callable[[datetime], Answer]
# region: a regional AWS API, so its silence counts towards "the region does not answer".
# site: something at one site that is no AWS API. global: one service for all regions.
Scope = Literal["region", "site", "global"]

DEADLINE_SECONDS = 8.0


@runtime_checkable
class FollowsRoles(Protocol):
    """An ask that depends on who is the writer."""

    def follow_roles(self, writers: Mapping[str, Site]) -> None:
        """Take the site of each stack's writer, as far as the last tick knows it."""


@dataclass(frozen=True)
class Source:
    """One source in one region. What it has not answered within its deadline is unknown."""

    name: str
    region: str
    ask: Ask
    deadline_seconds: float = DEADLINE_SECONDS
    scope: Scope = "site"

    @property
    def key(self) -> str:
        return f"{self.name}@{self.region}"


@dataclass(frozen=True)
class Metric:
    """A metric that a source yields.

    without_rule    why no rule evaluates it; empty: one does
    of_other_site   read at one site about the other: when this site's source fails, this site's metric may still be known
    """

    name: str
    quantity: Quantity = STATE
    without_rule: str = ""
    of_other_site: bool = False


@dataclass(frozen=True)
class SourceKind:
    """A row of the table of sources, `rules.SOURCE_KINDS`.

    name      `source` of its samples
    build     its asks, each with its region; None: nothing to poll, another module yields the samples
    actions   IAM actions of its calls
    """

    name: str
    metrics: tuple[Metric, ...]
    build: Callable[[Sequence[Stack], Aws], Iterable[tuple[str, Ask]]] | None = None
    actions: tuple[str, ...] = ()
    deadline_seconds: float = DEADLINE_SECONDS
    scope: Scope = "site"

    def sources(self, stacks: Sequence[Stack], aws: Aws) -> Iterator[Source]:
        for region, ask in self.build(stacks, aws) if self.build else ():
            yield Source(self.name, region, ask, self.deadline_seconds, self.scope)


def regions_of(stacks: Sequence[Stack]) -> list[str]:
    return sorted({stack.region(site) for stack in stacks for site in SITES})


def reason_of(error: Exception, service: str, operation: str, region: str) -> str:
    """Why one subject is unknown: what AWS refused about it, or an answer that cannot be understood.

    Raises the error itself where it says nothing of a single subject: no answer, no credentials.
    """
    if is_answer(error) and not error_code(error):
        raise error
    return str(explain(error, service, operation, region))[:200]
