"""RDS: what its answers mean, which call each difference leads to, and what is waited for."""

from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest
from botocore.exceptions import ClientError

from dr_assets.core.compare import compare
from dr_assets.core.converge import fixed, remedy
from dr_assets.core.model import Drift, Observed, Sensitive, Target
from dr_assets.errors import RefusedError
from dr_assets.resources.catalog import catalog
from dr_assets.resources.registry import KINDS
from dr_assets.stack import SITES, Site, Stack, parse_stack
from tests.support.aws_double import (
    ACCOUNT,
    Answer,
    FakeReads,
    check_params,
    creation,
    deletion,
    drift,
    error,
    fields,
    look,
    next_call,
    tag_list,
    target,
)

TOP = f"arn:aws:rds::{ACCOUNT}:global-cluster:aurora-global-l6p3z2w4"


def arn(of: Target) -> str:
    what = {"rds.cluster": "cluster", "rds.instance": "db"}[of.kind]
    return f"arn:aws:rds:{of.region}:{ACCOUNT}:{what}:{of.name}"


# --- parameter groups ----------------------------------------------------------------------------------------------------

SCOPES = {"cluster": ("db_cluster_parameter", "DBCluster"), "instance": ("db_parameter", "DB")}


def group_reads(
    of: Target, parameters: dict[str, str], static: tuple[str, ...] = (), system: tuple[str, ...] = (), **tags: str
) -> FakeReads:
    thing, api = SCOPES[of.kind.removeprefix("rds.").removesuffix("_parameter_group")]
    group = {
        f"{api}ParameterGroupName": of.name,
        f"{api}ParameterGroupArn": f"arn:aws:rds:{of.region}:{ACCOUNT}:pg:{of.name}",
        "DBParameterGroupFamily": of.desired["DBParameterGroupFamily"],
    }
    rows = [
        {"ParameterName": name, "ParameterValue": value, "ApplyType": "static" if name in static else "dynamic"}
        for name, value in parameters.items()
    ]

    def listed(**params: Any) -> dict[str, Any]:
        """AWS lists by source or by name; a parameter at its family's default has Source=system."""
        names = next((item["Values"] for item in params.get("Filters", ())), None)
        shown = [{**row, "Source": "system" if row["ParameterName"] in system else "user"} for row in rows]
        if names is not None:
            return {"Parameters": [row for row in shown if row["ParameterName"] in names]}
        return {"Parameters": [row for row in shown if row["Source"] == params["Source"]]}

    answers: dict[str, Answer] = {
        f"describe_{thing}_groups": {f"{api}ParameterGroups": [group]},
        f"describe_{thing}s": listed,
        "list_tags_for_resource": {"TagList": tag_list({**of.desired["Tags"], **tags})},
    }
    return FakeReads(KINDS[of.kind], **answers)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_parameter_group(stack: Stack, scope: str) -> None:
    of = target(stack, f"primary/aurora/{scope}-parameter-group")
    thing, api = SCOPES[scope]
    reads = group_reads(of, dict(of.desired["Parameters"]))
    found = look(reads, of)
    assert fields(of, found) == []
    assert [params["Source"] for operation, _, params in reads.calls if operation == f"describe_{thing}s"] == ["user"]
    assert creation(of)[0] == f"create_{thing}_group"
    assert deletion(of, found) == (f"delete_{thing}_group", {f"{api}ParameterGroupName": of.name})
    found = look(group_reads(of, dict(of.desired["Parameters"]), Site="elsewhere"), of)
    assert next_call(of, found)[0] == "add_tags_to_resource"


def test_aws_02_a_parameter_at_its_family_s_default_is_read_by_name(stack: Stack) -> None:
    """Source=user does not list shared_preload_libraries=pg_stat_statements (terraform-provider-aws#23335, #12742)."""
    of = target(stack, "primary/aurora/cluster-parameter-group")
    reads = group_reads(
        of, dict(of.desired["Parameters"]), ("shared_preload_libraries",), ("shared_preload_libraries",)
    )
    found = look(reads, of)
    assert found is not None and fields(of, found) == [] and found["Static"] == ["shared_preload_libraries"]
    assert len(reads.calls) == 4
    other = {**of.desired["Parameters"], "shared_preload_libraries": "pg_tle"}
    found = look(group_reads(of, other, (), ("shared_preload_libraries",)), of)
    assert fields(of, found) == ["Parameters.shared_preload_libraries"]


@pytest.mark.parametrize("scope", SCOPES)
def test_no_parameter_group_is_absent(stack: Stack, scope: str) -> None:
    of = target(stack, f"primary/aurora/{scope}-parameter-group")
    thing, _ = SCOPES[scope]
    for code in ("DBParameterGroupNotFound", "DBParameterGroupNotFoundFault"):
        assert look(FakeReads(KINDS[of.kind], **{f"describe_{thing}_groups": error(code)}), of) is None


