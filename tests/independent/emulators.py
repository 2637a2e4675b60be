"""Emulators of other people, each a process in an environment of its own, on a free loopback port.

`make independent` installs them below `.venv-independent/`. Where one is not installed its tests are skipped, with the reason.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.isolation import proxies
from tests.support.servers import KEEPER

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-independent"
START_SECONDS = 90.0

# localemu binds to every address whatever it is told (Twisted's TCP4ServerEndpoint without an interface).
_ON_LOOPBACK = """
import functools
from twisted.internet import endpoints
endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")
from localemu.runtime.main import main
main()
"""


@dataclass(frozen=True)
class Emulator:
    """How one emulator is started.

    name       of the package on PyPI, and of its environment
    command    arguments after its Python
    settings   environment, with {port} and {folder}
    health     path that answers 200 once it serves
    needs      what `make independent` needs to install it
    """

    name: str
    command: tuple[str, ...]
    settings: Mapping[str, str]
    health: str
    needs: str

    @property
    def python(self) -> Path:
        return FOLDER / self.name / "bin" / "python"

    def missing(self) -> str | None:
        """Why it cannot be asked here, or None."""
        if list(self.python.parents[1].glob(".installed-*")):
            return None
        return f"{self.name} is not installed: `make independent` installs it where it has {self.needs}"

    @contextmanager
    def running(self, folder: Path) -> Iterator[str]:
        """Its endpoint URL. The process ends with the block."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # It calls itself by a name that the tests' dead proxy would catch.
        env = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "DR_")) and n not in proxies()}
        env |= {name: value.format(port=port, folder=folder) for name, value in self.settings.items()}
        log = folder / f"{self.name}.txt"
        with log.open("wb") as output:
            # Through a keeper that ends it, also when this process is killed.
            options = json.dumps({"cwd": str(folder), "stdout": 2})
            process = subprocess.Popen(
                [sys.executable, "-c", KEEPER, options, self.python, *self.command],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=output,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url + self.health, log)
            yield url
        finally:
            if process.stdin:
                process.stdin.close()
            # The keeper asks it to end, and kills it after five seconds.
            process.wait(60)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(
        f"{process.args} does not answer. The end of its log:\n{log.read_text(errors='replace')[-3000:]}"
    )


MINISTACK = Emulator(
    "ministack",
    ("-m", "ministack"),
    {
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": "{port}",
        "MINISTACK_ACCOUNT_ID": "123456789012",
        "STATE_DIR": "{folder}/state",
        "S3_DATA_DIR": "{folder}/s3",
        "TMPDIR": "{folder}",
        "LOG_LEVEL": "WARNING",
    },
    "/_ministack/health",
    "a package index",
)
LOCALEMU = Emulator(
    "localemu",
    ("-c", _ON_LOOPBACK),
    {
        "GATEWAY_LISTEN": "127.0.0.1:{port}",
        "HOME": "{folder}",
        "TMPDIR": "{folder}",
        # It refuses peerings between regions unless it is asked to keep them, without a network behind.
        "LOCALEMU_ALLOW_CROSS_REGION_PEERING": "1",
    },
    "/_localemu/health",
    "Python 3.13 and a package index",
)
