"""Runs one PostgreSQL and ends it when its own standard input ends: so none outlives its owner, however that one dies.

`python -m dr_assets.local.pair.supervisor LOGFILE UID|- PROGRAM ARGUMENTS…`; the first line it prints is the postmaster's pid.
Standard library only.
"""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any


def tree(pid: int) -> list[int]:
    """`pid` and its children. PostgreSQL's are session leaders, so no process group holds them all."""
    pairs: list[tuple[int, int]] = []
    if Path("/proc/self/stat").exists():
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    pairs.append((int(entry.name), int(fields[1])))
    else:
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
        pairs = [(int(line.split()[0]), int(line.split()[1])) for line in listed.splitlines()]
    return [pid, *(child for child, parent in pairs if parent == pid)]


def signal_all(pid: int, number: signal.Signals) -> None:
    """Send to the postmaster first, then to every child it had."""
    for process in tree(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def kill_all(pid: int) -> None:
    """An outage: everything stands still at one moment, and then is gone."""
    signal_all(pid, signal.SIGSTOP)
    processes = tree(pid)
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Run, wait for the end of either side. Returns PostgreSQL's exit code."""
    log, user, *command = arguments
    identity: dict[str, Any] = {}
    if user != "-":
        identity = {"user": int(user), "group": pwd.getpwuid(int(user)).pw_gid, "extra_groups": []}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Ctrl-C is the owner's to handle; we end when its pipe does. (A handler, unlike SIG_IGN, is not inherited.)
        signal.signal(number, lambda *_: None)
    with Path(log).open("ab") as words:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, cwd="/", start_new_session=True,
            **identity,
        )  # fmt: skip
    print(child.pid, flush=True)  # noqa: T201 (the owner reads it)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        kill_all(child.pid)

    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
