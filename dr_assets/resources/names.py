"""Every AWS name and ARN of a stack, each written once: what a resource is called at a site, and how its ARN is built.

Names are `{type}-{purpose}-{site}-{suffix}` with few exceptions; the table of docs/stack.md lists them all. A name or ARN
with the account number in it is a `Text`: the account is known only once AWS has answered.
"""

from __future__ import annotations

import re

from dr_assets.core.expressions import Text
from dr_assets.stack import Site, Stack

# Stands for the account number (12 digits) in a `Text`.
ACCOUNT = "{account}"


def partition(region: str) -> str:
    """The partition a region belongs to ("Amazon Resource Names", AWS General Reference)."""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def arn(service: str, resource: str, *, region: str = "", account: str = "", home: str = "") -> str:
    """`arn:PARTITION:service:region:account:resource`.

    Global services leave `region` empty and name in `home` a region of the partition they are in (default: aws).
    """
    return f"arn:{partition(region or home)}:{service}:{region}:{account}:{resource}"


_KEY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}")


def full_key_arn(key: str | None, *, region: str, account: str) -> str | None:
    """A KMS key as services show it, as ARN where it is shown by its id; an ARN, an alias and None as they are.

    What was set as an ARN may be answered as id: Secrets Manager answers "the key ID or alias ARN" (DescribeSecret), RDS "the key ARN,
    key ID, alias ARN, or alias name" (DBCluster.KmsKeyId), SNS and SQS an id (KMS API reference, KeyMetadata.KeyId, for the forms).
    """
    return arn("kms", f"key/{key}", region=region, account=account) if key and _KEY_ID.fullmatch(key) else key


# --- network ---------------------------------------------------------------------------------------------------------


def vpc(stack: Stack, site: Site) -> str:
    return f"aurora-dr-{site}-{stack.environment_suffix}"


def subnet(stack: Stack, site: Site, n: int) -> str:
    return f"aurora-dr-{site}-subnet-{n}-{stack.environment_suffix}"


def route_table(stack: Stack, site: Site) -> str:
    return f"aurora-dr-{site}-rt-{stack.environment_suffix}"


def security_group(stack: Stack, site: Site) -> str:
    return f"rds-aurora-{site}-{stack.environment_suffix}"


def db_subnet_group(stack: Stack, site: Site) -> str:
    return f"aurora-subnet-{site}-{stack.environment_suffix}"


def peering(stack: Stack) -> str:
    return f"aurora-dr-peering-{stack.environment_suffix}"


# --- encryption, identity, credentials -------------------------------------------------------------------------------


def data_key(stack: Stack, site: Site) -> str:
    return f"rds-aurora-{stack.region(site)}-{stack.environment_suffix}"


def notifications_key(stack: Stack, site: Site) -> str:
    return f"sns-{stack.region(site)}-{stack.environment_suffix}"


def key_arn(stack: Stack, site: Site) -> Text:
    """Any key of the account in the site's region: KMS chooses the ids."""
    return Text(arn("kms", "key/*", region=stack.region(site), account=ACCOUNT))


def monitoring_role(stack: Stack, site: Site) -> str:
    return f"rds-monitoring-role-{site}-{stack.environment_suffix}"


def monitoring_policy(stack: Stack) -> str:
    """AWS's own managed policy for enhanced monitoring."""
    name = "policy/service-role/AmazonRDSEnhancedMonitoringRole"
    return arn("iam", name, account="aws", home=stack.primary_region)


def boundary(stack: Stack) -> str:
    """The permissions boundary of the stack's roles."""
    return f"aurora-dr-boundary-{stack.environment_suffix}"


def account_root(stack: Stack) -> Text:
    """The account's root principal: whoever the account's own IAM policies admit."""
    return Text(arn("iam", "root", account=ACCOUNT, home=stack.primary_region))


def secret(stack: Stack, site: Site) -> str:
    return f"rds-master-password-{site}-{stack.environment_suffix}"


# --- aurora ----------------------------------------------------------------------------------------------------------


def cluster(stack: Stack, site: Site) -> str:
    return f"aurora-{site}-{stack.environment_suffix}"


def instance(stack: Stack, site: Site, n: int) -> str:
    return f"aurora-{site}-instance-{n}-{stack.environment_suffix}"


def instances_arn(stack: Stack, site: Site) -> Text:
    """A pattern for the ARNs of the site's instances."""
    name = f"db:aurora-{site}-instance-*-{stack.environment_suffix}"
    return Text(arn("rds", name, region=stack.region(site), account=ACCOUNT))


def parameter_group(stack: Stack, site: Site, scope: str) -> str:
    """`scope`: cluster or instance."""
    return f"aurora-postgresql-{scope}-{site}-{stack.environment_suffix}"


def log_group(stack: Stack, site: Site) -> str:
    """RDS chooses this name itself ("Publishing Aurora PostgreSQL logs to CloudWatch Logs", Aurora user guide)."""
    return f"/aws/rds/cluster/{cluster(stack, site)}/postgresql"


# --- backup ----------------------------------------------------------------------------------------------------------


def bucket(stack: Stack, site: Site) -> Text:
    return Text(f"db-exports-{site}-{stack.environment_suffix}-{ACCOUNT}")


def bucket_arn(stack: Stack, site: Site, tail: str = "") -> Text:
    return Text(arn("s3", f"{bucket(stack, site).template}{tail}", home=stack.region(site)))


def replication_role(stack: Stack) -> str:
    return f"s3-replication-role-{stack.environment_suffix}"


def replication_role_arn(stack: Stack) -> Text:
    return Text(arn("iam", f"role/{replication_role(stack)}", account=ACCOUNT, home=stack.primary_region))


# --- notifications, alarms -------------------------------------------------------------------------------------------


def topic(stack: Stack, site: Site) -> str:
    return f"db-events-{site}-{stack.environment_suffix}"


def topic_arn(stack: Stack, site: Site) -> Text:
    return Text(arn("sns", topic(stack, site), region=stack.region(site), account=ACCOUNT))


def queue(stack: Stack, site: Site) -> str:
    """The event queue; it has its topic's name."""
    return topic(stack, site)


def dead_letter_queue(stack: Stack, site: Site) -> str:
    return f"db-events-dlq-{site}-{stack.environment_suffix}"


def queue_arn(stack: Stack, site: Site, name: str) -> Text:
    return Text(arn("sqs", name, region=stack.region(site), account=ACCOUNT))


def event_subscription(stack: Stack, site: Site) -> str:
    return f"rds-event-sub-{site}-{stack.environment_suffix}"


def alarm(stack: Stack, site: Site, metric: str) -> str:
    """`metric`: replication-lag, rpo-lag, cpu, connections, connectivity, takes-writes, or heartbeat-WATCHER."""
    return f"aurora-{metric}-{site}-{stack.environment_suffix}"


# --- DNS -------------------------------------------------------------------------------------------------------------


def health_check(stack: Stack, check: str, site: str = "") -> str:
    """`check` as in the asset key: health-check, health-check-lag …; those of the whole stack have no site."""
    return "-".join(part for part in (check, site, stack.environment_suffix) if part)


def zone(stack: Stack) -> str:
    return f"aurora-dr-zone-{stack.environment_suffix}"


def database_host(stack: Stack) -> str:
    """The name that applications connect to."""
    return f"db.{stack.hosted_zone_name}"
