"""A replicating stack for drills: home before each test, with plain SQL past the product's own measuring, and drills that are killed."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from dr_assets.aws import Aws
from dr_assets.cli.demo import environment, subscribe_on_call
from dr_assets.drills import runner
from dr_assets.drills.journal import unfinished
from dr_assets.drills.request import Request
from dr_assets.emulator import EmbeddedAws
from dr_assets.history.store import FolderStore
from dr_assets.postgres.connection import Credentials
from dr_assets.stack import Stack, load_stack
from tests.support.approvals import start
from tests.support.stack import build_replicating

FAST = {"rate": 50.0, "baseline_seconds": 0.4, "probe_interval": 0.05}


@pytest.fixture(scope="module")
def pair_aws() -> Iterator[EmbeddedAws]:
    """The whole stack, with databases."""
    with EmbeddedAws(databases=True) as aws:
        aws.control.answers(metric_delay_seconds=0.0)  # drill after drill, each with a lag of now
        with environment(aws.env()):
            build_replicating(aws, load_stack())
            subscribe_on_call(load_stack())
        yield aws


@pytest.fixture
def aws(pair_aws: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> EmbeddedAws:
    """At home, replicating, without faults."""
    for name, value in pair_aws.env().items():
        monkeypatch.setenv(name, value)
    pair_aws.control.clear_faults()
    pair_aws.control.database("heal")
    pair_aws.control.database("hold_rebuild", on=False)
    pair_aws.control.database("events", trouble="none")
    pair_aws.control.answers(endpoint_ttl_seconds=1)
    until(lambda: calm(pair_aws))
    if pair_aws.control.database()["writer"] != "primary":
        world = Aws().client("rds", stack.secondary_region, writing=True)
        members = world.describe_global_clusters()["GlobalClusters"][0]["GlobalClusterMembers"]
        home = next(m["DBClusterArn"] for m in members if not m["IsWriter"])
        world.switchover_global_cluster(
            GlobalClusterIdentifier=stack.global_cluster_name, TargetDbClusterIdentifier=home
        )
        until(lambda: pair_aws.control.database()["writer"] == "primary")
        until(lambda: calm(pair_aws))
    pair_aws.control.clear_calls()
    return pair_aws


def calm(aws: EmbeddedAws) -> bool:
    lag = aws.control.database()["lag_ms"]
    with suppress(Exception):
        members = Aws().client("rds", "us-west-2").describe_global_clusters()["GlobalClusters"][0]
        return lag is not None and lag < 500 and not members.get("FailoverState")
    return False


def until(done: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def request(scenario: Any, **more: Any) -> Request:
    return Request(scenario, "tester", "a test", settings=FAST, **more)


def sql(stack: Stack, address: list[Any], text: str, *values: Any) -> list[tuple[Any, ...]]:
    """One plain query, past all of the product's own measuring."""
    with sql_connection(stack, address) as connection:
        cursor = connection.execute(text, values)
        return cursor.fetchall() if cursor.description else []


def sql_connection(stack: Stack, address: list[Any]) -> "psycopg.Connection[Any]":
    return connect_as(secret(stack), address)


def secret(stack: Stack) -> Credentials:
    name = f"rds-master-password-secondary-{stack.environment_suffix}"
    found = Aws().client("secretsmanager", stack.secondary_region).get_secret_value(SecretId=name)
    return Credentials.from_secret(json.loads(found["SecretString"]))


def connect_as(found: Credentials, address: list[Any]) -> "psycopg.Connection[Any]":
    """By address, which no certificate names: so verify-ca."""
    return psycopg.connect(
        host=address[0],
        port=address[1],
        user=found.username,
        password=found.password.reveal(),
        dbname=found.dbname,
        autocommit=True,
        connect_timeout=2,
        sslmode="verify-ca",
        sslrootcert=os.environ["DR_TLS_CA"],
    )


ROWS = "select writer, seq from dr_drill.dr_ledger where drill = %s"


def moves(aws: EmbeddedAws) -> list[str]:
    return [
        c["operation"]
        for c in aws.control.calls()
        if c["operation"] in ("SwitchoverGlobalCluster", "FailoverGlobalCluster")
    ]


def killed_at(step: str, stack: Stack, store: FolderStore, scenario: str) -> int:
    child = os.fork()
    if child == 0:
        try:
            run_and_die(step, stack, store, scenario)
        finally:
            os._exit(3)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def run_and_die(step: str, stack: Stack, store: FolderStore, scenario: str) -> None:
    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if step == "called":
        real = Aws.act

        def act(self: Aws, *args: Any) -> Any:
            real(self, *args)
            die()

        Aws.act = act  # type: ignore[method-assign]
    waiting = unfinished(store, stack.environment_suffix)
    on_step = lambda name, text: die() if name == step else None  # noqa: E731
    if waiting:
        runner.resume(stack, store, waiting[0], on_step)
    else:
        start(stack, store, request(scenario), on_step)
