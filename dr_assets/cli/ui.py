"""`dr ui`: the embedded AWS and `dagster dev` side by side; Ctrl-C (or SIGTERM) stops both.

DR_MODE is `provision`: that AWS is disposable. Dagster's own records stay in DAGSTER_HOME, by default `.dr/dagster` below the
current folder, so that runs and history survive a restart (the embedded AWS does not).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from dr_assets import files
from dr_assets.cli.output import say
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import DrError
from dr_assets.stack import load_stack

HOME = Path(".dr") / "dagster"
# No telemetry, no newsletter dialogue; a slow sensor does not delay the others; a run whose worker is gone ends as failed.
SETTINGS = """\
telemetry:
  enabled: false
nux:
  enabled: false
sensors:
  use_threads: true
  num_workers: 8
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  cancel_timeout_seconds: 180
  max_runtime_seconds: 14400
"""


def run(port: int) -> int:
    """Serve until interrupted. Returns the exit code: 0 after Ctrl-C, Dagster's own when it exits first."""
    load_stack()  # reports a wrong stack file before Dagster's loader does
    if not Path("definitions.py").is_file():
        raise DrError("definitions.py is not in this folder. Run `dr ui` from the project's folder.")
    home = Path(os.environ.get("DAGSTER_HOME") or HOME).absolute()
    settings = home / "dagster.yaml"
    try:
        files.write(settings, SETTINGS.encode(), replace=False)
    except FileExistsError:
        pass  # the operator's own
    except OSError as error:
        raise DrError(
            f"{settings} cannot be written ({error.strerror}). Correct DAGSTER_HOME or its rights."
        ) from error
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with EmbeddedAws(settle_seconds=1.0, databases=True) as aws:
        env = {**environment(home), **aws.env()}
        command = [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)]
        # A session of its own: Ctrl-C reaches this process alone, which stops the children in order.
        dagster = subprocess.Popen([*command, "-w", "workspace.yaml"], env=env, start_new_session=True)
        say(f"Embedded AWS at {aws.endpoint_url}; the UI starts at http://127.0.0.1:{port} (Ctrl-C stops both)")
        try:
            while not stop.wait(0.3):
                if dagster.poll() is not None:
                    return dagster.returncode or 1
                if not aws.alive:
                    raise DrError(f"The embedded AWS exited unexpectedly. The end of its log: {aws.stderr[-1000:]}")
        finally:
            _end(dagster)
    return 0


def environment(home: Path) -> dict[str, str]:
    """Environment of `dagster dev`, without the embedded AWS's own variables.

    Sensors query the databases and publish the probe's metric. Nothing emulated reaches a real history or pager.
    """
    own = {
        "DR_MODE": "provision",
        "DR_TELEMETRY_SQL": "publish",
        "DAGSTER_HOME": str(home),
        # Not "history": Dagster keeps its own runs in a folder of that name.
        "DR_HISTORY_URI": str(home / "dr" / "history"),
        "DR_REPORTS_DIR": str(home / "dr" / "reports"),
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("DR_ALERT_")} | own


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM `dagster dev` and its children; SIGKILL those still running after 15 s."""
    for number, timeout in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            continue
