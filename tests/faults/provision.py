"""Provisioning with a fault at each call that creates something, and verification with a fault of each kind in each region."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from dr_assets.aws import Aws
from dr_assets.core.model import Call
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import UnansweredError
from dr_assets.stack import SITES, Stack
from tests.faults.drills import REGIONAL
from tests.faults.matrix import Subject
from tests.support.stack import build
from tests.support.things import CREATING

# Each is put at every creating call of one provisioning: (mode of the embedded AWS, how many times).
ANSWERS = {
    "throttled": ("throttle", 2),
    "failing": ("error", 1),
    "failed-after": ("error-after", 1),
    "unanswered": ("lost-after", 1),
    "garbled": ("garbled", 1),
}
FAULTS = {
    "killed-before": "SIGKILL before the call; another process goes on",
    "killed-after": "SIGKILL after the call, before its answer is used; another process goes on",
    "throttled": "throttled twice",
    "failing": "answered with 5xx, without being executed",
    "failed-after": "executed, then answered with 5xx",
    "unanswered": "executed, then the connection is dropped",
    "garbled": "executed, then answered with an HTML page",
}


def provisioning() -> Subject:
    return Subject(
        "provision",
        "`dr provision` on an empty account: each kind of call with which something is created. The cells of one fault share a stack.",
        [f"{service}.{operation}" for service, operation in CREATING],
        FAULTS,
        ("it converges: verification finds no difference afterwards", "nothing is made twice"),
        sample=1,
    )


def verification() -> Subject:
    return Subject(
        "verify",
        "`dr verify` of a stack that is in sync.",
        SITES,
        {name: f"its region {what}" for name, what in REGIONAL.items()},
        (
            "nothing is called absent or drifted because AWS did not answer",
            "a resource of a region that answers nothing is unknown",
            "it ends by itself, with an outcome for every resource",
        ),
        sample=2,
    )


def converge(stack: Stack) -> None:
    """Provision again after each answer that left open whether a call was carried out, as a person or a job's retry does."""
    for _ in range(4 * len(CREATING)):
        try:
            build(stack)
            return
        except UnansweredError:
            continue
    raise AssertionError("it does not converge")


class Mortal:
    """Provisions in processes of which each dies at the next creating call that none of them died at before."""

    def __init__(self, stack: Stack, folder: Path, when: str) -> None:
        self.stack, self.when, self._file = stack, when, folder / "died-at.json"
        self._file.write_text("[]")

    @property
    def died_at(self) -> list[str]:
        return list(json.loads(self._file.read_text()))

    def run(self, deaths: int) -> None:
        """Until one process survives, or `deaths` have died; then to the end in this process."""
        for _ in range(deaths):
            if not self._dies():
                break
        converge(self.stack)

    def _dies(self) -> bool:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                self._watch()
                converge(self.stack)
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "provisioning failed in a child process"
        return os.WIFSIGNALED(status)

    def _watch(self) -> None:
        act, before = Aws.act, set(self.died_at)
        creating = {(service, operation.lower()) for service, operation in CREATING}

        def mortal(aws: Aws, call: Call, *more: Any) -> dict[str, Any]:
            operation = (call.service, call.operation.replace("_", ""))
            name = ".".join(operation)
            last = operation in creating and name not in before
            if last:
                self._file.write_text(json.dumps([*before, name]))
            if last and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = act(aws, call, *more)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        Aws.act = mortal  # type: ignore[method-assign,assignment]


def disturb(aws: EmbeddedAws, fault: str) -> None:
    """Put the fault at every creating call."""
    mode, times = ANSWERS[fault]
    for service, operation in CREATING:
        aws.control.fault(mode, service=service, operation=operation, times=times)
