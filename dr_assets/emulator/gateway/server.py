"""The server process of the embedded AWS: `python -m dr_assets.emulator.gateway.server --port 0 --ready-file F`.

Serves the gateway on a loopback port until SIGTERM, SIGINT or (with --owner-stdin) the end of its standard input, which the
kernel closes also when the owner is killed. Writes the ready file alone; --owned-folder is removed when the owner is gone.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from dr_assets import files

# Must be set before moto is imported: without it AWS managed policies cannot be attached.
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal or the end of the owner."""
    parser = argparse.ArgumentParser(prog="dr_assets.emulator.gateway.server", description="An AWS on a loopback port.")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--ready-file", type=Path, required=True, help="written once the port answers")
    parser.add_argument("--settle-seconds", type=float, default=0.0, help="how long in-between statuses last")
    parser.add_argument("--owner-stdin", action="store_true", help="end when standard input ends")
    parser.add_argument(
        "--owned-folder", type=Path, help="removed when standard input ends: who made it may have been killed"
    )
    parser.add_argument("--databases", action="store_true", help="put a real PostgreSQL pair behind the global cluster")
    options = parser.parse_args(argv)

    from werkzeug.serving import make_server

    from dr_assets.emulator.clock import clock
    from dr_assets.emulator.gateway.app import Gateway
    from dr_assets.emulator.gateway.handler import QuietHandler

    clock.settle_seconds = options.settle_seconds
    gateway = Gateway()
    server = make_server("127.0.0.1", options.port, gateway, threaded=True, request_handler=QuietHandler)
    # Held connections (fault mode dark) must not keep the process alive.
    server.daemon_threads = True  # type: ignore[attr-defined]
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    gone = threading.Event()
    if options.owner_stdin:
        threading.Thread(target=_wait_for_owner, args=(gone, end), daemon=True).start()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    databases, extra = None, {}
    if options.databases:
        from dr_assets.emulator.live_databases import LiveDatabases

        ca_file = (options.owned_folder or options.ready_file.parent).resolve() / "rds-ca.pem"
        databases = LiveDatabases(gateway.within, gateway.region_dark, ca_file)
        gateway.databases = databases.driver
        extra = {"nameserver": databases.nameserver, "ca_file": str(ca_file)}
    write_ready_file(options.ready_file, server.server_port, extra)
    threading.Thread(target=gateway.warm_up, daemon=True).start()
    end.wait()
    gateway.stop()
    if databases:
        databases.close()
    sys.stderr.flush()
    if options.owned_folder and gone.is_set():
        shutil.rmtree(options.owned_folder, ignore_errors=True)  # the owner, where it lives, is doing the same
    # Every thread is a daemon and nothing is on disk: leave at once, whatever a backend is doing.
    os._exit(0)


def write_ready_file(path: Path, port: int, extra: dict[str, Any] | None = None) -> None:
    """Write the server's address atomically: a reader finds the whole file or none."""
    document = {"aws_endpoint_url": f"http://127.0.0.1:{port}", "pid": os.getpid(), **(extra or {})}
    files.write(path, json.dumps(document).encode())


def _wait_for_owner(gone: threading.Event, end: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    gone.set()
    end.set()


if __name__ == "__main__":
    sys.exit(main())
