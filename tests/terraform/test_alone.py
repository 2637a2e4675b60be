"""Terraform by itself: well formed, its own tests, what it ignores, and what it takes over from Dagster."""

import json
import re
from pathlib import Path

import pytest

from dr_assets.aws import Aws
from dr_assets.cli.run_job import provision_config, run_job
from dr_assets.emulator import EmbeddedAws
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from dr_assets.terraform import imports
from tests.support.terraform import INFRA, changes, ready

pytestmark = [pytest.mark.terraform, pytest.mark.slow, pytest.mark.timeout(900)]


def test_what_drift_leaves_out_is_what_terraform_ignores(stack: Stack) -> None:
    declared = {}
    for file in (*INFRA.glob("*.tf"), *INFRA.glob("modules/*/*.tf")):
        for block in re.split(r"^(?=resource )", file.read_text(), flags=re.MULTILINE)[1:]:
            kind, name = re.findall(r'"([^"]+)"', block.splitlines()[0])
            if found := re.search(r"ignore_changes = \[(.*?)\]", block, flags=re.DOTALL):
                declared[f"{kind}.{name}"] = set(re.findall(r"^[\s]*(\w+),?$", found[1], flags=re.MULTILINE))
    ours = {}
    for resource in catalog(stack):
        block = ".".join(re.sub(r"\[.*\]", "", resource.terraform[0]).split(".")[-2:])
        ours[block] = set(resource.terraform_ignores)
        assert resource.terraform_ignores == declared.get(block, set()), resource.key
    assert declared == {block: ignored for block, ignored in ours.items() if ignored}


def test_formatted_and_valid(tmp_path: Path) -> None:
    terraform = ready(tmp_path, None)
    terraform.run("fmt", "-recursive", "-check")
    terraform.run("validate")


def test_terraforms_own_tests_pass_offline(tmp_path: Path) -> None:
    done = ready(tmp_path, None).run("test", "-no-color", check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "0 failed" in done.stdout


def test_terraform_takes_over_what_dagster_built(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedAws() as aws:
        for name, value in aws.env().items():
            monkeypatch.setenv(name, value)
        assert run_job(stack, "provision_stack", provision_config(poll_seconds=0.05)).success
        terraform = ready(tmp_path, aws.endpoint_url)
        blocks = imports(StackState(stack, Aws()))
        assert (
            blocks.count("import {") == len(catalog(stack)) - 3 + 1
        )  # without the secrets' versions, with the accepter
        (terraform.directory / "imports.tf").write_text(blocks)
        plan = terraform.plan()
        secret = (
            Aws()
            .client("secretsmanager", stack.primary_region)
            .get_secret_value(SecretId=f"rds-master-password-primary-{stack.environment_suffix}")
        )
    destructive = [item for item in changes(plan) if "delete" in item[1]]
    created = {address for address, actions in changes(plan) if actions == ["create"]}
    assert destructive == []
    assert created == {
        "aws_secretsmanager_secret_version.seed",
        "aws_secretsmanager_secret_version.primary",
        "aws_secretsmanager_secret_version.secondary",
    }
    assert json.loads(secret["SecretString"])["password"] not in json.dumps(plan)
