"""The driver of the PostgreSQL pair: which server does what as clusters leave, join anew, and a third one takes part."""

import threading
from types import SimpleNamespace
from typing import Any, cast

from dr_assets.emulator.postgres import PostgresPair
from dr_assets.emulator.rds.databases import PairDriver
from dr_assets.emulator.rds.roles import RoleChange

PRIMARY, SECONDARY, THIRD = (f"arn:aws:rds:{r}:1:cluster:{r}" for r in ("us-east-1", "us-west-2", "eu-west-1"))


class RecordingPair:
    """Stands in for the servers: records what is asked of them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.writer, self.running = "primary", True
        self.regions: dict[str, str] = {}

    def configure_tls(self, *_: Any) -> None:
        """Of every request, and not the subject here."""

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.calls.append((name, *[str(item) for item in given]))


class Scene:
    """A global cluster with members in as many regions, and the driver that has observed them."""

    def __init__(self, *arns: str) -> None:
        self.pair = RecordingPair()
        self.driver = PairDriver(cast(PostgresPair, self.pair))
        self.whole = SimpleNamespace(members=[], writer=None, database_name="db", endpoint="global")
        for arn in arns:
            self.join(arn)

    def join(self, arn: str) -> None:
        region = arn.split(":")[3]
        member = SimpleNamespace(
            arn=arn,
            region=region,
            members=[SimpleNamespace(db_instance_identifier=f"{region}-1")],
            db_cluster_identifier=region,
            url_identifier="c1",
            master_username="dbadmin",
            _master_user_password="pw",
            database_name="db",
            parameter_group="own",
            backend=SimpleNamespace(db_cluster_parameter_groups={}),
        )
        self.whole.members.append(member)
        self.whole.writer = self.whole.writer or member
        self.driver.observe([self.whole])
        self.pair.calls.clear()

    def observe(self) -> list[tuple[str, ...]]:
        self.driver.observe([self.whole])
        for thread in threading.enumerate():
            if thread.name in ("move", "separate"):
                thread.join()
        return self.pair.calls

    def move(self, kind: Any, source: str, target: str) -> list[tuple[str, ...]]:
        change = RoleChange(kind, "g", source, target, 0.0, -1)
        self.driver.begin(change)
        self.observe()
        assert self.driver.finished(change) and self.driver.failed(change) is None
        return self.pair.calls


def test_aws_17_the_server_of_a_cluster_that_leaves_is_promoted_once_and_attached_when_it_joins_anew() -> None:
    scene = Scene(PRIMARY, SECONDARY)
    assert scene.observe() == []
    left = scene.whole.members.pop()
    assert scene.observe() == [("separate", "secondary")]
    assert scene.observe() == [("separate", "secondary")]
    scene.pair.calls.clear()
    scene.whole.members.append(left)
    assert scene.observe() == [("attach", "secondary")]


def test_aws_18_a_third_member_has_no_server_and_may_be_the_writer_all_the_same() -> None:
    scene = Scene(PRIMARY, SECONDARY, THIRD)
    assert scene.driver.site(THIRD) is None
    assert scene.move("switchover", PRIMARY, THIRD) == []
    assert scene.move("failover", THIRD, PRIMARY) == [], "where the pair's writer is already"
    assert scene.driver.resynchronised(RoleChange("failover", "g", THIRD, PRIMARY, 0.0, -1))
    assert scene.move("switchover", PRIMARY, SECONDARY) == [("switchover", "secondary")]