def test_parameters_are_set_as_they_may_be(stack: Stack) -> None:
    of = target(stack, "primary/aurora/cluster-parameter-group")
    found = look(group_reads(of, {"log_statement": "none"}), of)
    operation, params = next_call(of, found)
    assert operation == "modify_db_cluster_parameter_group"
    sent = {row["ParameterName"]: (row["ParameterValue"], row["ApplyMethod"]) for row in params["Parameters"]}
    assert sent == {
        "shared_preload_libraries": ("pg_stat_statements", "pending-reboot"),
        "pg_stat_statements.track": ("ALL", "immediate"),
        "log_statement": ("all", "immediate"),
        "log_min_duration_statement": ("1000", "immediate"),
        "rds.force_ssl": ("1", "immediate"),
    }


def test_parameters_beside_ours_are_reset_after_ours_are_set(stack: Stack) -> None:
    of = target(stack, "primary/aurora/cluster-parameter-group")
    surplus = {"rds.global_db_rpo": "20", "max_connections": "50"}
    have = {**of.desired["Parameters"], **surplus}
    found = look(group_reads(of, have | {"log_statement": "none"}, static=("max_connections",)), of)
    assert next_call(of, found)[0] == "modify_db_cluster_parameter_group"
    found = look(group_reads(of, have, static=("max_connections",)), of)
    assert fields(of, found) == ["Parameters.max_connections", "Parameters.rds.global_db_rpo"]
    operation, params = next_call(of, found)
    assert (operation, params["ResetAllParameters"]) == ("reset_db_cluster_parameter_group", False)
    assert params["Parameters"] == [
        {"ParameterName": "max_connections", "ApplyMethod": "pending-reboot"},
        {"ParameterName": "rds.global_db_rpo", "ApplyMethod": "immediate"},
    ]


def test_twenty_parameters_at_a_time(stack: Stack) -> None:
    many = {f"parameter_{n:02}": "1" for n in range(45)}
    of = target(stack, "primary/aurora/instance-parameter-group", Parameters=many)
    have: dict[str, str] = {}
    for left in (25, 5, 0):
        _, params = next_call(of, look(group_reads(of, have), of))
        assert len(params["Parameters"]) <= 20
        have |= {row["ParameterName"]: row["ParameterValue"] for row in params["Parameters"]}
        assert len(many) - len(have) == left


# --- global cluster ------------------------------------------------------------------------------------------------------


def top_answer(*members: str, status: str = "available", **more: Any) -> dict[str, Any]:
    entry = {
        "GlobalClusterIdentifier": "aurora-global-l6p3z2w4",
        "GlobalClusterArn": TOP,
        "Status": status,
        "Engine": "aurora-postgresql",
        "EngineVersion": "14.13",
        "StorageEncrypted": True,
        "DeletionProtection": False,
        "GlobalClusterMembers": [{"DBClusterArn": each, "IsWriter": n == 0} for n, each in enumerate(members)],
        **more,
    }
    return {"GlobalClusters": [entry]}


def top_reads(of: Target, answer: Answer) -> FakeReads:
    tags = {"TagList": tag_list(of.desired["Tags"])}
    return FakeReads(KINDS[of.kind], describe_global_clusters=answer, list_tags_for_resource=tags)


def test_the_global_cluster(stack: Stack) -> None:
    of = target(stack, "global/aurora/global-cluster")
    assert look(top_reads(of, error("GlobalClusterNotFoundFault", status=404)), of) is None
    found = look(top_reads(of, top_answer("b", "a", EngineVersion="14.15", Endpoint="global.example.com")), of)
    assert found is not None
    assert fields(of, found) == [], "the version is AWS's own"
    assert (found["Arn"], found["Endpoint"], found["Members"]) == (TOP, "global.example.com", ["a", "b"])
    assert creation(of)[0] == "create_global_cluster"
    assert deletion(of, found) == ("delete_global_cluster", {"GlobalClusterIdentifier": of.name})
    found = look(top_reads(of, top_answer(DeletionProtection=True)), of)
    assert next_call(of, found) == (
        "modify_global_cluster",
        {"GlobalClusterIdentifier": of.name, "DeletionProtection": False},
    )
    assert KINDS[of.kind].waiting({"Status": "failing-over"}) == "the global cluster is failing-over"


# --- clusters ------------------------------------------------------------------------------------------------------------


