"""A global database whose writer is in a third region: every command names it in one line, exits 2, and writes nothing."""

import json
from collections.abc import Iterator

import pytest

from dr_assets.aws import Aws
from dr_assets.cli.demo import environment
from dr_assets.drills import runner
from dr_assets.drills.request import Request
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import WriterOutsideError
from dr_assets.stack import Stack, load_stack
from tests.support.cli import dr

pytestmark = pytest.mark.timeout(300)
ENGINE = {"Engine": "aurora-postgresql", "EngineVersion": "14.13"}
OUTSIDE = "eu-west-1"


@pytest.fixture(scope="module")
def outside_aws() -> Iterator[EmbeddedAws]:
    """Up to ten secondary regions, any of which may become the writer (Aurora user guide)."""
    with EmbeddedAws() as aws:
        with environment(aws.env()):
            stack = load_stack()
            name, suffix = stack.global_cluster_name, stack.environment_suffix
            regions = {"primary": stack.primary_region, "secondary": stack.secondary_region, "third": OUTSIDE}
            for site, region in regions.items():
                rds = Aws().client("rds", region, writing=True)
                if site == "primary":
                    rds.create_global_cluster(GlobalClusterIdentifier=name, **ENGINE)
                master = (
                    {"MasterUsername": "dbadmin", "MasterUserPassword": "not-a-real-one"} if site == "primary" else {}
                )
                cluster = f"aurora-{site}-{suffix}"
                rds.create_db_cluster(DBClusterIdentifier=cluster, GlobalClusterIdentifier=name, **ENGINE, **master)
                rds.create_db_instance(
                    DBInstanceIdentifier=f"{cluster}-1",
                    DBClusterIdentifier=cluster,
                    DBInstanceClass="db.r6g.large",
                    Engine=ENGINE["Engine"],
                )
            home = Aws().client("rds", stack.primary_region, writing=True)
            home.switchover_global_cluster(
                GlobalClusterIdentifier=name,
                TargetDbClusterIdentifier=f"arn:aws:rds:{OUTSIDE}:123456789012:cluster:aurora-third-{suffix}",
            )
        yield aws


@pytest.fixture
def aws(outside_aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> EmbeddedAws:
    for name, value in outside_aws.env().items():
        monkeypatch.setenv(name, value)
    outside_aws.control.clear_calls()
    return outside_aws


def assert_nothing_written(aws: EmbeddedAws) -> None:
    assert [call["operation"] for call in aws.control.calls() if call["mutating"]] == []


@pytest.mark.parametrize(
    "command",
    [
        ("provision",),
        ("provision", "--allow-away"),
        ("destroy", "--yes", "l6p3z2w4"),
        ("drill", "switchover", "--yes", "--why", "a test"),
        ("drill", "failover", "--dry-run"),
        ("drill", "reconcile", "old.example.test", "--out", "/dev/null"),
    ],
    ids=" ".join,
)
def test_aws_18_a_command_that_writes_is_refused_in_one_line(aws: EmbeddedAws, command: tuple[str, ...]) -> None:
    done = dr(*command, env={"DR_TLS_CA": str(_any_authorities())})
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().count("\n") == 0, done.stderr
    assert f"The writer of the global cluster is in {OUTSIDE}, outside both sites" in done.stderr
    assert_nothing_written(aws)


def test_aws_18_verify_and_status_name_the_writer(aws: EmbeddedAws) -> None:
    for command in ("verify", "status"):
        text = dr(command)
        assert f"The writer of the global cluster is in {OUTSIDE}" in text.stdout, text.stderr
        assert "Traceback" not in text.stderr
        document = json.loads(dr(command, "--json").stdout)
        assert OUTSIDE in document["problem"]
        assert document.get("at_home", False) is False
    assert dr("verify").returncode == 2
    assert_nothing_written(aws)


def test_aws_18_a_drill_is_not_planned(aws: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_TLS_CA", str(_any_authorities()))
    for scenario in ("switchover", "failover", "failback"):
        with pytest.raises(WriterOutsideError, match=f"in {OUTSIDE}, outside both sites"):
            runner.prepare(stack, Request(scenario, "kim", "a test"))  # type: ignore[arg-type]
    assert_nothing_written(aws)


def _any_authorities() -> str:
    import certifi

    return certifi.where()
