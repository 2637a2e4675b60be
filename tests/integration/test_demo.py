"""`make demo` as a user sees it: everything as it must be, and nothing left behind."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.exhaustive
def test_the_demonstration_goes_as_it_must() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dr_assets.cli.main", "demo"],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    summary = done.stdout.rsplit("Summary", 1)[1]
    assert summary.count("as it must") == 13
    assert "SURPRISE" not in summary
    for scenario in ("switchover", "failover", "failback"):
        assert scenario in summary