def cluster_answer(of: Target, **other: Any) -> dict[str, Any]:
    """A cluster that is as it should be, in RDS's own spelling, but for `other`."""
    want = of.desired
    same = (
        "Engine",
        "EngineVersion",
        "DatabaseName",
        "MasterUsername",
        "BackupRetentionPeriod",
        "PreferredBackupWindow",
        "PreferredMaintenanceWindow",
        "KmsKeyId",
        "DBSubnetGroup",
        "DBClusterParameterGroup",
        "Port",
        "StorageEncrypted",
        "EnabledCloudwatchLogsExports",
        "IAMDatabaseAuthenticationEnabled",
        "DeletionProtection",
        "CopyTagsToSnapshot",
    )
    return {
        **{name: want[name] for name in same if name in want},
        "DBClusterIdentifier": of.name,
        "DBClusterArn": arn(of),
        "Status": "available",
        "Endpoint": f"{of.name}.cluster-x.{of.region}.rds.amazonaws.com",
        "VpcSecurityGroups": [{"VpcSecurityGroupId": each, "Status": "active"} for each in want["VpcSecurityGroupIds"]],
        "DBClusterMembers": [{"DBInstanceIdentifier": "one", "DBClusterParameterGroupStatus": "in-sync"}],
        "TagList": tag_list(want["Tags"]),
        **other,
    }


def cluster_reads(of: Target, top: Answer | None = None, **other: Any) -> FakeReads:
    return FakeReads(
        KINDS[of.kind],
        describe_db_clusters={"DBClusters": [cluster_answer(of, **other)]},
        describe_global_clusters=top or top_answer(arn(of)),
    )


@pytest.fixture
def primary(stack: Stack) -> Target:
    return target(stack, "primary/aurora/cluster")


@pytest.fixture
def secondary(stack: Stack) -> Target:
    return target(stack, "secondary/aurora/cluster")


@pytest.mark.parametrize("site", SITES)
def test_a_cluster_in_order(stack: Stack, site: Site) -> None:
    of = target(stack, f"{site}/aurora/cluster")
    reads = cluster_reads(of, EngineVersion="14.15", ReplicationSourceIdentifier="arn:aws:rds:elsewhere")
    found = look(reads, of)
    assert found is not None
    assert fields(of, found) == []
    assert found["Endpoint"].startswith(of.name) and found["EndpointStatus"] == "available"
    assert KINDS[of.kind].waiting(found) is None
    assert [(operation, region) for operation, region, _ in reads.calls] == [
        ("describe_db_clusters", of.region),
        ("describe_global_clusters", of.region),
    ]


def test_aws_03_a_secondary_is_read_without_endpoint(secondary: Target) -> None:
    """DescribeDBClusters of a secondary has no `Endpoint` (terraform-provider-aws#14219): its name and status are in
    DescribeDBClusterEndpoints, as in the example of the AWS CLI's describe-db-cluster-endpoints."""
    host = f"{secondary.name}.cluster-x.us-west-2.rds.amazonaws.com"
    shown = cluster_answer(secondary)
    del shown["Endpoint"]
    answers: dict[str, Answer] = {
        "describe_db_clusters": {"DBClusters": [shown]},
        "describe_global_clusters": top_answer("arn:other", arn(secondary)),
    }
    entries = [
        {
            "DBClusterIdentifier": secondary.name,
            "Endpoint": "ro.example.com",
            "Status": "available",
            "EndpointType": "READER",
        },
        {"DBClusterIdentifier": secondary.name, "Endpoint": host, "Status": "inactive", "EndpointType": "WRITER"},
    ]
    reads = FakeReads(KINDS["rds.cluster"], **answers, describe_db_cluster_endpoints={"DBClusterEndpoints": entries})
    found = look(reads, secondary)
    assert found is not None and fields(secondary, found) == []
    assert (found["Endpoint"], found["EndpointStatus"]) == (host, "inactive")
    assert len(reads.calls) == 3
    reads = FakeReads(
        KINDS["rds.cluster"], **answers, describe_db_cluster_endpoints={"DBClusterEndpoints": entries[:1]}
    )
    found = look(reads, secondary)
    assert found is not None and (found["Endpoint"], found["EndpointStatus"]) == (None, None)


def test_no_cluster_is_absent(primary: Target) -> None:
    kind = KINDS["rds.cluster"]
    assert look(FakeReads(kind, describe_db_clusters=error("DBClusterNotFoundFault", status=404)), primary) is None
    with pytest.raises(ClientError):
        look(FakeReads(kind, describe_db_clusters=error("AccessDenied", status=403)), primary)


@pytest.mark.parametrize("missing", ["not a member", "no global cluster"])
def test_a_cluster_that_is_no_member_is_reported_and_never_healed(primary: Target, missing: str) -> None:
    top: Answer = top_answer("arn:other") if missing == "not a member" else error("GlobalClusterNotFoundFault")
    found = look(cluster_reads(primary, top), primary)
    assert [(d.field, d.desired, d.observed) for d in drift(primary, found)] == [
        ("GlobalClusterIdentifier", "aurora-global-l6p3z2w4", None)
    ]
    assert "GlobalClusterIdentifier" in KINDS["rds.cluster"].immutable


