"""Checks of quotas against what is used and what provisioning adds, one check for each quota.

RDS and Route 53 give limit and use in one answer (DescribeAccountAttributes, GetAccountLimit); for the others the limit comes from
Service Quotas and the use is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from dr_assets.core.model import error_code
from dr_assets.preflight.survey import Check, Finding, Survey, fails, guarded, joined, ok
from dr_assets.resources.row import GLOBAL_REGION
from dr_assets.stack import SITES

# (limit, used) of one region
Usage = Callable[[Survey, str], tuple[float, int]]


@dataclass(frozen=True)
class Quota:
    """`service` and `code` are those of Service Quotas ("Quotas and constraints for Amazon Aurora", "Amazon VPC quotas" …).

    `kinds` are the resources that count towards it; `needs` replaces their number. `scope`: the region in which a quota of the
    whole account is kept; None: one for each region.
    """

    name: str
    what: str
    service: str
    code: str
    usage: Usage
    kinds: tuple[str, ...] = ()
    needs: Callable[[Survey], int] | None = None
    scope: str | None = None


def service_quota(survey: Survey, region: str, service: str, code: str) -> float:
    """The account's own value, else AWS's default: not every quota has an applied value (GetServiceQuota, NoSuchResourceException)."""
    query = {"ServiceCode": service, "QuotaCode": code}
    try:
        answer = survey.reads.call("service-quotas", "get_service_quota", region, **query)
    except Exception as error:
        if error_code(error) != "NoSuchResourceException":
            raise
        answer = survey.reads.call("service-quotas", "get_aws_default_service_quota", region, **query)
    return float(answer["Quota"]["Value"])


def _rds(attribute: str) -> Usage:
    def usage(survey: Survey, region: str) -> tuple[float, int]:
        answer = survey.reads.call("rds", "describe_account_attributes", region)
        found = next(item for item in answer["AccountQuotas"] if item["AccountQuotaName"] == attribute)
        return float(found["Max"]), int(found["Used"])

    return usage


def _counted(service: str, code: str, count: Callable[[Survey, str], int]) -> Usage:
    return lambda survey, region: (service_quota(survey, region, service, code), count(survey, region))


def _pages(service: str, operation: str, result: str) -> Callable[[Survey, str], int]:
    return lambda survey, region: len(survey.reads.pages(service, operation, region, result))


def _iam_roles(survey: Survey, region: str) -> int:
    return int(survey.reads.call("iam", "get_account_summary", region)["SummaryMap"]["Roles"])


def _route53(limit: str) -> Usage:
    def usage(survey: Survey, region: str) -> tuple[float, int]:
        answer = survey.reads.call("route53", "get_account_limit", region, Type=limit)
        return float(answer["Limit"]["Value"]), int(answer["Count"])

    return usage


def _rules(survey: Survey) -> int:
    """Ingress rules of one database security group: one for each application subnet of both sites."""
    return sum(len(survey.stack.application_subnet_cidrs.of(site)) for site in SITES)


def _peerings(survey: Survey, region: str) -> int:
    """Active and pending peerings of the site's VPC; 0 while there is none."""
    site = survey.stack.site_in(region) or "primary"
    vpc = survey.observed(f"{site}/network/vpc")
    if vpc is None:
        return 0
    count = 0
    for side in ("requester", "accepter"):
        filters = [{"Name": f"{side}-vpc-info.vpc-id", "Values": [vpc["VpcId"]]}]
        found = survey.reads.pages(
            "ec2", "describe_vpc_peering_connections", region, "VpcPeeringConnections", Filters=filters
        )
        count += sum(
            item.get("Status", {}).get("Code") in ("active", "pending-acceptance", "provisioning") for item in found
        )
    return count


