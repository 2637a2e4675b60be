"""For every kind and every compared field: an out-of-band change is reported as that field of that resource and
nothing else, and provisioning heals it. Generated over the catalogue.

Where a kind's own `update` can bring about a *wrong* value it is asked to, and the call it names is made with a plain
client. What no update would ever do (disable a key, open a route) stands in `BY_HAND`. What is read back, compared and
healed is the product's business alone.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from dr_assets.aws import Aws
from dr_assets.core.compare import compare
from dr_assets.core.expressions import resolve
from dr_assets.core.model import Call, Resource, Target
from dr_assets.emulator import ACCOUNT_ID, EmbeddedAws
from dr_assets.reconcile import service
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources import names
from dr_assets.resources.catalog import catalog
from dr_assets.resources.iam_policy import policy, split
from dr_assets.resources.registry import KINDS
from dr_assets.stack import SITES, Site, Stack, load_stack
from tests.support.principal import acting_as
from tests.support.stack import mutating, provision

Field = tuple[str, str]
PROVISION = split(policy(load_stack(), ["provision"], ACCOUNT_ID))
EVERYBODY = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "*", "Resource": "*"}
OPEN_POLICY = {"Version": "2012-10-17", "Statement": [EVERYBODY]}

# Another value that AWS accepts, for fields where turning a boolean or adding one to a number would not do.
WRONG: dict[Field, Any] = {
    ("cloudwatch.alarm", "Namespace"): "AWS/Other",
    ("cloudwatch.alarm", "MetricName"): "Other",
    ("cloudwatch.alarm", "Dimensions"): {"DBClusterIdentifier": "other"},
    ("cloudwatch.alarm", "Statistic"): "Sum",
    ("cloudwatch.alarm", "ComparisonOperator"): "LessThanOrEqualToThreshold",
    ("cloudwatch.alarm", "Period"): 300,
    ("cloudwatch.alarm", "DatapointsToAlarm"): 1,
    ("cloudwatch.alarm", "TreatMissingData"): "ignore",
    ("cloudwatch.alarm", "AlarmActions"): [],
    ("cloudwatch.alarm", "OKActions"): [],
    ("ec2.security_group", "Ingress"): ["tcp 5432-5432 0.0.0.0/0"],
    ("ec2.security_group", "Egress"): ["-1 -1--1 0.0.0.0/0"],
    ("iam.role", "AssumeRolePolicy"): {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    },
    ("iam.role", "PermissionsBoundary"): "arn:aws:iam::aws:policy/AdministratorAccess",
    ("iam.role_policy", "Policy"): {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
    },
    ("kms.key", "Policy"): {"Version": "2012-10-17", "Statement": [{**EVERYBODY, "Action": "kms:*"}]},
    ("logs.log_group", "RetentionInDays"): 1,
    ("rds.cluster", "BackupRetentionPeriod"): 1,
    ("rds.cluster", "PreferredBackupWindow"): "10:00-11:00",
    ("rds.cluster", "PreferredMaintenanceWindow"): "sun:20:00-sun:21:00",
    ("rds.cluster", "DBClusterParameterGroup"): "default.aurora-postgresql14",
    ("rds.cluster", "EnabledCloudwatchLogsExports"): [],
    ("rds.event_subscription", "EventCategories"): ["failover"],
    ("rds.event_subscription", "SourceIds"): ["aurora-another"],
    ("rds.instance", "DBInstanceClass"): "db.r6g.xlarge",
    ("rds.instance", "DBParameterGroup"): "default.aurora-postgresql14",
    ("rds.instance", "MonitoringInterval"): 30,
    ("rds.instance", "PerformanceInsights"): None,  # off
    ("route53.health_check", "InsufficientDataHealthStatus"): "Unhealthy",
    ("route53.record", "Value"): "elsewhere.example.com",
    ("s3.lifecycle", "Rules"): [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}}],
    ("s3.replication", "Role"): "arn:aws:iam::123456789012:role/other",
    ("secretsmanager.version", "Username"): "other",
    ("secretsmanager.version", "Engine"): "mysql",
    ("secretsmanager.version", "Host"): "elsewhere.example.com",
    ("secretsmanager.version", "DbName"): "other",
}
# … or the value of another resource's field.
POINT_ELSEWHERE: dict[Field, tuple[str, str]] = {
    ("ec2.route_table_association", "RouteTableId"): ("secondary/network/route-table", "RouteTableId"),
    ("kms.alias", "TargetKeyId"): ("primary/encryption/notifications-key", "KeyId"),
    ("rds.event_subscription", "SnsTopicArn"): ("secondary/notifications/topic", "Arn"),
    ("route53.health_check", "AlarmName"): ("primary/monitoring/alarm-cpu", "AlarmName"),
    ("route53.record", "HealthCheckId"): ("primary/dns/health-check-lag", "HealthCheckId"),
    ("s3.encryption", "KMSMasterKeyID"): ("primary/encryption/notifications-key", "Arn"),
    ("secretsmanager.secret", "KmsKeyId"): ("primary/encryption/notifications-key", "Arn"),
    ("sns.topic", "KmsMasterKeyId"): ("primary/encryption/data-key", "Arn"),
    ("sqs.queue", "KmsMasterKeyId"): ("primary/encryption/data-key", "Arn"),
}
# Fields that cannot be turned alone in AWS, with the reason; each is shown by another test or by its twin field.
NOT_ALONE: dict[Field, str] = {
    ("ec2.peering", "Accepted"): "an accepted peering cannot be un-accepted, only deleted",
    ("ec2.route", "State"): "follows the peering's state",
    ("kms.key", "Enabled"): "hides what the key encrypts: see below",
    ("kms.key", "DeletionDate"): "hides what the key encrypts: see below",
    ("rds.event_subscription", "SourceType"): "the sources' type: RDS refuses sources of another",
    (
        "route53.health_check",
        "AlarmConfiguration",
    ): "Route 53's copy of the alarm, which no call sets: tests/resources/test_dns.py",
    ("route53.health_check", "AlarmRegion"): "one field in Route 53 with AlarmName",
    ("route53.health_check", "HealthThreshold"): "covered by the calculated check below",
    ("route53.record", "Failover"): "Route 53 allows one PRIMARY and one SECONDARY",
    ("s3.encryption", "SSEAlgorithm"): "with SSE-S3 goes the key: see below",
    ("s3.versioning", "Status"): "S3 refuses it while replication is configured: see below",
    ("secretsmanager.secret", "DeletionScheduled"): "hides what is in the secret: see below",
    ("secretsmanager.version", "PasswordMatchesPrimary"): "test_secrets.py",
}

# Exchanging a parameter group leaves parameters that wait for a reboot, which a person makes.
WAITS_FOR_REBOOT: dict[Field, str] = {
    ("rds.cluster", "DBClusterParameterGroup"): "DBClusterParameterGroupStatus",
    ("rds.instance", "DBParameterGroup"): "ParameterApplyStatus",
}

# A health check on another alarm has that one's configuration (Route 53 API, CloudWatchAlarmConfiguration).
BRINGS: dict[Field, str] = {("route53.health_check", "AlarmName"): "AlarmConfiguration"}

Saboteur = Callable[[Aws, StackState, Resource], Any]


def _call(service_name: str, operation: str, params: Callable[[StackState, Resource], dict[str, Any]]) -> Saboteur:
    def act(aws: Aws, state: StackState, resource: Resource) -> Any:
        client = aws.client(service_name, resource.region, writing=True)
        return getattr(client, operation)(**params(state, resource))

    return act


def _observed(state: StackState, resource: Resource) -> Any:
    observed = state.observe(resource)
    assert observed is not None
    return observed


def _foreign_route(aws: Aws, state: StackState, resource: Resource) -> None:
    ec2 = aws.client("ec2", resource.region, writing=True)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=state.field("primary/network/vpc", "VpcId"))
    table = _observed(state, resource)["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)


def _another_peering(aws: Aws, state: StackState, resource: Resource) -> None:
    ec2 = aws.client("ec2", resource.region, writing=True)
    peering = ec2.create_vpc_peering_connection(
        VpcId=state.field("primary/network/vpc", "VpcId"),
        PeerVpcId=ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"],
    )["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    table = _observed(state, resource)["RouteTableId"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    ec2.replace_route(
        RouteTableId=table, DestinationCidrBlock=resource.identity["Destination"], VpcPeeringConnectionId=peering
    )


def _another_table(aws: Aws, state: StackState, resource: Resource) -> None:
    ec2 = aws.client("ec2", resource.region, writing=True)
    # Of this stack: the policy of `provision` does not reach into the tables of others, and says so.
    tags = [{"Key": "TaskID", "Value": state.stack.environment_suffix}]
    table = ec2.create_route_table(
        VpcId=state.field("primary/network/vpc", "VpcId"),
        TagSpecifications=[{"ResourceType": "route-table", "Tags": tags}],
    )["RouteTable"]["RouteTableId"]
    ec2.replace_route_table_association(AssociationId=_observed(state, resource)["AssociationId"], RouteTableId=table)


def _third_vpc(aws: Aws, state: StackState, resource: Resource) -> None:
    vpc = aws.client("ec2", "us-east-1", writing=True).create_vpc(CidrBlock="10.78.0.0/16")["Vpc"]["VpcId"]
    aws.client("route53", resource.region, writing=True).associate_vpc_with_hosted_zone(
        HostedZoneId=_observed(state, resource)["ZoneId"], VPC={"VPCRegion": "us-east-1", "VPCId": vpc}
    )


def _one_child(aws: Aws, state: StackState, resource: Resource) -> None:
    aws.client("route53", resource.region, writing=True).update_health_check(
        HealthCheckId=_observed(state, resource)["HealthCheckId"],
        ChildHealthChecks=[state.field("primary/dns/health-check", "HealthCheckId")],
    )


def _bucket_policy(aws: Aws, state: StackState, resource: Resource) -> None:
    name = state.field("primary/backup/bucket", "Name")
    # BlockPublicPolicy refuses a policy that names everybody.
    account = {**EVERYBODY, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:root"}, "Action": "s3:GetObject"}
    policy = {"Version": "2012-10-17", "Statement": [{**account, "Resource": f"arn:aws:s3:::{name}/*"}]}
    aws.client("s3", resource.region, writing=True).put_bucket_policy(Bucket=name, Policy=json.dumps(policy))


def _no_delete_markers(aws: Aws, state: StackState, resource: Resource) -> None:
    (rule,) = _observed(state, resource)["Rules"]
    rules = [{**rule, "DeleteMarkerReplication": {"Status": "Disabled"}}]
    configuration = {"Role": _observed(state, resource)["Role"], "Rules": rules}
    aws.client("s3", resource.region, writing=True).put_bucket_replication(
        Bucket=state.field("primary/backup/bucket", "Name"), ReplicationConfiguration=configuration
    )


def _another_group(aws: Aws, state: StackState, resource: Resource) -> None:
    group = aws.client("ec2", resource.region, writing=True).create_security_group(
        GroupName="another", Description="another", VpcId=state.field("primary/network/vpc", "VpcId")
    )["GroupId"]
    aws.client("rds", resource.region, writing=True).modify_db_cluster(
        DBClusterIdentifier=str(resource.name), VpcSecurityGroupIds=[group], ApplyImmediately=True
    )


def _another_monitoring_role(aws: Aws, state: StackState, resource: Resource) -> None:
    """RDS takes only a role that exists, that it may assume, and that may write the metrics (RDS user guide, Enhanced Monitoring)."""
    iam = aws.client("iam", "us-east-1", writing=True)
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "monitoring.rds.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn = iam.create_role(RoleName="another-monitoring-role", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    managed = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
    iam.attach_role_policy(RoleName="another-monitoring-role", PolicyArn=managed)
    aws.client("rds", resource.region, writing=True).modify_db_instance(
        DBInstanceIdentifier=str(resolve(resource.name, state)),
        MonitoringInterval=resource.desired["MonitoringInterval"],
        MonitoringRoleArn=arn,
        ApplyImmediately=True,
    )


BY_HAND: dict[Field, Saboteur] = {
    ("rds.instance", "MonitoringRoleArn"): _another_monitoring_role,
    ("rds.cluster", "VpcSecurityGroupIds"): _another_group,
    ("ec2.route", "VpcPeeringConnectionId"): _another_peering,
    ("ec2.route_table", "ForeignRoutes"): _foreign_route,
    ("ec2.route_table_association", "RouteTableId"): _another_table,
    ("kms.key", "KeyRotationEnabled"): _call(
        "kms", "disable_key_rotation", lambda state, r: {"KeyId": _observed(state, r)["KeyId"]}
    ),
    ("rds.subnet_group", "SubnetIds"): _call(
        "rds",
        "modify_db_subnet_group",
        lambda state, r: {
            "DBSubnetGroupName": _observed(state, r)["Name"],
            "SubnetIds": _observed(state, r)["SubnetIds"][:2],
        },
    ),
    ("route53.health_check", "ChildHealthChecks"): _one_child,
    ("route53.zone", "VPCs"): _third_vpc,
    ("s3.policy", "Policy"): _bucket_policy,
    ("s3.replication", "Rules"): _no_delete_markers,
    ("sns.topic_policy", "Policy"): _call(
        "sns",
        "set_topic_attributes",
        lambda state, r: {
            "TopicArn": _observed(state, r)["TopicArn"],
            "AttributeName": "Policy",
            "AttributeValue": json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [{**EVERYBODY, "Action": "sns:Publish", "Resource": _observed(state, r)["TopicArn"]}],
                }
            ),
        },
    ),
    ("sqs.queue", "RedrivePolicy"): _call(
        "sqs",
        "set_queue_attributes",
        lambda state, r: {
            "QueueUrl": _observed(state, r)["QueueUrl"],
            "Attributes": {"RedrivePolicy": json.dumps({**_observed(state, r)["RedrivePolicy"], "maxReceiveCount": 9})},
        },
    ),
    ("sqs.queue_policy", "Policy"): _call(
        "sqs",
        "set_queue_attributes",
        lambda state, r: {
            "QueueUrl": _observed(state, r)["QueueUrl"],
            "Attributes": {
                "Policy": json.dumps(
                    {"Version": "2012-10-17", "Statement": [{**EVERYBODY, "Action": "sqs:SendMessage"}]}
                )
            },
        },
    ),
}


def mutable_fields(resource: Resource) -> list[str]:
    kind = KINDS[resource.kind]
    return [name for name in resource.desired if name not in kind.owned | kind.immutable | kind.remedies.keys()]


def representatives() -> dict[Field, Resource]:
    """For each kind and each field that can be changed, the first resource of the catalogue that has it."""
    found: dict[Field, Resource] = {}
    for resource in catalog(load_stack()):
        for name in mutable_fields(resource):
            found.setdefault((resource.kind, name), resource)
    return found


def rounds() -> list[list[tuple[Field, Resource]]]:
    """All of them, in rounds that touch each resource at most once."""
    plan: list[list[tuple[Field, Resource]]] = []
    for item in sorted(representatives().items()):
        if item[0] in NOT_ALONE:
            continue
        place = next((r for r in plan if all(item[1].key != other.key for _, other in r)), None)
        if place is None:
            plan.append(place := [])
        place.append(item)
    return plan


def wrong_value(field: Field, right: Any) -> Any:
    if field in WRONG:
        return WRONG[field]
    if isinstance(right, bool):
        return not right
    if isinstance(right, (int, float)):
        return right + 1
    raise AssertionError(f"say in WRONG, POINT_ELSEWHERE or BY_HAND how {field} ({right!r}) can go wrong")


def sabotage(aws: Aws, state: StackState, field: Field, resource: Resource) -> None:
    if field in BY_HAND:
        BY_HAND[field](aws, state, resource)
        return
    kind, name = KINDS[resource.kind], field[1]
    desired = resolve(resource.desired, state)
    if name == "Tags":
        desired["Tags"] = {**desired["Tags"], "DR-Tier": "casual"}
    elif name == "Parameters":
        parameter = sorted(desired["Parameters"])[0]
        desired["Parameters"] = {**desired["Parameters"], parameter: "0"}
    elif field in POINT_ELSEWHERE:
        desired[name] = state.field(*POINT_ELSEWHERE[field])
    else:
        desired[name] = wrong_value(field, desired[name])
    observed = _observed(state, resource)
    target = Target(
        resource.key,
        resource.kind,
        resource.region,
        str(resolve(resource.name, state)),
        resolve(resource.identity, state),
        desired,
        resolve(resource.settings, state),
    )
    for _ in range(5):  # a rule list takes two calls: open the new, close the old
        drift = [item for item in compare(desired, observed, kind.owned) if item.field not in kind.immutable]
        if not drift:
            return
        call: Call = kind.update(target, observed, drift)
        aws.act(call, resource.region, state.account)
        state.invalidate(resource.key)
        observed = _observed(state, resource)


def test_every_changeable_field_has_a_sabotage(stack: Stack) -> None:
    """Each field is in a round, or the table gives the reason why it cannot be changed alone."""
    planned = {field for each in rounds() for field, _ in each}
    assert planned | NOT_ALONE.keys() >= representatives().keys()
    assert not planned & NOT_ALONE.keys()
    assert len(planned) > 70
    assert {kind for kind, _ in representatives()} >= KINDS.keys() - {
        "iam.role_attachment",
        "secretsmanager.password",
        "ec2.peering",
    } - {"sns.subscription"}


def reboot_instances(aws: Aws, stack: Stack) -> None:
    for site in SITES:
        rds = aws.client("rds", stack.region(site), writing=True)
        for n in range(stack.instances_per_cluster, 0, -1):
            rds.reboot_db_instance(DBInstanceIdentifier=names.instance(stack, site, n))


def test_aws_09_case_a5_a_pending_reboot_is_reported_and_never_made(built: EmbeddedAws, stack: Stack) -> None:
    """A static parameter that was changed and changed back: the group is right, the instances still wait for their reboot."""
    aws = Aws()
    rds = aws.client("rds", stack.primary_region, writing=True)
    group = names.parameter_group(stack, "primary", "cluster")
    for value in ("pg_stat_statements,auto_explain", "pg_stat_statements"):
        parameter = {"ParameterName": "shared_preload_libraries", "ParameterValue": value}
        rds.modify_db_cluster_parameter_group(
            DBClusterParameterGroupName=group, Parameters=[{**parameter, "ApplyMethod": "pending-reboot"}]
        )
    state = StackState(stack, aws)
    outcome = state.reconcile(state.resources["primary/aurora/cluster"])
    assert (outcome.status, outcome.calls) == ("drifted", ()) and "aws rds reboot-db-instance" in outcome.reason
    (drifted,) = [outcome for outcome in service.verify(stack).outcomes if outcome.status != "in_sync"]
    assert (drifted.key, [item.field for item in drifted.drift]) == (
        "primary/aurora/cluster",
        ["DBClusterParameterGroupStatus"],
    )
    assert "RebootDBInstance" not in {call["operation"] for call in built.control.calls()}
    reboot_instances(aws, stack)
    assert service.verify(stack).in_sync


def test_aws_12_a_log_group_that_rds_made_again_is_adopted(built: EmbeddedAws, stack: Stack) -> None:
    """RDS makes a missing one without tags or retention (terraform-provider-aws#42858); it gets both back."""
    aws = Aws()
    aws.client("logs", stack.secondary_region, writing=True).delete_log_group(
        logGroupName=names.log_group(stack, "secondary")
    )
    aws.client("rds", stack.secondary_region).describe_db_clusters()
    key = "secondary/aurora/log-group"
    found = {item.field.split(".")[0] for o in service.verify(stack).outcomes for item in o.drift if o.key == key}
    assert found == {"RetentionInDays", "Tags"}
    healer = StackState(stack, aws)
    assert healer.reconcile(healer.resources[key]).status == "updated"
    assert service.verify(stack).in_sync


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(rounds())))
def test_each_change_is_found_as_that_field_and_corrected(built: EmbeddedAws, stack: Stack, number: int) -> None:
    plan = rounds()[number]
    aws = Aws()
    state = StackState(stack, aws)
    built.control.answers(
        route53_calls_per_second=0.0
    )  # a dozen changes at once; the product's own calls come at AWS's rate again
    for field, resource in plan:
        sabotage(aws, state, field, resource)
    built.control.answers(route53_calls_per_second=5.0)
    expected = {(resource.key, field[1]) for field, resource in plan}
    expected |= {(resource.key, BRINGS[field]) for field, resource in plan if field in BRINGS}
    expected |= {(resource.key, WAITS_FOR_REBOOT[field]) for field, resource in plan if field in WAITS_FOR_REBOOT}
    found = {
        (outcome.key, item.field.split(".")[0])
        for outcome in service.verify(stack).outcomes
        for item in outcome.drift
        if outcome.status == "drifted"
    }
    if any(resource.kind == "cloudwatch.alarm" for _, resource in plan):
        # A health check keeps what it copied from its alarm, and so differs from an alarm that was changed.
        found -= {item for item in found - expected if item[1] == "AlarmConfiguration"}
    with acting_as(built, PROVISION):  # each correction is permitted to whoever provisions, and no more than that
        healer = StackState(stack, Aws())
        healed = {resource.key: healer.reconcile(resource) for _, resource in plan}
    if any(field in WAITS_FOR_REBOOT for field, _ in plan):
        waiting = {(o.key, item.field) for o in service.verify(stack).outcomes for item in o.drift}
        assert waiting == {(r.key, WAITS_FOR_REBOOT[field]) for field, r in plan if field in WAITS_FOR_REBOOT}
        reboot_instances(aws, stack)
    after = service.verify(stack)
    assert found == expected
    unhealed = {key: outcome.reason for key, outcome in healed.items() if outcome.status != "updated"}
    left = {resource.key for field, resource in plan if field in WAITS_FOR_REBOOT}
    assert {key: outcome.status for key, outcome in healed.items()} == {
        key: "drifted" if key in left else "updated" for key in healed
    }, unhealed
    assert [(o.key, o.status, o.drift) for o in after.outcomes if o.status != "in_sync"] == []


