"""Cells of the fault matrix: a sensor's ticks."""

import random
from pathlib import Path

import pytest

from dr_assets.stack import Stack
from tests.faults.matrix import Cell, seed
from tests.faults.ticks import TOLD, World, moment, occurrences, subject


def chosen(cell: Cell) -> list[int]:
    """Which occurrences of the call are struck: all of a few, else the first, the last and two by the seed."""
    count = occurrences()[cell.phase][moment(cell.fault)]
    if count <= 4:
        return list(range(1, count + 1))
    return [1, *sorted(random.Random(f"{seed()}:{cell.id}").sample(range(2, count), 2)), count]


@pytest.mark.parametrize("cell", subject().parameters())
def test_the_alert_goes_out_once(cell: Cell, stack: Stack, tmp_path: Path) -> None:
    for occurrence in chosen(cell):
        folder = tmp_path / str(occurrence)
        folder.mkdir()
        world = World(folder, stack)
        world.disturb(cell.fault, cell.phase, occurrence)
        world.store.hook = None
        found = [key for key in world.channel.keys if "-writer-" in key]
        if cell.fault.startswith("clock"):  # 300 s pass at once, and after 300 s an alert is repeated as escalated
            found = [key for key in found if not key.endswith(".escalated")]
        assert found == TOLD, f"{cell}, occurrence {occurrence}: {found}; failed ticks: {world.failures}"
        assert world.store.list("outbox/") == [], cell