QUOTAS: tuple[Quota, ...] = (
    Quota("db-clusters", "Aurora clusters", "rds", "L-952B80B8", _rds("DBClusters"), ("rds.cluster",)),
    Quota("db-instances", "DB instances", "rds", "L-7B6409FD", _rds("DBInstances"), ("rds.instance",)),
    Quota(
        "cluster-parameter-groups",
        "DB cluster parameter groups",
        "rds",
        "L-E4C808A8",
        _rds("DBClusterParameterGroups"),
        ("rds.cluster_parameter_group",),
    ),
    Quota(
        "parameter-groups",
        "DB parameter groups",
        "rds",
        "L-DE55804A",
        _rds("DBParameterGroups"),
        ("rds.instance_parameter_group",),
    ),
    Quota("subnet-groups", "DB subnet groups", "rds", "L-48C6BF61", _rds("DBSubnetGroups"), ("rds.subnet_group",)),
    Quota(
        "event-subscriptions",
        "RDS event subscriptions",
        "rds",
        "L-A59F4C87",
        _rds("EventSubscriptions"),
        ("rds.event_subscription",),
    ),
    Quota(
        "vpcs",
        "VPCs",
        "vpc",
        "L-F678F1CE",
        _counted("vpc", "L-F678F1CE", _pages("ec2", "describe_vpcs", "Vpcs")),
        ("ec2.vpc",),
    ),
    Quota(
        "vpc-peerings",
        "active peerings of a VPC",
        "vpc",
        "L-7E9ECCDB",
        _counted("vpc", "L-7E9ECCDB", _peerings),
        needs=lambda survey: len(survey.absent("ec2.peering")),
    ),
    Quota(
        "security-group-rules",
        "inbound rules of a security group",
        "vpc",
        "L-0EA8095F",
        _counted("vpc", "L-0EA8095F", lambda *_: 0),
        needs=lambda survey: _rules(survey) if survey.absent("ec2.security_group") else 0,
    ),
    Quota(
        "kms-keys",
        "customer managed keys",
        "kms",
        "L-C2F1777E",
        _counted("kms", "L-C2F1777E", _pages("kms", "list_keys", "Keys")),
        ("kms.key",),
    ),
    Quota(
        "sns-topics",
        "SNS topics",
        "sns",
        "L-61103206",
        _counted("sns", "L-61103206", _pages("sns", "list_topics", "Topics")),
        ("sns.topic",),
    ),
    Quota(
        "s3-buckets",
        "S3 buckets",
        "s3",
        "L-DC2B2D3D",
        _counted("s3", "L-DC2B2D3D", _pages("s3", "list_buckets", "Buckets")),
        ("s3.bucket",),
        scope=GLOBAL_REGION,
    ),
    Quota(
        "iam-roles",
        "IAM roles",
        "iam",
        "L-FE177D64",
        _counted("iam", "L-FE177D64", _iam_roles),
        ("iam.role",),
        scope=GLOBAL_REGION,
    ),
    Quota(
        "health-checks",
        "Route 53 health checks",
        "route53",
        "L-ACB674F3",
        _route53("MAX_HEALTH_CHECKS_BY_OWNER"),
        ("route53.health_check",),
        scope=GLOBAL_REGION,
    ),
    Quota(
        "hosted-zones",
        "Route 53 hosted zones",
        "route53",
        "L-4EA4796A",
        _route53("MAX_HOSTED_ZONES_BY_OWNER"),
        ("route53.zone",),
        scope=GLOBAL_REGION,
    ),
)


def check_quota(survey: Survey, quota: Quota) -> Finding:
    regions: Sequence[str] = [quota.scope] if quota.scope else [survey.stack.region(site) for site in SITES]

    def at(region: str) -> Finding:
        if quota.needs:
            need = quota.needs(survey)
        else:
            need = sum(len(survey.absent(kind, None if quota.scope else region)) for kind in quota.kinds)
        if not need and not survey.everything:
            return ok("nothing to create")
        limit, used = quota.usage(survey, region)
        # Service Quotas knows the account's quotas in us-east-1, which says nothing to a reader.
        where = "in the account" if quota.scope else f"in {region}"
        facts = {"account" if quota.scope else region: {"limit": limit, "used": used, "needed": need}}
        if need and used + need > limit:
            return fails(
                f"{quota.what}: {used} of {limit:g} used {where}, {need} more needed",
                f"Request an increase of {quota.service} quota {quota.code} {where} to at least {used + need}.",
                **facts,
            )
        return ok(f"{quota.what}: {used} of {limit:g} used {where}, {need} more needed", **facts)

    return joined([guarded(partial(at, region), region) for region in regions])


CHECKS = tuple(
    Check(f"quota-{quota.name}", f"quota of {quota.what}", partial(check_quota, quota=quota)) for quota in QUOTAS
)
