"""The Dagster UI as `dr ui` serves it, in headless Chromium: the graph, a resource's page, its check and its drift table.

With DR_SCREENSHOTS=DIR the two pictures of the README are written there.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from dr_assets.stack import load_stack
from tests.support.stack import build

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = os.environ.get("DR_SCREENSHOTS")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="chromium and chromedriver are not installed",
    ),
]
SHOWN = [
    f"{site}/aurora/{name}" for site in ("primary", "secondary") for name in ("cluster", "cluster-parameter-group")
]
RUN = """mutation Run($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


@dataclass
class Ui:
    """A running `dr ui`."""

    url: str
    aws_endpoint: str

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["data"]

    def environment(self) -> dict[str, str]:
        """What makes boto3 speak to the AWS behind this UI."""
        keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}
        return {**keys, "AWS_ENDPOINT_URL": self.aws_endpoint}

    def run(self, job: str, assets: Sequence[str] = ()) -> str:
        """Launch a job, or some of its assets, as the UI's button does; wait for its end, say how it ended."""
        where: dict[str, Any] = {
            "repositoryLocationName": "dr-assets",
            "repositoryName": "__repository__",
            "pipelineName": job,
            "assetSelection": [{"path": key.split("/")} for key in assets] or None,
        }
        config = {"resources": {"aws": {"config": {"mode": "verify", "poll_seconds": 0.2}}}}
        told = self.ask(RUN, params={"selector": where, "runConfigData": json.dumps(config), "mode": "default"})
        run_id = told["launchRun"]["run"]["runId"]
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline:
            status = self.ask(STATUS, id=run_id)["runOrError"]["status"]
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                return str(status)
            time.sleep(0.5)
        raise AssertionError(f"{job} did not end")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    home = tmp_path_factory.mktemp("dagster")
    port = free_port()
    log = home / "ui.log"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DR_"))}
    env["DAGSTER_HOME"] = str(home)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dr_assets.cli.main", "ui", "--port", str(port)],
            cwd=ROOT,
            env=env,
            stdout=out,
            stderr=out,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"{url}/server_info", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        found = re.search(r"Embedded AWS at (http://127\.0\.0\.1:\d+)", log.read_text())
        assert found, log.read_text()
        yield Ui(url, found[1])
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0, log.read_text()


@pytest.fixture(scope="module")
def drifted(ui: Ui) -> Ui:
    """The stack provisioned, then changed behind its back, then verified by a run that the UI launched."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ui.environment().items():
            patch.setenv(name, value)
        build(load_stack())
    rds = boto3.client(
        "rds", "us-east-1", endpoint_url=ui.aws_endpoint, aws_access_key_id="x", aws_secret_access_key="y"
    )
    rds.modify_db_cluster(
        DBClusterIdentifier="aurora-primary-l6p3z2w4",
        BackupRetentionPeriod=1,
        DeletionProtection=True,
        ApplyImmediately=True,
    )
    time.sleep(1.5)
    # The whole stack is a thousand events on SQLite; for the pictures it is worth it.
    assert ui.run("verify_stack", () if SCREENSHOTS else SHOWN) == "SUCCESS"
    return ui


def page_with(browser: Any, url: str, *texts: str, seconds: float = 120) -> str:
    """Open `url` and wait until the page shows all `texts`."""
    browser.get(url)
    deadline = time.monotonic() + seconds
    while True:
        body = str(browser.execute_script("return document.body.innerText"))
        missing = [text for text in texts if text not in body]
        if not missing:
            time.sleep(1.0)  # let it come to rest before a picture is taken
            return body
        assert time.monotonic() < deadline, f"{missing} not on {url}:\n{body[:3000]}"
        time.sleep(0.3)


def picture(browser: Any, name: str) -> None:
    if SCREENSHOTS:
        browser.save_screenshot(str(Path(SCREENSHOTS) / name))


def test_the_graph_shows_the_stack(drifted: Ui, browser: Any) -> None:
    areas = ("network", "encryption", "aurora", "credentials", "backup", "notifications", "monitoring", "dns")
    page_with(
        browser,
        f"{drifted.url}/asset-groups",
        *(f"{area}_{site}" for area in areas for site in ("primary", "secondary")),
    )
    picture(browser, "asset-graph.png")


def test_a_resources_page_shows_check_and_drift(drifted: Ui, browser: Any) -> None:
    url = f"{drifted.url}/assets/primary/aurora/cluster"
    page_with(
        browser,
        url,
        "aurora-primary-l6p3z2w4",
        "global cluster",
        "BackupRetentionPeriod",
        "arn:aws:rds:us-east-1",
        "api_calls",
    )
    check = "desired_state"
    page_with(
        browser,
        f"{url}?view=checks&checkDetail={check}",
        check,
        "Failed",
        "differs in BackupRetentionPeriod, DeletionProtection",
        "desired",
        "observed",
    )
    picture(browser, "drift.png")


def test_a_healthy_resource_passes_and_parity_is_shown(drifted: Ui, browser: Any) -> None:
    url = f"{drifted.url}/assets/secondary/aurora/cluster-parameter-group?view=checks&checkDetail=parity"
    body = page_with(browser, url, "desired_state", "parity", "equal to primary/aurora/cluster-parameter-group")
    assert "Failed" not in body