def test_the_primary_is_created_with_the_password_as_a_secret(primary: Target) -> None:
    call = KINDS["rds.cluster"].create(primary)
    password = call.params["MasterUserPassword"]
    assert isinstance(password, Sensitive)
    assert repr(password) == "<secret>"
    check_params("rds", "create_db_cluster", {**call.params, "MasterUserPassword": "x" * 40})
    assert (call.params["DatabaseName"], call.params["MasterUsername"]) == ("transactiondb", "dbadmin")
    assert call.params["GlobalClusterIdentifier"] == "aurora-global-l6p3z2w4"
    assert "ManageMasterUserPassword" not in call.params, "does not work with global clusters"
    assert "SourceRegion" not in call.params


def test_the_secondary_takes_no_user_and_brings_its_own_key(secondary: Target) -> None:
    operation, params = creation(secondary)
    assert operation == "create_db_cluster"
    assert not {"DatabaseName", "MasterUsername", "MasterUserPassword"} & params.keys()
    assert params["KmsKeyId"] == "secondary/encryption/data-key#Arn"


def test_the_secondary_asks_the_source_regions_leave(secondary: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a PreSignedUrl RDS refuses: "Source cluster … is encrypted; pre-signed URL has to be specified"."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")  # the host in the URL is the subject; nothing is sent
    client = boto3.client("rds", region_name="us-west-2", aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="none")
    sent: dict[str, list[str]] = {}

    def catch(request: Any, **_: Any) -> None:
        sent.update(parse_qs(request.body.decode() if isinstance(request.body, bytes) else request.body))
        raise ConnectionError("far enough")

    client.meta.events.register("before-send.rds.CreateDBCluster", catch)
    with pytest.raises(ConnectionError):
        client.create_db_cluster(**KINDS["rds.cluster"].create(secondary).params)
    assert "SourceRegion" not in sent
    assert sent["PreSignedUrl"][0].startswith("https://rds.us-east-1.amazonaws.com/")


def test_a_cluster_is_modified_at_once_and_only_in_what_differs(primary: Target) -> None:
    found = look(
        cluster_reads(
            primary,
            BackupRetentionPeriod=1,
            DBClusterParameterGroup="default.aurora-postgresql14",
            IAMDatabaseAuthenticationEnabled=False,
            EnabledCloudwatchLogsExports=["upgrade"],
            VpcSecurityGroups=[],
        ),
        primary,
    )
    assert next_call(primary, found) == (
        "modify_db_cluster",
        {
            "DBClusterIdentifier": primary.name,
            "ApplyImmediately": True,
            "BackupRetentionPeriod": 30,
            "DBClusterParameterGroupName": "primary/aurora/cluster-parameter-group#Name",
            "EnableIAMDatabaseAuthentication": True,
            "CloudwatchLogsExportConfiguration": {"EnableLogTypes": ["postgresql"], "DisableLogTypes": ["upgrade"]},
            "VpcSecurityGroupIds": ["primary/network/security-group#GroupId"],
        },
    )


def test_tags_alone_need_no_modification(primary: Target) -> None:
    found = look(cluster_reads(primary, TagList=tag_list({**primary.desired["Tags"], "Site": "secondary"})), primary)
    assert next_call(primary, found) == (
        "add_tags_to_resource",
        {"ResourceName": arn(primary), "Tags": [{"Key": "Site", "Value": "primary"}]},
    )


def test_a_member_leaves_before_it_is_deleted(secondary: Target) -> None:
    found = look(cluster_reads(secondary, top_answer("arn:primary", arn(secondary))), secondary)
    call = KINDS["rds.cluster"].delete(secondary, found or {})
    assert call is not None
    assert call.region is None, "asked in the member's own region"
    assert deletion(secondary, found) == (
        "remove_from_global_cluster",
        {"GlobalClusterIdentifier": "aurora-global-l6p3z2w4", "DbClusterIdentifier": arn(secondary)},
    )
    found = look(cluster_reads(secondary, top_answer("arn:primary")), secondary)
    assert deletion(secondary, found) == (
        "delete_db_cluster",
        {"DBClusterIdentifier": secondary.name, "SkipFinalSnapshot": True},
    )


@pytest.mark.parametrize(
    "status", ["creating", "modifying", "upgrading", "switching-over", "failing-over", "promoting"]
)
def test_a_cluster_in_between_is_waited_for(primary: Target, status: str) -> None:
    found = look(cluster_reads(primary, Status=status), primary)
    assert KINDS["rds.cluster"].waiting(found or {}) == f"the cluster is {status}"


