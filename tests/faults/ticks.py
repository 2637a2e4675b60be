"""An outage as a sensor lives through it, with a fault at one of the calls that its ticks make of the store and the channel.

The sensor's process is real where it is killed: a fork that ends by SIGKILL. What outlives it is in a folder: the history, the
cursor, and the list of alerts that the channel took.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from dr_assets.alerting.message import Alert
from dr_assets.errors import DrError
from dr_assets.history.store import FolderStore
from dr_assets.stack import Stack, load_stack
from tests.alerting.conftest import OPENED, RESOLVED, Daemon
from tests.faults.matrix import Subject
from tests.support.monitoring import Recorder, S, at, healthy, sample

TOLD = [OPENED, RESOLVED]
END, STEP = 300, 10
OUTAGE = range(10, 110)  # seconds in which the writer takes no connections
FAULT_SECONDS, SETTLE = 30, 150
FAULTS = {
    "killed-before": "SIGKILL before the call",
    "killed-after": "SIGKILL after the call, before its answer is used",
    "second-daemon": "another daemon makes a whole tick with the same cursor at that moment",
    "full": "no space left on the store's device for 30 s",
    "read-only": "the store takes no writes for 30 s",
    "gone": "the store does not answer for 30 s",
    "foreign": "the object is replaced by bytes that are not ours",
    "clock-ahead": "the host's clock is 300 s ahead for 30 s",
    "clock-behind": "the host's clock is 300 s behind for 30 s",
}
Hook = Callable[[str, str, str], None]


class WatchedStore(FolderStore):
    """Calls `hook(call, when, key)` before and after each call; `refuses` decides what is refused."""

    hook: Hook | None = None
    refuses: str = ""

    def _at(self, call: str, when: str, key: str) -> None:
        if self.hook:
            self.hook(f"{call}-{_kind(key)}", when, key)
        if when == "before":
            writing = call in ("write", "create", "delete")
            if self.refuses == "gone":
                raise DrError("The store does not answer.")
            if self.refuses == "full" and call in ("write", "create"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.refuses == "read-only" and writing:
                raise DrError("The store cannot be written (Read-only file system).")

    def read(self, key: str) -> bytes:
        self._at("read", "before", key)
        found = super().read(key)
        self._at("read", "after", key)
        return found

    def write(self, key: str, data: bytes) -> None:
        self._at("write", "before", key)
        super().write(key, data)
        self._at("write", "after", key)

    def create(self, key: str, data: bytes) -> None:
        self._at("create", "before", key)
        super().create(key, data)
        self._at("create", "after", key)

    def list(self, prefix: str) -> list[str]:
        self._at("list", "before", prefix)
        found = super().list(prefix)
        self._at("list", "after", prefix)
        return found

    def delete(self, key: str) -> None:
        self._at("delete", "before", key)
        super().delete(key)
        self._at("delete", "after", key)


def _kind(key: str) -> str:
    """What an object is, in one word: a claim and a confirmation stand in the same folder."""
    return "claim" if ".claim-" in key else key.partition("/")[0]


class Channel(Recorder):
    """Keeps its alerts in a file, which outlives the process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.hook: Hook | None = None

    def send(self, alert: Alert) -> None:
        if self.hook:
            self.hook("send-sns", "before", alert.key)
        with self.path.open("a") as file:
            file.write(alert.key + "\n")
        if self.hook:
            self.hook("send-sns", "after", alert.key)

    @property
    def keys(self) -> list[str]:
        return self.path.read_text().split() if self.path.exists() else []


