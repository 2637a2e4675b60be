"""Aurora: parameter groups, log group, clusters and instances of each site; the global cluster over them.

The order that is not negotiable: global cluster, primary cluster, its instances, secondary cluster, its instances.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr_assets.core.expressions import Ref
from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.aurora.states import IN_SYNC, USABLE
from dr_assets.resources.credentials.kinds import StoredPassword
from dr_assets.resources.credentials.rows import PORT
from dr_assets.resources.row import resource
from dr_assets.stack import Site, Stack

ENGINE = "aurora-postgresql"
LOG_RETENTION_DAYS = 30
MONITORING_SECONDS = 60
INSIGHTS_RETENTION_DAYS = 7

CLUSTER_PARAMETERS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "ALL",
    "log_statement": "all",
    "log_min_duration_statement": "1000",
    "rds.force_ssl": "1",
}
INSTANCE_PARAMETERS = {"log_connections": "1", "log_disconnections": "1"}


LOST = "there would be no database to fail over to"
CAPABILITY = {
    "primary": "the database at the primary site, and failing back to it",
    "secondary": "a failover to the secondary site",
}


def _lost(site: Site) -> str:
    return "the secondary site must take over" if site == "primary" else LOST


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    at = f"{site}/aurora"
    for scope, parameters in (("cluster", CLUSTER_PARAMETERS), ("instance", INSTANCE_PARAMETERS)):
        yield resource(
            stack,
            f"{at}/{scope}-parameter-group",
            f"rds.{scope}_parameter_group",
            names.parameter_group(stack, site, scope),
            {"DBParameterGroupFamily": stack.parameter_group_family, "Parameters": parameters},
            identity={"Parameters": sorted(parameters)},
            settings={"Description": f"Aurora PostgreSQL {scope} parameters of the {site} site"},
            terraform=f"module.{site}.aws_{'rds_cluster' if scope == 'cluster' else 'db'}_parameter_group.this",
            lost=_lost(site),
            title=f"PostgreSQL settings of the site's {scope}s: TLS only, statements and connections logged."
            if scope == "cluster"
            else "PostgreSQL settings of the site's instances: connections and disconnections logged.",
        )
    yield resource(
        stack,
        f"{at}/log-group",
        "logs.log_group",
        names.log_group(stack, site),
        {"RetentionInDays": LOG_RETENTION_DAYS},
        terraform=f"module.{site}.aws_cloudwatch_log_group.postgresql",
        lost=_lost(site),
        title="PostgreSQL's log, kept for 30 days; made before the cluster, which would make one without an end.",
    )
    yield _cluster(stack, site)
    for n in range(1, stack.instances_per_cluster + 1):
        yield _instance(stack, site, n)


def global_rows(stack: Stack) -> Iterator[Resource]:
    yield resource(
        stack,
        "global/aurora/global-cluster",
        "rds.global_cluster",
        stack.global_cluster_name,
        {
            "Engine": ENGINE,
            "EngineVersion": stack.engine_version,
            "StorageEncrypted": True,
            "DeletionProtection": stack.deletion_protection,
        },
        terraform="aws_rds_global_cluster.this",
        terraform_ignores=frozenset({"engine_version", "database_name"}),
        title="Joins the two clusters: storage replication from the writer's region to the reader's.",
    )


def _cluster(stack: Stack, site: Site) -> Resource:
    desired: dict[str, Any] = {
        "Engine": ENGINE,
        "EngineVersion": stack.engine_version,
        "BackupRetentionPeriod": stack.backup_retention_days,
        "PreferredBackupWindow": stack.backup_window,
        "PreferredMaintenanceWindow": stack.maintenance_window,
        "StorageEncrypted": True,
        "KmsKeyId": Ref(f"{site}/encryption/data-key", "Arn"),
        "DBSubnetGroup": Ref(f"{site}/network/db-subnet-group", "Name"),
        "DBClusterParameterGroup": Ref(f"{site}/aurora/cluster-parameter-group", "Name"),
        "VpcSecurityGroupIds": [Ref(f"{site}/network/security-group", "GroupId")],
        "EnabledCloudwatchLogsExports": ["postgresql"],
        "IAMDatabaseAuthenticationEnabled": True,
        "DeletionProtection": stack.deletion_protection,
        "CopyTagsToSnapshot": True,
        "Port": PORT,
        "GlobalClusterIdentifier": stack.global_cluster_name,
        "DBClusterParameterGroupStatus": IN_SYNC,
        "Pending": [],
        "Condition": USABLE,
    }
    settings: dict[str, Any] = {}
    after: tuple[str, ...] = ("global/aurora/global-cluster", f"{site}/aurora/log-group")
    if site == "primary":
        desired |= {"DatabaseName": stack.database_name, "MasterUsername": stack.master_username}
        settings = {"MasterUserPassword": StoredPassword(stack.primary_region, names.secret(stack, "primary"))}
        after = (*after, "primary/credentials/password")
    else:
        # To copy what is encrypted across regions RDS asks the source region's leave too.
        settings = {"SourceRegion": stack.primary_region}
        # AWS wants a writer that runs before it lets a second region join.
        after = (*after, *(f"primary/aurora/instance-{n}" for n in range(1, stack.instances_per_cluster + 1)))
    ignored = {"replication_source_identifier", "global_cluster_identifier", "engine_version"}
    ignored |= {"database_name", "master_username"} if site == "primary" else {"source_region"}
    return resource(
        stack,
        f"{site}/aurora/cluster",
        "rds.cluster",
        names.cluster(stack, site),
        desired,
        identity={"GlobalCluster": stack.global_cluster_name},
        settings=settings,
        after=after,
        terraform=f"aws_rds_cluster.{site}",
        terraform_ignores=frozenset(ignored),
        lost=_lost(site),
        title="The site's Aurora cluster: a member of the global cluster, encrypted with the site's own key.",
    )


def _instance(stack: Stack, site: Site, n: int) -> Resource:
    zones = stack.availability_zones.of(site)
    return resource(
        stack,
        f"{site}/aurora/instance-{n}",
        "rds.instance",
        names.instance(stack, site, n),
        {
            "DBInstanceClass": stack.instance_class,
            "DBParameterGroup": Ref(f"{site}/aurora/instance-parameter-group", "Name"),
            "AvailabilityZone": zones[(n - 1) % 3],
            "PubliclyAccessible": False,
            "MonitoringInterval": MONITORING_SECONDS,
            "MonitoringRoleArn": Ref(f"{site}/identity/monitoring-role", "Arn"),
            "PerformanceInsights": {
                "KMSKeyId": Ref(f"{site}/encryption/data-key", "Arn"),
                "RetentionPeriod": INSIGHTS_RETENTION_DAYS,
            },
            "AutoMinorVersionUpgrade": False,
            "PromotionTier": min(n - 1, 15),
            "ParameterApplyStatus": IN_SYNC,
            "Pending": [],
            "Condition": USABLE,
        },
        identity={"Cluster": names.cluster(stack, site)},
        settings={"Engine": ENGINE},
        after=(f"{site}/aurora/cluster", f"{site}/identity/monitoring-attachment"),
        terraform=f"aws_rds_cluster_instance.{site}[{n - 1}]",
        capability=CAPABILITY[site] if n == 1 else "",
        lost=_lost(site),
        title=f"Instance {n} of the site's cluster, in {zones[(n - 1) % 3]}.",
    )