def test_a_backup_is_not_in_the_way(primary: Target) -> None:
    assert KINDS["rds.cluster"].waiting(look(cluster_reads(primary, Status="backing-up"), primary) or {}) is None


def test_a_member_waits_while_roles_are_swapped(primary: Target) -> None:
    kind = KINDS["rds.cluster"]
    found = look(cluster_reads(primary, top_answer(arn(primary), status="switching-over")), primary)
    assert kind.waiting(found or {}) == "the global cluster it belongs to is switching-over"
    found = look(cluster_reads(primary, top_answer("arn:other", status="switching-over")), primary)
    assert kind.waiting(found or {}) is None, "one that has left has nothing to do with it"


def test_what_rds_has_accepted_but_not_done_is_waited_for(primary: Target) -> None:
    pending = {"PendingCloudwatchLogsExports": {"LogTypesToEnable": ["postgresql"]}}
    found = look(cluster_reads(primary, PendingModifiedValues=pending), primary)
    assert KINDS["rds.cluster"].waiting(found or {}) == "the cluster has changes pending: PendingCloudwatchLogsExports"


@pytest.mark.parametrize("status", ["inaccessible-encryption-credentials-recoverable", "stopped"])
def test_what_does_not_pass_by_waiting_is_a_drift(primary: Target, status: str) -> None:
    kind = KINDS["rds.cluster"]
    found = look(cluster_reads(primary, Status=status), primary)
    assert kind.waiting(found or {}) is None
    assert [(d.field, d.observed) for d in drift(primary, found)] == [("Condition", status)]
    assert "Condition" in kind.immutable


# --- instances -----------------------------------------------------------------------------------------------------------


def instance_answer(of: Target, **other: Any) -> dict[str, Any]:
    want = of.desired
    same = (
        "DBInstanceClass",
        "AvailabilityZone",
        "PubliclyAccessible",
        "MonitoringInterval",
        "MonitoringRoleArn",
        "AutoMinorVersionUpgrade",
        "PromotionTier",
    )
    return {
        **{name: want[name] for name in same},
        "DBInstanceIdentifier": of.name,
        "DBInstanceArn": arn(of),
        "DBInstanceStatus": "available",
        "DBClusterIdentifier": of.identity["Cluster"],
        "Endpoint": {"Address": f"{of.name}.x.us-east-1.rds.amazonaws.com", "Port": 5432},
        "DBParameterGroups": [{"DBParameterGroupName": want["DBParameterGroup"], "ParameterApplyStatus": "in-sync"}],
        "PerformanceInsightsEnabled": True,
        "PerformanceInsightsKMSKeyId": want["PerformanceInsights"]["KMSKeyId"],
        "PerformanceInsightsRetentionPeriod": want["PerformanceInsights"]["RetentionPeriod"],
        "PendingModifiedValues": {},
        "TagList": tag_list(want["Tags"]),
        **other,
    }


def instance_reads(of: Target, **other: Any) -> FakeReads:
    return FakeReads(KINDS[of.kind], describe_db_instances={"DBInstances": [instance_answer(of, **other)]})


@pytest.fixture
def instance(stack: Stack) -> Target:
    return target(stack, "primary/aurora/instance-1")


def test_one_call_describes_all_instances_of_a_cluster(stack: Stack, instance: Target) -> None:
    second = target(stack, "primary/aurora/instance-2")
    reads = instance_reads(instance)
    answers = KINDS["rds.instance"].read(reads, [instance, second])
    assert fields(instance, answers[instance.key]) == []
    assert answers[second.key] is None
    filters = [{"Name": "db-cluster-id", "Values": ["aurora-primary-l6p3z2w4"]}]
    assert reads.calls == [("describe_db_instances", "us-east-1", {"Filters": filters})]


def test_no_cluster_means_no_instances(instance: Target) -> None:
    kind = KINDS["rds.instance"]
    assert look(FakeReads(kind, describe_db_instances={"DBInstances": []}), instance) is None
    assert look(FakeReads(kind, describe_db_instances=error("DBClusterNotFoundFault")), instance) is None


def test_an_instance_is_created_private_and_observed(instance: Target) -> None:
    operation, params = creation(instance)
    assert operation == "create_db_instance"
    assert params["DBClusterIdentifier"] == "aurora-primary-l6p3z2w4"
    assert params["PubliclyAccessible"] is False
    assert params["AutoMinorVersionUpgrade"] is False
    assert (params["MonitoringInterval"], params["MonitoringRoleArn"]) == (60, "primary/identity/monitoring-role#Arn")
    assert params["EnablePerformanceInsights"] is True
    assert params["PerformanceInsightsKMSKeyId"] == "primary/encryption/data-key#Arn"
    assert "Condition" not in params


