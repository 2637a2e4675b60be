"""Run `dr` in a process of its own, as a shell does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def dr(*args: str, env: dict[str, str] | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `dr ARGS` at the repository's top with this process's environment, plus `env`."""
    command = [sys.executable, "-m", "dr_assets.cli.main", *args]
    return subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        **more,
    )