class World:
    """One sensor and what outlives it, in a folder."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.folder, self.stack = folder, stack
        self.store = WatchedStore(folder / "history")
        self.channel = Channel(folder / "alerts")
        self.failures: list[str] = []
        self.clock = 0.0
        self._daemon: Daemon | None = None

    def run(self, begin: int = 0, end: int = END) -> None:
        """Tick until the end. A tick that fails leaves the cursor where it was, as Dagster does."""
        daemon = self.new_daemon()
        for second in range(begin, end, STEP):
            self._save("second", second)
            self._daemon = daemon
            self.tick(daemon, second)

    def new_daemon(self) -> Daemon:
        daemon = Daemon(self.stack, self.store, self.channel)
        daemon.cursor = self._load("cursor")
        return daemon

    def tick(self, daemon: Daemon, second: int) -> None:
        value = 0.0 if second in OUTAGE else 1.0
        samples = [*healthy(second, without=["primary/metric/connectivity"]), sample(second, value)]
        daemon.cursor = self._load("cursor")
        try:
            self._echo(daemon, second)
            daemon.raw(second + self.clock, samples)
        except (DrError, OSError) as error:
            self.failures.append(f"{second}: {error}")
            return
        self._save("cursor", daemon.cursor)

    def _echo(self, daemon: Daemon, second: int) -> None:
        """SNS delivers each alert to the stack's own queue too, where the sensor `event_queue` finds it within the claim's lease."""
        hook, self.store.hook = self.store.hook, None
        for key in self.channel.keys:
            daemon.ticker.deliveries.confirm_echo(S, f"{key}.sns", at(second + self.clock))
        self.store.hook = hook

    def die_and_go_on(self, point: str, when: str, occurrence: int) -> None:
        """A process that kills itself at that call; the next one begins with what was left."""
        child = os.fork()
        if child == 0:
            try:
                self._watch(point, when, occurrence, lambda _: os.kill(os.getpid(), signal.SIGKILL))
                self.run()
            finally:
                os._exit(3)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), f"{point} was not reached"
        self.run(self._load("second") + STEP, END + SETTLE)

    def disturb(self, fault: str, point: str, occurrence: int) -> None:
        """The whole outage with that fault at that call."""
        if fault.startswith("killed"):
            self.die_and_go_on(point, moment(fault), occurrence)
            return
        begun: list[int] = []

        def strike(key: str) -> None:
            begun.append(self._load("second"))
            if fault == "foreign":
                FolderStore.write(self.store, key, b"\xff\x00<html>not ours")
            elif fault == "second-daemon":
                self.tick(self.new_daemon(), begun[0])
            elif fault.startswith("clock"):
                self.clock = 300.0 if fault == "clock-ahead" else -300.0
            else:
                self.store.refuses = fault

        self._watch(point, moment(fault), occurrence, strike)
        saved = self._save

        def save(name: str, value: object) -> None:
            saved(name, value)
            if name == "second" and begun and isinstance(value, int) and value >= begun[0] + FAULT_SECONDS:
                self.store.refuses, self.clock = "", 0.0

        self._save = save  # type: ignore[method-assign]
        self.run()
        assert begun, f"{point} was not reached"
        self.store.refuses, self.clock = "", 0.0
        self.run(END, END + SETTLE)

    def _watch(self, point: str, when: str, occurrence: int, strike: Callable[[str], None]) -> None:
        seen: Counter[str] = Counter()

        def hook(call: str, at: str, key: str) -> None:
            if at == when:
                seen[call] += 1
                if call == point and seen[call] == occurrence:
                    strike(key)

        self.store.hook = self.channel.hook = hook

    def _save(self, name: str, value: object) -> None:
        FolderStore(self.folder).write(name, json.dumps(value).encode())

    def _load(self, name: str) -> object:
        path = self.folder / name
        return json.loads(path.read_bytes()) if path.exists() else None


def moment(fault: str) -> str:
    """When a fault strikes: before or after the call."""
    return "after" if fault in ("killed-after", "foreign") else "before"


@cache
def occurrences() -> dict[str, Counter[str]]:
    """How often each call of an undisturbed outage is made ("before") and answered ("after"): the phases are what the product does,
    not a list."""
    seen: dict[str, Counter[str]] = {}

    def hook(call: str, when: str, _: str) -> None:
        seen.setdefault(call, Counter())[when] += 1

    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), load_stack())
        world.store.hook = world.channel.hook = hook
        world.run()
        assert world.channel.keys == TOLD
    return seen


def subject() -> Subject:
    return Subject(
        "tick",
        "An outage of 100 s as the sensor `health_checks` lives through it: each call that its ticks make of the store and a channel.",
        sorted(occurrences()),
        FAULTS,
        (
            "the alert goes out once when it opens and once when it resolves; a clock that is set ahead may repeat it as escalated",
            "nothing is left in the outbox",
            "a tick that fails leaves the cursor where it was",
        ),
        sample=14,
        left_out={
            ("send-*", "foreign"): "A channel stores nothing of ours.",
            ("list-*", "foreign"): "A listing is no object; foreign names are planted by tests/alerting.",
            ("delete-*", "foreign"): "The object is gone by then.",
        },
    )
