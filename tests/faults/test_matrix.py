"""The matrix itself: its page, its sample, and that nothing is left out without a reason."""

import pytest

from tests.faults.matrix import SEED, Subject, sampled, seed
from tests.faults.page import PAGE, page, subjects


def test_the_page_shows_the_matrix() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.faults.page > docs/reliability.md"


@pytest.mark.parametrize("subject", subjects(), ids=lambda subject: subject.name)
def test_every_pair_is_a_cell_or_has_a_reason(subject: Subject) -> None:
    every = {(phase, fault) for phase in subject.phases for fault in subject.faults}
    cells = {(cell.phase, cell.fault) for cell in subject.cells()}
    assert len(subject.cells()) == len(cells)
    assert all(subject.left_out.values())
    assert {fault for _, fault in cells} == set(subject.faults), "a fault without a cell"
    assert {phase for phase, _ in cells} == set(subject.phases), "a phase without a cell"
    assert cells <= every


def test_a_day_has_one_sample_and_another_day_another(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subjects()[0]
    days = []
    for day in ("20261127", "20261127", "20261128"):
        monkeypatch.setenv(SEED, day)
        assert seed() == day
        days.append(sampled(subject.name, subject.cells(), subject.sample))
    assert days[0] == days[1] != days[2]
    assert {cell.fault for cell in days[0]} == set(subject.faults), "room for each fault once"