def test_instances_are_spread_over_zones_and_promoted_in_order(raw_stack: dict[str, Any]) -> None:
    stack = parse_stack({**raw_stack, "instances_per_cluster": 4})
    found = [target(stack, f"secondary/aurora/instance-{n}").desired for n in (1, 2, 3, 4)]
    assert [each["AvailabilityZone"] for each in found] == ["us-west-2a", "us-west-2b", "us-west-2c", "us-west-2a"]
    assert [each["PromotionTier"] for each in found] == [0, 1, 2, 3]


def test_the_instances_next_call(instance: Target) -> None:
    def next_params(**other: Any) -> dict[str, Any]:
        operation, params = next_call(instance, look(instance_reads(instance, **other), instance))
        assert operation == "modify_db_instance"
        assert params.pop("ApplyImmediately") is True
        assert params.pop("DBInstanceIdentifier") == instance.name
        return params

    role = instance.desired["MonitoringRoleArn"]
    groups = [{"DBParameterGroupName": "default.aurora-postgresql14", "ParameterApplyStatus": "in-sync"}]
    assert next_params(DBInstanceClass="db.r6g.xlarge") == {"DBInstanceClass": "db.r6g.large"}
    assert next_params(DBParameterGroups=groups) == {"DBParameterGroupName": instance.desired["DBParameterGroup"]}
    assert next_params(MonitoringInterval=0) == {"MonitoringInterval": 60, "MonitoringRoleArn": role}
    assert next_params(PubliclyAccessible=True, PromotionTier=9) == {"PubliclyAccessible": False, "PromotionTier": 0}
    insights = {
        "EnablePerformanceInsights": True,
        "PerformanceInsightsKMSKeyId": "primary/encryption/data-key#Arn",
        "PerformanceInsightsRetentionPeriod": 7,
    }
    assert next_params(PerformanceInsightsEnabled=False) == insights
    assert next_params(PerformanceInsightsRetentionPeriod=31) == insights


def test_aws_11_a_change_that_waits_for_the_maintenance_window_is_a_difference_with_a_remedy(
    instance: Target, primary: Target
) -> None:
    """RDS API, ModifyDBInstance and ClusterPendingModifiedValues: without ApplyImmediately a change waits, for days perhaps."""
    for of, reads, values, operation in (
        (instance, instance_reads, {"DBInstanceClass": "db.r6g.xlarge"}, "modify-db-instance"),
        (primary, cluster_reads, {"BackupRetentionPeriod": 3}, "modify-db-cluster"),
    ):
        kind, found = KINDS[of.kind], look(reads(of, PendingModifiedValues=values), of)
        assert kind.waiting(found or {}) is None
        assert [(d.field, d.desired, d.observed) for d in drift(of, found)] == [("Pending", [], list(values))]
        assert f"aws rds {operation}" in kind.remedies["Pending"] and "maintenance window" in kind.remedies["Pending"]


def correction(of: Target, found: Observed | None) -> tuple[str, dict[str, Any]]:
    """The call that provisioning makes: not for fields that it leaves to a person."""
    kind = KINDS[of.kind]
    call = kind.update(of, found or {}, [item for item in drift(of, found) if not fixed(kind, item)])
    return call.operation, dict(call.params)


def test_aws_11_no_correction_applies_a_pending_change_that_interrupts_connections(
    instance: Target, primary: Target
) -> None:
    """RDS API, ModifyDBInstance: ApplyImmediately applies "the modifications in this request and any pending modifications"."""
    pending = {"PendingModifiedValues": {"DBInstanceClass": "db.r6g.xlarge"}}
    found = look(instance_reads(instance, PromotionTier=9, DBInstanceClass="db.r6g.4xlarge", **pending), instance)
    assert correction(instance, found) == (
        "modify_db_instance",
        {"DBInstanceIdentifier": instance.name, "ApplyImmediately": False, "PromotionTier": 0},
    )
    found = look(instance_reads(instance, DBInstanceClass="db.r6g.4xlarge", **pending), instance)
    with pytest.raises(RefusedError, match="DBInstanceClass cannot be corrected yet"):
        correction(instance, found)
    upgrade = {"PendingModifiedValues": {"EngineVersion": "15.12"}}
    found = look(cluster_reads(primary, BackupRetentionPeriod=3, CopyTagsToSnapshot=False, **upgrade), primary)
    assert correction(primary, found) == (
        "modify_db_cluster",
        {"DBClusterIdentifier": primary.name, "ApplyImmediately": False, "CopyTagsToSnapshot": True},
    )


