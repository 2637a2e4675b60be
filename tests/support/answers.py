"""Run tests under each answer that AWS may give where its documents do not say: `python -m tests.support.answers [pytest arguments]`.

Each run sets DR_EMULATED_ANSWERS, with which every embedded AWS of that run starts. The runs cover each value of each switch at least
once; the first is all defaults, and is left out because `make test` is that run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from dr_assets.emulator import Control
from dr_assets.emulator.answers import CHOICES, RANGES, VARIABLE, Answers

# Settings for single tests, not answers of AWS: under them the stack rightly fails, or waits for minutes.
FOR_TESTS = frozenset(
    {
        *("clear_text", "engine_versions", "instance_classes", "new_cluster_group_seconds", "quotas"),
        *("regions_not_enabled", "route53_calls_per_second", "zones_not_offered"),
    }
)
# Three workers, one file after another in the order they stand in, as `make test` has it.
PARALLEL = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
INTEGRATION = ("tests/integration", "-m", "not exhaustive and not browser", *PARALLEL)


@contextmanager
def answering(control: Control, **settings: Any) -> Iterator[None]:
    """Set these for the block, then what they were before."""
    before = {name: value for name, value in control.answers().items() if name in settings}
    control.answers(**settings)
    try:
        yield
    finally:
        control.answers(**before)


def values() -> dict[str, list[Any]]:
    """Switch -> its values other than the default."""
    found: dict[str, list[Any]] = {}
    for field in fields(Answers):
        default = getattr(Answers(), field.name)
        known: tuple[Any, ...] = CHOICES.get(field.name) or RANGES.get(field.name) or (True, False)
        if field.name not in FOR_TESTS:
            found[field.name] = [value for value in known if value != default]
    return found


def runs() -> list[dict[str, Any]]:
    """As few settings as cover every value of every switch."""
    others = values()
    count = max((len(each) for each in others.values()), default=0)
    return [{name: each[n % len(each)] for name, each in others.items() if each} for n in range(count)]


def main(arguments: list[str]) -> int:
    failed = []
    for setting in runs():
        text = json.dumps(setting)
        print(f"\n=== {VARIABLE}='{text}'", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", *(arguments or INTEGRATION)]
        if subprocess.run(command, env={**os.environ, VARIABLE: text}, check=False).returncode:
            failed.append(text)
    print("\n".join(f"failed under {VARIABLE}='{text}'" for text in failed) or "passed under every answer")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
