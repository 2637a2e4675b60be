"""Drills with a fault that begins as one of their steps begins, and ends some seconds later."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from dr_assets import utc
from dr_assets.drills import record, runner
from dr_assets.drills.journal import unfinished
from dr_assets.drills.plan import STEPS
from dr_assets.drills.record_document import Record
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import DrError
from dr_assets.stack import Stack
from tests.faults.matrix import Cell, Subject
from tests.faults.ticks import WatchedStore
from tests.support.approvals import start
from tests.support.drills import killed_at, request

FAULT_SECONDS = 5.0
REGIONAL = {
    "dark": "answers nothing",
    "slow": "answers after 3 s",
    "throttled": "throttles half of all calls",
    "failing": "answers half of all calls with 5xx, without executing them",
    "unanswering": "executes half of all calls and drops the answer",
    "garbled": "answers half of all reading calls with an HTML page",
}
MODES = {
    "dark": "dark",
    "slow": "slow",
    "throttled": "throttle",
    "failing": "error",
    "unanswering": "lost-after",
    "garbled": "garbled",
}
FAULTS = {
    "killed": "SIGKILL as the step begins",
    **{
        f"{site}-{name}": f"the {site} region {what} for 5 s"
        for site in ("primary", "secondary")
        for name, what in REGIONAL.items()
    },
    "partition": "the databases do not reach each other for 5 s",
    "store-full": "no space left on the history's device for 5 s",
    "store-gone": "the history does not answer for 5 s",
    "clock-ahead": "the host's clock is 300 s ahead from then on",
    "clock-behind": "the host's clock is 300 s behind from then on",
    "second-drill": "another process begins a drill at that moment",
}


class Struck:
    """One drill with one fault; afterwards, without it, the drill is resumed, or aborted where it has called nothing."""

    def __init__(self, cell: Cell, scenario: str, aws: EmbeddedAws, stack: Stack, store: WatchedStore) -> None:
        self.cell, self.scenario, self.aws, self.stack, self.store = cell, scenario, aws, stack, store
        self.errors: list[DrError] = []
        self._begun = threading.Event()
        self._timer: threading.Timer | None = None

    def run(self, monkeypatch: pytest.MonkeyPatch) -> Record:
        """The drill's record. Raises whatever is no DrError."""
        if self.cell.fault == "killed":
            assert killed_at(self.cell.phase, self.stack, self.store, self.scenario) == signal.SIGKILL
        else:
            self._attempt(lambda: start(self.stack, self.store, request(self.scenario), self._on_step(monkeypatch)))
            assert self._begun.is_set(), f"{self.cell.phase} was not reached: {self.errors}"
        self._end()
        for _ in range(2):
            for drill in unfinished(self.store, self.stack.environment_suffix):
                self._attempt(lambda drill=drill: runner.resume(self.stack, self.store, drill))  # type: ignore[misc]
        for drill in unfinished(self.store, self.stack.environment_suffix):
            self._attempt(lambda drill=drill: runner.abort(self.stack, self.store, drill, "tester"))  # type: ignore[misc]
        assert unfinished(self.store, self.stack.environment_suffix) == [], self.errors
        (written,) = record.load(self.store, self.stack.environment_suffix)
        return written

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except DrError as error:
            self.errors.append(error)

    def _on_step(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
        def on_step(step: str, text: str) -> None:
            if step == self.cell.phase and not self._begun.is_set():
                self._begun.set()
                self._begin(monkeypatch)
                self._timer = threading.Timer(FAULT_SECONDS, self._end)
                self._timer.start()

        return on_step

    def _begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        site, _, name = self.cell.fault.partition("-")
        if name in REGIONAL:
            more = {"dark": {}, "slow": {"seconds": 3.0}}.get(name, {"rate": 0.5})
            self.aws.control.fault(MODES[name], region=self.stack.region(site), **more)  # type: ignore[arg-type]
        elif self.cell.fault == "partition":
            self.aws.control.database("partition")
        elif site == "store":
            self.store.refuses = name
        elif site == "clock":
            ahead, now = 300.0 if name == "ahead" else -300.0, utc.now
            monkeypatch.setattr(utc, "now", lambda: now() + timedelta(seconds=ahead))
        else:
            other = {"switchover": "failback"}.get(self.scenario, "switchover")
            with pytest.raises(DrError):
                start(self.stack, self.store, request(other))

    def _end(self) -> None:
        if self._timer:
            self._timer.cancel()
        self.aws.control.clear_faults()
        self.store.refuses = ""
        if self.cell.fault == "partition":
            self.aws.control.database("heal")


def subject(scenario: str) -> Subject:
    return Subject(
        scenario,
        f"A {scenario} by `dr drill`: each of its steps.",
        [name for name, _ in STEPS],
        FAULTS,
        (
            "one writer: exactly one server accepts writes, and it is the one that AWS names",
            "one promotion: AWS carried out one call at most",
            "a planned move loses no acknowledged commit, counted by plain SQL",
            "a complete record in an intact chain, after `dr drill resume` or `dr drill abort` where the drill could not go on",
            "no drill counts as good with an unknown or failed condition",
            "an error is one that names a remedy, never a traceback",
        ),
        sample=2,
    )