@pytest.mark.slow
def test_whatever_can_be_deleted_alone_is_reported_absent_and_recreated(built: EmbeddedAws, stack: Stack) -> None:
    resources = catalog(stack)
    needed = {need for resource in resources for need in resource.needs}
    state = StackState(stack, Aws())
    state.snapshot()
    gone = []
    for resource in resources:
        if resource.key in needed or resource.key.startswith("global/dns/record"):
            continue
        target = Target(
            resource.key,
            resource.kind,
            resource.region,
            str(resolve(resource.name, state)),
            resolve(resource.identity, state),
        )
        call = KINDS[resource.kind].delete(target, _observed(state, resource))
        if call is not None and resource.kind != "rds.instance":
            state.aws.act(call, resource.region, state.account)
            gone.append(resource.key)
    assert len(gone) > 20
    absent = {outcome.key for outcome in service.verify(stack).outcomes if outcome.status == "absent"}
    with acting_as(built, PROVISION):
        healer = StackState(stack, Aws())
        statuses = {key: healer.reconcile(healer.resources[key]).status for key in gone}
    assert absent == set(gone)
    assert set(statuses.values()) == {"created"}
    assert service.verify(stack).in_sync


def test_an_additional_parameter_is_found_and_reset(built: EmbeddedAws, stack: Stack) -> None:
    name = f"aurora-postgresql-cluster-secondary-{stack.environment_suffix}"
    parameter = {"ParameterName": "rds.global_db_rpo", "ParameterValue": "20", "ApplyMethod": "immediate"}
    aws = Aws()
    aws.client("rds", stack.secondary_region, writing=True).modify_db_cluster_parameter_group(
        DBClusterParameterGroupName=name, Parameters=[parameter]
    )
    found = [(o.key, d.field, d.desired, d.observed) for o in service.verify(stack).outcomes for d in o.drift]
    with acting_as(built, PROVISION):
        state = StackState(stack, Aws())
        state.reconcile(state.resources["secondary/aurora/cluster-parameter-group"])
    assert found == [("secondary/aurora/cluster-parameter-group", "Parameters.rds.global_db_rpo", None, "20")]
    assert service.verify(stack).in_sync