def test_aws_11_the_desired_value_that_waits_is_applied_at_once_where_nothing_is_interrupted(primary: Target) -> None:
    waits = {"PendingModifiedValues": {"BackupRetentionPeriod": 30}}
    found = look(cluster_reads(primary, BackupRetentionPeriod=3, **waits), primary)
    assert correction(primary, found) == (
        "modify_db_cluster",
        {"DBClusterIdentifier": primary.name, "ApplyImmediately": True, "BackupRetentionPeriod": 30},
    )


def test_aws_11_a_change_that_waits_for_the_maintenance_window_keeps_nothing_from_being_deleted(
    instance: Target,
) -> None:
    found = look(instance_reads(instance, PendingModifiedValues={"DBInstanceClass": "db.r6g.xlarge"}), instance)
    assert KINDS["rds.instance"].waiting_to_delete(found or {}) is None
    found = look(instance_reads(instance, DBInstanceStatus="modifying"), instance)
    assert KINDS["rds.instance"].waiting_to_delete(found or {}) == "the instance is modifying"


def statuses(status: str) -> list[dict[str, str]]:
    return [{"DBParameterGroupName": "own", "ParameterApplyStatus": status}]


def test_aws_09_case_a5_parameters_that_wait_for_a_reboot_are_a_difference_with_a_remedy(
    stack: Stack, instance: Target, primary: Target
) -> None:
    """RDS API, DBParameterGroupStatus and DBClusterMember. Nothing reboots a production writer by itself."""
    kind = KINDS["rds.instance"]
    group = instance.desired["DBParameterGroup"]
    shown = [{"DBParameterGroupName": group, "ParameterApplyStatus": "pending-reboot"}]
    found = look(instance_reads(instance, DBParameterGroups=shown), instance)
    assert [(d.field, d.observed) for d in drift(instance, found)] == [("ParameterApplyStatus", "pending-reboot")]
    assert "ParameterApplyStatus" in kind.immutable and kind.waiting(found or {}) is None
    assert "reboot-db-instance" in kind.remedies["ParameterApplyStatus"]
    found = look(instance_reads(instance, DBParameterGroups=statuses("applying")), instance)
    assert kind.waiting(found or {}) == "the instance's parameters are being applied"

    kind = KINDS["rds.cluster"]
    members = [
        {"DBInstanceIdentifier": "b", "DBClusterParameterGroupStatus": "pending-reboot"},
        {"DBInstanceIdentifier": "a", "DBClusterParameterGroupStatus": "pending-reboot"},
        {"DBInstanceIdentifier": "c", "DBClusterParameterGroupStatus": "in-sync"},
    ]
    found = look(cluster_reads(primary, DBClusterMembers=members), primary)
    assert [(d.field, d.observed) for d in drift(primary, found)] == [
        ("DBClusterParameterGroupStatus", "pending-reboot at a, b")
    ]
    assert "DBClusterParameterGroupStatus" in kind.immutable
    assert "readers one at a time, then its writer" in kind.remedies["DBClusterParameterGroupStatus"]
    found = look(cluster_reads(primary, DBClusterMembers=[{"DBInstanceIdentifier": "a"}]), primary)
    assert fields(primary, found) == ["DBClusterParameterGroupStatus"], "a status that AWS does not give is no good one"


def test_an_instance_that_failed_is_a_drift_and_can_be_deleted(instance: Target) -> None:
    """Waiting for it would never end, and destroying, which waits too, would not either."""
    found = look(instance_reads(instance, DBInstanceStatus="insufficient-capacity"), instance)
    assert fields(instance, found) == ["Condition"]
    assert KINDS["rds.instance"].waiting(found or {}) is None
    assert deletion(instance, found) == (
        "delete_db_instance",
        {"DBInstanceIdentifier": instance.name, "SkipFinalSnapshot": True},
    )


# --- log group -----------------------------------------------------------------------------------------------------------


def test_the_log_group(stack: Stack) -> None:
    of = target(stack, "primary/aurora/log-group")
    kind, log_arn = KINDS[of.kind], f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{of.name}"

    def reads(**more: Any) -> FakeReads:
        # The prefix finds neighbours too.
        groups = [
            {"logGroupName": f"{of.name}-old", "arn": f"{log_arn}-old:*"},
            {"logGroupName": of.name, "arn": f"{log_arn}:*", **more},
        ]
        tags = {"tags": {**of.desired["Tags"], "aws:cloudformation:stack-name": "x"}}
        return FakeReads(kind, describe_log_groups={"logGroups": groups}, list_tags_for_resource=tags)

    found = look(reads(retentionInDays=30), of)
    assert found is not None
    assert fields(of, found) == []
    assert found["Arn"] == log_arn
    for_ever = look(reads(), of)
    assert next_call(of, for_ever) == ("put_retention_policy", {"logGroupName": of.name, "retentionInDays": 30})
    assert creation(of) == ("create_log_group", {"logGroupName": of.name, "tags": of.desired["Tags"]})
    assert deletion(of, found) == ("delete_log_group", {"logGroupName": of.name})
    assert look(FakeReads(kind, describe_log_groups={"logGroups": []}), of) is None


