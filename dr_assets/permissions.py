"""The least-privilege IAM policy, put together from what each kind says it needs. Pure; imports `core` and `kinds` only."""

from __future__ import annotations

from typing import Any

from dr_assets.kinds import KINDS

# Asked of the stack as a whole, not of one kind.
_ALWAYS = ("sts:GetCallerIdentity", "rds:DescribeGlobalClusters")


def policy(write: bool) -> dict[str, Any]:
    """An IAM policy document: what verification needs, or with `write` also what provisioning and destroying need.

    Most describe actions know no resource-level permissions (Service Authorization Reference), hence `Resource: "*"`.
    """
    reads = sorted({*_ALWAYS, *(action for kind in KINDS.values() for action in kind.read_actions)})
    statements = [{"Sid": "Verify", "Effect": "Allow", "Action": reads, "Resource": "*"}]
    if write:
        writes = sorted({action for kind in KINDS.values() for action in kind.write_actions} - set(reads))
        statements.append({"Sid": "Provision", "Effect": "Allow", "Action": writes, "Resource": "*"})
    return {"Version": "2012-10-17", "Statement": statements}
