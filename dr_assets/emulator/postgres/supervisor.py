"""Supervisor process: runs one PostgreSQL and ends it when its owner ends, however that happens.

`python supervisor.py DATA LOG UID|- PROXY PROGRAM ARGUMENTS…`, PROXY being the arguments of its TLS proxy as JSON; the first
line it prints is the pids of the postmaster and the proxy. It is run by its path rather than with `-m`, which would import the
packages around it, and imports little.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

WATCH_SECONDS = 1.0
REAP_SECONDS = 3.0


def children(pid: int) -> list[int]:
    """The children of a postmaster. They are session leaders, so no process group holds them."""
    pairs: list[tuple[int, int]] = []
    if Path("/proc/self/stat").exists():
        for entry in os.listdir("/proc"):  # noqa: PTH208 (several times faster than iterdir)
            if entry.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                    pairs.append((int(entry), int(fields[1])))
    else:
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
        pairs = [(int(line.split()[0]), int(line.split()[1])) for line in listed.splitlines()]
    return [child for child, parent in pairs if parent == pid]


def freeze_all(pid: int, proxy: int | None = None) -> list[int]:
    """Stop a server: the postmaster first, so that it forks no more; its proxy last. Returns every stopped process."""
    _send(pid, signal.SIGSTOP)
    stopped: set[int] = set()
    while new := set(children(pid)) - stopped:
        for child in new:
            _send(child, signal.SIGSTOP)
        stopped |= new
    if proxy:
        _send(proxy, signal.SIGSTOP)
    return [pid, *stopped, *([proxy] if proxy else [])]


def thaw_all(pid: int, proxy: int) -> None:
    """Let a stopped server and its proxy go on."""
    for process in (*children(pid), pid, proxy):
        _send(process, signal.SIGCONT)


def kill_all(pid: int, proxy: int | None = None) -> None:
    """An outage: stop every process at one moment, then kill them."""
    for process in freeze_all(pid, proxy):
        _send(process, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def free_shared_memory(data: Path) -> None:
    """Remove the System V segment of a killed server (its number is the last but one line's second word).

    PostgreSQL removes it itself only when it is shut down, or started again on the same data.
    """
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        number = int((data / "postmaster.pid").read_text().splitlines()[6].split()[1])
        import ctypes

        ctypes.CDLL(None).shmctl(number, 0, None)  # 0: IPC_RMID, on Linux and on macOS


def adopt() -> None:
    """Become the parent of a killed postmaster's children, so that they are reaped here. Linux; elsewhere init does."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def reap_adopted() -> None:
    """Wait for what was adopted: when the supervisor has ended, every process of the server has."""
    deadline = time.monotonic() + REAP_SECONDS
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.002)


def main(arguments: list[str]) -> int:
    """Run, wait for the end of either side. Returns PostgreSQL's exit code."""
    data, log, user, proxy_arguments, *command = arguments
    owner = os.getppid()
    identity: dict[str, Any] = {}
    if user != "-":
        identity = {"user": int(user), "group": pwd.getpwuid(int(user)).pw_gid, "extra_groups": []}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Ctrl-C is the owner's to handle; we end when its pipe does. (A handler, unlike SIG_IGN, is not inherited.)
        signal.signal(number, lambda *_: None)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW  # its folder belongs to the unprivileged user
    with os.fdopen(os.open(log, flags, 0o644), "ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True, **identity
        )
        # Not as that user: the certificate's key is the owner's. It ends with its pipe, also when this process is killed.
        proxy = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("tls_proxy.py")), *json.loads(proxy_arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )

    def end_with_owner() -> None:
        # The pipe stays open where the owner forked (multiprocessing does): so its pid is checked, too.
        while os.getppid() == owner:
            if select.select([0], [], [], WATCH_SECONDS)[0] and not os.read(0, 4096):
                break
        kill_all(child.pid, proxy.pid)

    threading.Thread(target=end_with_owner, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        print(child.pid, proxy.pid, flush=True)  # noqa: T201 (the owner reads it)
    adopt()
    code = child.wait()
    assert proxy.stdin is not None
    proxy.stdin.close()
    proxy.wait()
    reap_adopted()
    free_shared_memory(Path(data))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