def test_tags_of_others_are_left_alone(built: EmbeddedAws, stack: Stack) -> None:
    state = StackState(stack, Aws())
    vpc = state.field("primary/network/vpc", "VpcId")
    ec2 = state.aws.client("ec2", stack.primary_region, writing=True)
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "CostCentre", "Value": "7"}])
    assert service.verify(stack).in_sync
    ec2.delete_tags(Resources=[vpc], Tags=[{"Key": "CostCentre"}])  # the other site's twin does not have it


def test_a_bucket_without_our_key_is_found_and_corrected(built: EmbeddedAws, stack: Stack) -> None:
    state, s3 = StackState(stack, Aws()), Aws().client("s3", stack.primary_region, writing=True)
    s3.delete_bucket_encryption(Bucket=state.field("primary/backup/bucket", "Name"))  # brings SSE-S3 back
    found = {(o.key, d.field) for o in service.verify(stack).outcomes for d in o.drift}
    state.reconcile(state.resources["primary/backup/encryption"])
    fields = ("BucketKeyEnabled", "KMSMasterKeyID", "SSEAlgorithm")
    assert found == {("primary/backup/encryption", field) for field in fields}
    assert service.verify(stack).in_sync


def test_suspended_versioning_is_found_and_enabled(built: EmbeddedAws, stack: Stack) -> None:
    aws = Aws()
    state = StackState(stack, aws)
    bucket = state.field("secondary/backup/bucket", "Name")
    s3 = aws.client("s3", stack.secondary_region, writing=True)
    s3.delete_bucket_replication(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    found = {(o.key, o.status, d.field) for o in service.verify(stack).outcomes for d in o.drift}
    with acting_as(built, PROVISION):
        healer = StackState(stack, Aws())
        for key in ("secondary/backup/versioning", "global/backup/replication-from-secondary"):
            healer.reconcile(healer.resources[key])
    assert found == {("secondary/backup/versioning", "drifted", "Status")}
    assert service.verify(stack).in_sync


def test_a_secret_scheduled_for_deletion_is_found_and_restored(built: EmbeddedAws, stack: Stack) -> None:
    aws = Aws()
    state = StackState(stack, aws)
    arn = state.field("secondary/credentials/secret", "Arn")
    secrets = aws.client("secretsmanager", stack.secondary_region, writing=True)
    secrets.delete_secret(SecretId=arn, RecoveryWindowInDays=7)
    bad = {o.key: o for o in service.verify(stack).outcomes if o.status != "in_sync"}
    with acting_as(built, PROVISION):
        healer = StackState(stack, Aws())
        healer.reconcile(healer.resources["secondary/credentials/secret"])
    assert bad.keys() == {"secondary/credentials/secret", "secondary/credentials/version"}
    assert [d.field for d in bad["secondary/credentials/secret"].drift] == ["DeletionScheduled"]
    assert bad["secondary/credentials/version"].status == "unknown"
    assert service.verify(stack).in_sync


def customer_keys(stack: Stack) -> dict[str, str]:
    """Key id -> state of every customer managed key in both regions."""
    found = {}
    for region in (stack.primary_region, stack.secondary_region):
        kms = Aws().client("kms", region)
        for key in kms.list_keys()["Keys"]:
            meta = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            if meta["KeyManager"] == "CUSTOMER":
                found[meta["KeyId"]] = meta["KeyState"]
    return found


@pytest.mark.parametrize("site", ["primary", "secondary"])
@pytest.mark.parametrize("how", ["disabled", "scheduled for deletion", "scheduled, alias removed"])
def test_case_a1_aws_14_a_doomed_key_is_recovered_and_nothing_else_is_touched(
    built: EmbeddedAws, stack: Stack, site: Site, how: str
) -> None:
    """Never a second key: what the first one encrypts (cluster, secret, exports, snapshots) cannot be read with another."""
    state, aws = StackState(stack, Aws()), Aws()
    keys = customer_keys(stack)
    key, region = str(state.field(f"{site}/encryption/data-key", "KeyId")), stack.region(site)
    kms = aws.client("kms", region, writing=True)
    if how == "disabled":
        kms.disable_key(KeyId=key)
    else:
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    if "alias removed" in how:
        kms.delete_alias(AliasName=f"alias/rds-aurora-{region}-{stack.environment_suffix}")
    bad = {o.key: o for o in service.verify(stack).outcomes if o.status != "in_sync"}
    found = bad[f"{site}/encryption/data-key"]
    assert found.status == ("absent" if "alias removed" in how else "drifted")
    # What the key encrypts cannot be read meanwhile: unknown, not drifted.
    assert bad[f"{site}/credentials/version"].status == "unknown"
    assert "destroy the" not in found.reason and "provision it again" not in found.reason
    if how == "scheduled for deletion":
        assert "KMS destroys this key on 20" in found.reason and "dr provision" in found.reason
        assert {d.field for d in found.drift} == {"DeletionDate", "Enabled", "KeyRotationEnabled"}
    built.control.clear_calls()
    result = provision(stack)
    # AWS may have stopped the cluster; a person starts it again ("immediate, or deferred", Aurora user guide).
    stopped = built.control.answers()["cluster_without_key"] == "stops"
    assert result.success is not stopped, result.failures
    assert not stopped or "start-db-cluster" in result.failures[0]
    expected = ["EnableKey"] if how == "disabled" else ["CancelKeyDeletion", "EnableKey"]
    made = [call["operation"] for call in mutating(built)]
    assert made == [*expected, *(["CreateAlias"] if "alias removed" in how else [])]
    assert customer_keys(stack) == keys
    if stopped:
        rds = aws.client("rds", region, writing=True)
        rds.start_db_cluster(DBClusterIdentifier=state.name(state.resources[f"{site}/aurora/cluster"]))
    assert service.verify(stack).in_sync


@pytest.mark.parametrize("key", ["network/vpc", "network/subnet-2", "network/route-table", "network/security-group"])
def test_case_a1_a_network_without_tags_is_tagged_again_and_nothing_is_made_beside_it(
    built: EmbeddedAws, stack: Stack, key: str
) -> None:
    _lose_tags(built, stack, f"secondary/{key}", permitted=False)


def test_case_a1_a_peering_without_tags_is_tagged_again_and_nothing_is_made_beside_it(
    built: EmbeddedAws, stack: Stack
) -> None:
    _lose_tags(built, stack, "global/network/peering", permitted=True)


def _lose_tags(built: EmbeddedAws, stack: Stack, key: str, permitted: bool) -> None:
    """`permitted`: whether the policy of provisioning tags what carries no tags (the accepting half of a peering has none)."""
    state = StackState(stack, Aws())
    resource = state.resources[key]
    observed = state.observe(resource)
    assert observed is not None
    identifier = observed[str(KINDS[resource.kind].import_field)]
    ec2 = Aws().client("ec2", resource.region, writing=True)
    tags = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [identifier]}])["Tags"]
    ec2.delete_tags(Resources=[identifier], Tags=[{"Key": tag["Key"]} for tag in tags])
    bad = {o.key: o.status for o in service.verify(stack).outcomes if o.status != "in_sync"}
    assert bad.pop(key) == "drifted"
    # A route is found by the name of its table.
    assert set(bad) <= {"global/network/route-to-primary"}
    if not permitted:
        with acting_as(built, PROVISION):
            healer = StackState(stack, Aws())
            outcome = healer.reconcile(healer.resources[key])
        # Neither may it read the attributes of a VPC that does not carry the stack's tags.
        assert outcome.status == ("unknown" if key.endswith("vpc") else "drifted"), outcome
        assert "is not permitted" in outcome.reason
    built.control.clear_calls()
    result = provision(stack)
    assert result.success, result.failures
    assert [call["operation"] for call in mutating(built)] == ["CreateTags"]
    # Others' tags, too: the test process shares the stack.
    ec2.create_tags(Resources=[identifier], Tags=[{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags])
    assert service.verify(stack).in_sync
