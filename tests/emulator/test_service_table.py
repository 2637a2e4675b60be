"""The table of services: moto's other services need no entry, and its modules are the only ones imported by name."""

from importlib import import_module
from pathlib import Path

import pytest

from dr_assets import emulator
from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.services import TABLE

from .conftest import Clients

PACKAGE = Path(emulator.__file__).parent


def test_event_bridge_works_without_an_entry(client: Clients, name: str) -> None:
    assert "events" not in TABLE
    events = client("events")
    arn = events.put_rule(Name=name, EventPattern='{"source": ["aws.rds"]}', State="ENABLED")["RuleArn"]
    assert arn.endswith(f":rule/{name}")
    target = {"Id": "topic", "Arn": f"arn:aws:sns:us-east-1:123456789012:{name}"}
    assert events.put_targets(Rule=name, Targets=[target])["FailedEntryCount"] == 0
    assert events.list_targets_by_rule(Rule=name)["Targets"] == [target]
    assert events.describe_rule(Name=name)["EventPattern"] == '{"source": ["aws.rds"]}'


def test_a_service_with_rest_paths_works_without_an_entry(client: Clients, name: str) -> None:
    assert "backup" not in TABLE
    client("backup").create_backup_vault(BackupVaultName=name)
    assert client("backup").describe_backup_vault(BackupVaultName=name)["BackupVaultName"] == name


@pytest.mark.parametrize("service", [name for name, entry in TABLE.items() if entry.extension])
def test_an_entry_names_a_module_that_exports_its_extension(service: str) -> None:
    found = import_module(f"dr_assets.emulator.{TABLE[service].extension}").EXTENSION
    assert isinstance(found, Extension), "export an Extension named EXTENSION"
    assert issubclass(found.backend, Extended), "put Extended in front of moto's backend class"
    # moto writes "service-quotas" there, and "servicequotas" where it dispatches.
    assert found.backends.service_name.replace("-", "") == service
    assert set(TABLE[service].reads) <= set(TABLE)


def test_only_the_table_imports_by_name() -> None:
    """A string can hide a circle from the import rules."""
    assert [str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if "import_module" in p.read_text()] == [
        "services.py"
    ]
