"""`make demo` as a user sees it: every step gives the expected result, and nothing is left behind."""

import os
import re
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.exhaustive
def test_every_step_of_the_demonstration_gives_the_expected_result() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dr_assets.cli.main", "demo"],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    summary = done.stdout.rsplit("Summary", 1)[1]
    assert len(re.findall(r"\bok\s*$", summary, re.MULTILINE)) == 13
    assert "FAILED" not in summary
    for scenario in ("switchover", "failover", "failback"):
        assert scenario in summary
