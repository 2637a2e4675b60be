"""The master password is in the two secrets and nowhere else: not in events, logs, metadata or on a terminal."""

import json
from pathlib import Path

import dagster as dg
import pytest

from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.stack import SITES, Stack
from tests.support.cli import dr
from tests.support.stack import build


def passwords(stack: Stack) -> dict[str, str]:
    aws = Aws()
    found = {}
    for site in SITES:
        client = aws.client("secretsmanager", stack.region(site))
        answer = client.get_secret_value(SecretId=f"rds-master-password-{site}-{stack.environment_suffix}")
        found[site] = json.loads(answer["SecretString"])["password"]
    return found


@pytest.mark.slow
def test_the_password_is_nowhere_but_in_the_secrets(
    cloud: EmbeddedAws, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    made = dr("provision", "--json", "--poll", "0.05")
    assert made.returncode == 0, made.stderr
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
        events = [entry.to_json() for entry in instance.all_logs(run.run_id)]
    commands = [made, dr("verify", "--json"), dr("outputs", "--json")]

    both = passwords(stack)
    assert both["primary"] == both["secondary"]
    password = both["primary"]
    assert len(password) >= 32
    assert not set(password) & set("/@\" '")

    assert len(events) > 500
    assert password not in "\n".join(events)
    for command in commands:
        assert password not in command.stdout + command.stderr
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files), "the event log was really written"
    for path in files:
        assert password.encode() not in path.read_bytes(), path


def test_a_crash_between_seed_and_cluster_keeps_one_password(cloud: EmbeddedAws, stack: Stack) -> None:
    """The password is read back from the secret, so a run after a crash continues with the same one."""
    from dr_assets.reconcile.stack_state import StackState

    first = StackState(stack, Aws())
    for key in ("primary/encryption/data-key", "primary/credentials/secret", "primary/credentials/password"):
        assert first.reconcile(first.resources[key]).good
    secret = f"rds-master-password-primary-{stack.environment_suffix}"
    client = Aws().client("secretsmanager", stack.primary_region)
    seed = json.loads(client.get_secret_value(SecretId=secret)["SecretString"])["password"]
    build(stack)
    assert set(passwords(stack).values()) == {seed}
    created = [c for c in cloud.control.calls() if c["operation"] == "GetRandomPassword"]
    assert len(created) == 1


def test_a_drifted_secret_is_found_and_corrected(built: EmbeddedAws, stack: Stack) -> None:
    from dr_assets.reconcile import service

    good = passwords(stack)["primary"]
    client = Aws().client("secretsmanager", stack.secondary_region)
    secret = f"rds-master-password-secondary-{stack.environment_suffix}"
    document = json.loads(client.get_secret_value(SecretId=secret)["SecretString"])
    client.put_secret_value(SecretId=secret, SecretString=json.dumps(document | {"password": "something-else"}))
    found = [(o.key, d) for o in service.verify(stack).outcomes for d in o.drift]
    assert [(key, d.field) for key, d in found] == [("secondary/credentials/version", "PasswordMatchesPrimary")]
    assert "something-else" not in repr(found)
    build(stack)
    assert passwords(stack) == {"primary": good, "secondary": good}
