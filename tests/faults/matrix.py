"""Cells of the fault matrix: every fault at every phase of every subject, except those left out with a reason.

`make test-all` runs every cell; `make test` a sample that changes daily. To repeat a day's sample: DR_FAULT_SEED=20261127 make test.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fnmatch import fnmatch
from typing import Any

import pytest

SEED = "DR_FAULT_SEED"


@dataclass(frozen=True)
class Cell:
    """One fault at one phase of one subject."""

    subject: str
    phase: str
    fault: str

    @property
    def id(self) -> str:
        return f"{self.subject}/{self.phase}/{self.fault}"

    def __str__(self) -> str:
        """For a failed assertion: the cell, and how to run it again."""
        return f"{self.id} ({SEED}={seed()}; this cell alone, whatever the seed: -m '' -k '{self.id}')"


@dataclass(frozen=True)
class Subject:
    """What is disturbed. `left_out`: (phase pattern, fault pattern) to the reason why such a cell does not exist."""

    name: str
    what: str
    phases: Sequence[str]
    faults: Mapping[str, str]
    invariants: Sequence[str]
    sample: int
    left_out: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def cells(self) -> list[Cell]:
        every = [Cell(self.name, phase, fault) for phase in self.phases for fault in self.faults]
        return [cell for cell in every if self.reason(cell) is None]

    def reason(self, cell: Cell) -> str | None:
        """Why the cell is left out; None: it is in."""
        for (phase, fault), reason in self.left_out.items():
            if fnmatch(cell.phase, phase) and fnmatch(cell.fault, fault):
                return reason
        return None

    def parameters(self) -> list[Any]:
        """One parameter for each cell; those outside the day's sample are marked exhaustive."""
        cells = self.cells()
        chosen = set(sampled(self.name, cells, self.sample))
        marks = {cell: () if cell in chosen else (pytest.mark.exhaustive,) for cell in cells}
        return [pytest.param(cell, id=cell.id, marks=marks[cell]) for cell in cells]


def seed() -> str:
    """Of the environment, else the UTC day. tests/conftest.py puts it into the environment, so that all workers have one."""
    return os.environ.get(SEED) or datetime.now(timezone.utc).strftime("%Y%m%d")


def sampled(subject: str, cells: Sequence[Cell], size: int) -> list[Cell]:
    """`size` cells by the seed: as many different faults as there is room for."""
    source = random.Random(f"{seed()}:{subject}")
    shuffled = source.sample(list(cells), len(cells))
    return _spread(shuffled)[:size]


def _spread(cells: Iterable[Cell]) -> list[Cell]:
    """The first cell of each fault, then the second of each, and so on."""
    by_fault: dict[str, list[Cell]] = {}
    for cell in cells:
        by_fault.setdefault(cell.fault, []).append(cell)
    ranked = [(rank, number, cell) for number, group in enumerate(by_fault.values()) for rank, cell in enumerate(group)]
    return [cell for _, _, cell in sorted(ranked, key=lambda item: item[:2])]
