"""Provision, verify, provision again, destroy: on emulators that other people wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from dr_assets.aws import Aws
from dr_assets.cli.demo import environment
from dr_assets.reconcile import progress
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import load_stack
from tests.independent.emulators import LOCALEMU, MINISTACK, Emulator
from tests.independent.limits import ENGINE, Clients, Limit, localemu, ministack
from tests.independent.stand_ins import Proxy, proxy
from tests.support.cli import ROOT, dr

pytestmark = [pytest.mark.independent, pytest.mark.slow]
EMULATORS: dict[str, tuple[Emulator, Callable[[], tuple[Limit, ...]], dict[str, Any]]] = {
    "ministack": (MINISTACK, ministack, {"engine_version": ENGINE["EngineVersion"]}),
    "localemu": (LOCALEMU, localemu, {}),
}
# No certificate authority is set, and the caller is no role that IAM could simulate: AWS leaves these open too.
NOT_ASKED = frozenset({"tls-ca", "permissions", "service-linked-role"})


@pytest.fixture(scope="module", params=EMULATORS)
def opinion(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opinion]:
    """One emulator, empty at first."""
    emulator, limits, stack = EMULATORS[request.param]
    if why := emulator.missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp(emulator.name)
    with emulator.running(folder) as url:
        known = limits()
        with proxy(url, [limit.stand_in for limit in known if limit.stand_in]) as served:
            yield Opinion(emulator.name, url, served, known, folder, stack)


class Opinion:
    """One emulator with the product pointed at it."""

    def __init__(
        self, name: str, url: str, served: Proxy, limits: tuple[Limit, ...], folder: Path, stack: dict[str, Any]
    ) -> None:
        self.name, self.limits, self.served, self.clients = name, limits, served, Clients(url)
        self._folder = folder
        raw = json.loads((ROOT / "infra" / "stack.auto.tfvars.json").read_text()) | stack
        self.suffix = raw["environment_suffix"]
        (folder / "stack.json").write_text(json.dumps(raw))

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.served.url,
            "AWS_ACCESS_KEY_ID": "123456789012",
            "AWS_SECRET_ACCESS_KEY": "independent",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "DR_STACK_FILE": str(self._folder / "stack.json"),
        }

    def provision(self) -> dict[str, str]:
        """What `dr provision` does, with a faster clock: key -> why, for what could not be corrected.

        The product gives AWS two minutes to show each change. These emulators show at once what they will ever show.
        """
        with environment(self.env):
            stack, refused = load_stack(), {}
            state = StackState(stack, Aws(), clock=lambda: time.monotonic() * 1000)
            state.snapshot()
            for resource in state.resources.values():
                deadline = time.monotonic() + 60
                while not (outcome := state.reconcile(resource)).good:
                    if outcome.status == "drifted":
                        refused[resource.key] = outcome.reason
                        break
                    assert outcome.status in ("waiting", "unknown"), outcome
                    assert time.monotonic() < deadline, outcome
        return refused

    def dr(self, *args: str) -> Any:
        """The JSON that `dr ARGS --json` prints."""
        done = dr(*args, "--json", env=self.env)
        assert done.stdout.startswith("{"), done.stderr[-3000:]
        return json.loads(done.stdout)

    def touched(self, key: str) -> frozenset[str] | None:
        """The fields that cannot agree at this resource; None where no limit touches it."""
        found = [fields for limit in self.limits for pattern, fields in limit.touches.items() if fnmatch(key, pattern)]
        return frozenset().union(*found) if found else None


def unexpected(opinion: Opinion, resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The resources out of sync for which no limit is listed."""
    rest = []
    for item in resources:
        fields = opinion.touched(item["asset"])
        differ = {drift["field"].split(".")[0] for drift in item["drift"]}
        explained = fields is not None and (differ <= fields if differ else not fields)
        if item["status"] != "in_sync" and not explained:
            rest.append(item)
    return rest


def test_every_limit_is_still_one(opinion: Opinion) -> None:
    assert [limit.gap for limit in opinion.limits if not limit.shows(opinion.clients)] == []


def test_preflight_judges_every_check(opinion: Opinion) -> None:
    checks = opinion.dr("preflight")["checks"]
    assert {check["status"] for check in checks} <= {"ok", "not_yet", "unknown", "fails"}
    assert [check for check in checks if check["status"] == "fails" and not check["remedy"]] == []
    open_ones = {check["name"] for check in checks if check["status"] in ("unknown", "fails")}
    patterns = NOT_ASKED.union(*(limit.preflight for limit in opinion.limits))
    assert [name for name in open_ones if not any(fnmatch(name, each) for each in patterns)] == []
    assert [each for each in patterns if not any(fnmatch(name, each) for name in open_ones)] == []


def test_provision_verify_provision_destroy(opinion: Opinion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MAX_RETRIES", 1)
    refused = opinion.provision()
    if any(limit.second_run for limit in opinion.limits):
        refused = opinion.provision()
    assert [key for key in refused if opinion.touched(key) is None] == []
    verified = opinion.dr("verify")
    assert unexpected(opinion, verified["resources"]) == []
    out = [item["asset"] for item in verified["resources"] if item["status"] != "in_sync"]
    patterns = [pattern for limit in opinion.limits for pattern in limit.touches]
    assert [pattern for pattern in patterns if not any(fnmatch(key, pattern) for key in out)] == []

    opinion.served.clear()
    opinion.provision()
    in_vain = {operation for limit in opinion.limits for operation in limit.repeats}
    assert [call for call in opinion.served.writes() if not any(fnmatch(call, each) for each in in_vain)] == []

    destroyed = opinion.dr("destroy", "--yes", opinion.suffix, "--poll", "0.2")
    left = opinion.dr("verify")["resources"]
    assert [item["asset"] for item in left if item["status"] != "absent"] == [], destroyed
