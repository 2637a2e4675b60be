"""Identity: the role with which each site's instances send enhanced-monitoring figures."""

from __future__ import annotations

from collections.abc import Iterator

from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.row import GLOBAL_REGION, from_source, resource, trust
from dr_assets.stack import Site, Stack

LOST = "the database's own monitoring would be blind"


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    role = names.monitoring_role(stack, site)
    yield resource(
        stack,
        f"{site}/identity/monitoring-role",
        "iam.role",
        role,
        {"AssumeRolePolicy": trust("monitoring.rds.amazonaws.com", from_source(names.instances_arn(stack, site)))},
        region=GLOBAL_REGION,
        settings={"Description": f"Enhanced monitoring of the {site} Aurora instances"},
        terraform=f"module.{site}.aws_iam_role.monitoring",
        title="Lets RDS deliver operating-system figures of the instances to CloudWatch Logs.",
    )
    yield resource(
        stack,
        f"{site}/identity/monitoring-attachment",
        "iam.role_attachment",
        names.monitoring_policy(stack),
        {},
        tagged=False,
        region=GLOBAL_REGION,
        identity={"RoleName": role},
        after=(f"{site}/identity/monitoring-role",),
        terraform=f"module.{site}.aws_iam_role_policy_attachment.monitoring",
        title="AWS's own policy for enhanced monitoring, attached to the role.",
    )