# --- the order that is not negotiable --------------------------------------------------------------------------------------


def test_the_order_is_in_the_lineage(stack: Stack) -> None:
    needs = {row.key: set(row.needs) for row in catalog(stack)}
    assert "global/aurora/global-cluster" in needs["primary/aurora/cluster"]
    assert "primary/credentials/password" in needs["primary/aurora/cluster"]
    assert "primary/aurora/cluster" in needs["primary/aurora/instance-1"]
    assert {"primary/aurora/instance-1", "primary/aurora/instance-2"} <= needs["secondary/aurora/cluster"]
    assert "secondary/aurora/cluster" in needs["secondary/aurora/instance-2"]
    for site in SITES:
        assert f"{site}/aurora/log-group" in needs[f"{site}/aurora/cluster"]
        assert f"{site}/encryption/data-key" in needs[f"{site}/aurora/cluster"]
        assert f"{site}/identity/monitoring-attachment" in needs[f"{site}/aurora/instance-1"]


def test_case_a1_a_cluster_on_another_key_is_told_to_recover_that_key_and_never_to_be_replaced(stack: Stack) -> None:
    of = target(stack, "primary/aurora/cluster")
    differs = (
        Drift("KmsKeyId", "arn:aws:kms:us-east-1:123456789012:key/new", "arn:aws:kms:us-east-1:123456789012:key/old"),
    )
    text = remedy(KINDS[of.kind], differs)
    assert "cancel-key-deletion" in text and "make the other site the writer" in text
    assert not any(word in text for word in ("destroy", "provision it again", "delete it"))


# --- answers in another form than what was sent ------------------------------------------------------------------------------

KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize("shown", [KEY_ID, f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{KEY_ID}"])
def test_a_key_that_rds_shows_by_its_id_is_the_same_key(stack: Stack, shown: str) -> None:
    """RDS API, DBCluster.KmsKeyId: "the key ARN, key ID, alias ARN, or alias name for the KMS key"; likewise
    DBInstance.PerformanceInsightsKMSKeyId. Both are sent as ARN."""
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{KEY_ID}"
    of = target(stack, "primary/aurora/cluster", KmsKeyId=key)
    assert fields(of, look(cluster_reads(of, KmsKeyId=shown), of)) == []
    other = shown.replace("1234abcd", "5678abcd")
    assert fields(of, look(cluster_reads(of, KmsKeyId=other), of)) == ["KmsKeyId"]
    of = target(stack, "primary/aurora/instance-1", PerformanceInsights={"KMSKeyId": key, "RetentionPeriod": 7})
    assert fields(of, look(instance_reads(of, PerformanceInsightsKMSKeyId=shown), of)) == []


@pytest.mark.parametrize("shown", [True, False])
def test_what_a_rebuilt_reader_does_not_show_is_no_drift(stack: Stack, shown: bool) -> None:
    """DatabaseName is "returned for the life of the DB cluster" (RDS API, DBCluster); whether that holds for a former primary which
    AWS rebuilt as a reader is not documented. Its writer endpoint is inactive (DBClusterEndpoint.Status)."""
    of = target(stack, "primary/aurora/cluster")
    answer = cluster_answer(of)
    del answer["Endpoint"]
    if not shown:
        del answer["DatabaseName"], answer["MasterUsername"]
    writer = {
        "DBClusterIdentifier": of.name,
        "Endpoint": "w.example.com",
        "Status": "inactive",
        "EndpointType": "WRITER",
    }
    kind = KINDS[of.kind]

    def differences(answer: dict[str, Any], status: str) -> list[str]:
        reads = FakeReads(
            kind,
            describe_db_clusters={"DBClusters": [answer]},
            describe_global_clusters=top_answer("arn:other", arn(of)),
            describe_db_cluster_endpoints={"DBClusterEndpoints": [{**writer, "Status": status}]},
        )
        found = look(reads, of)
        assert found is not None
        return [item.field for item in compare(kind.refine(of.desired, found), found, kind.owned)]

    assert differences(answer, "inactive") == []
    assert differences({**answer, "DatabaseName": "other"}, "inactive") == ["DatabaseName"]
    assert differences(answer, "available") == ([] if shown else ["DatabaseName", "MasterUsername"])


def test_no_instance_of_a_cluster_may_be_an_error_too(instance: Target) -> None:
    """The one error that DescribeDBInstances declares (RDS API) is DBInstanceNotFound."""
    reads = FakeReads(KINDS["rds.instance"], describe_db_instances=error("DBInstanceNotFound"))
    assert look(reads, instance) is None
