"""Verification, provisioning and destruction as principals with exactly their duty's policy: nothing is refused."""

import pytest

from dr_assets.cli.run_job import destroy_config, run_job
from dr_assets.emulator import ACCOUNT_ID, EmbeddedAws
from dr_assets.reconcile import service
from dr_assets.resources.iam_policy import policy, split
from dr_assets.stack import Stack
from tests.support.principal import acting_as, denied_calls, unused_grants
from tests.support.stack import build

# Granted to verification and not used here, with the reason.
UNUSED = {
    "kms:ListKeys": "a key is searched for only while its alias is missing",
    "rds:DescribeDBClusterEndpoints": "whether AWS checks the cluster's endpoints beside the cluster is not documented",
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_aws_20_each_command_is_permitted_what_it_calls(cloud: EmbeddedAws, stack: Stack) -> None:
    with acting_as(cloud, split(policy(stack, ["provision"], ACCOUNT_ID))):
        build(stack)
    assert denied_calls(cloud.control.calls()) == []
    verifying = split(policy(stack, ["verify"], ACCOUNT_ID))
    cloud.control.clear_calls()
    with acting_as(cloud, verifying):
        assert service.verify(stack).in_sync
    calls = cloud.control.calls()
    assert denied_calls(calls) == []
    assert {grant.split(": ")[1] for grant in unused_grants(verifying, calls)} == set(UNUSED)
    cloud.control.clear_calls()
    with acting_as(cloud, split(policy(stack, ["destroy"], ACCOUNT_ID))):
        run_job(stack, "destroy_stack", destroy_config(stack.environment_suffix, poll_seconds=0.05))
    assert denied_calls(cloud.control.calls()) == []
