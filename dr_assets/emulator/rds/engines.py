"""Aurora versions and instance classes that a region offers: the describe calls, and the refusals of what is not offered.

What is offered are switches (`Answers.engine_versions`, `Answers.instance_classes`). What runs keeps a version that is no longer
offered.
"""

from typing import Any

from moto.rds.exceptions import InvalidParameterCombination, InvalidParameterValue

from dr_assets.emulator.answers import answers

ENGINE = "aurora-postgresql"
LICENSE = "postgresql-license"


def versions(region: str) -> list[str]:
    """The versions that can be created in a region, oldest first."""
    return sorted(_offered(answers().engine_versions, region), key=_order)


def classes(region: str) -> list[str]:
    """The instance classes that can be created in a region."""
    return _offered(answers().instance_classes, region)


def _offered(items: tuple[str, ...], region: str) -> list[str]:
    """`14.13` is offered everywhere, `us-west-2/14.20` in that region alone."""
    split = [item.rpartition("/") for item in items]
    return [value for where, _, value in split if where in ("", region)]


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def default_version(region: str) -> str | None:
    """What a creation without EngineVersion gets: the newest. AWS's default is some recent one."""
    return next(reversed(versions(region)), None)


def check_version(engine: str, version: str | None, region: str) -> None:
    """Refuse CreateDBCluster with a version that is not offered (langfuse/langfuse-terraform-aws#34 has AWS's text)."""
    if engine == ENGINE and version not in versions(region):
        raise InvalidParameterCombination(f"Cannot find version {version} for {engine}")


def check_global_version(engine: str, version: str | None, region: str) -> None:
    """Refuse CreateGlobalCluster with a version that is not offered (terraform-provider-aws#28189 has AWS's text)."""
    if engine == ENGINE and version not in versions(region):
        raise InvalidParameterValue(
            "The requested engine version was not found or does not support global functionality"
        )


def check_upgrade(item: Any, version: str | None) -> None:
    """Refuse to change a cluster or global cluster to a version that is not offered, or older (AWS's text)."""
    if item.engine != ENGINE or version in (None, item.engine_version):
        return
    if version not in versions(item.region) or _order(version) < _order(item.engine_version):
        raise InvalidParameterCombination(
            f"Cannot find upgrade target from {item.engine_version} with requested version {version}."
        )


def check_class(cluster: Any, instance_class: str) -> None:
    """Refuse an instance of a class that is not offered (cn-terraform/terraform-aws-sonarqube#88 has AWS's text).

    An instance may join a cluster whose version is no longer offered (a guess: AWS goes on running it).
    """
    if cluster.engine == ENGINE and instance_class not in classes(cluster.region):
        raise InvalidParameterCombination(
            "RDS does not support creating a DB instance with the following combination: "
            f"DBInstanceClass={instance_class}, Engine={ENGINE}, EngineVersion={cluster.engine_version}, LicenseModel={LICENSE}. "
            "For supported combinations of instance class and database engine version, see the documentation."
        )
    if cluster.membership is not None and is_burstable(instance_class):
        raise unsupported_by_global(instance_class)


def is_burstable(instance_class: str) -> bool:
    """Whether it is a db.t class: DescribeOrderableDBInstanceOptions has them without SupportsGlobalDatabases."""
    return instance_class.startswith("db.t")


def unsupported_by_global(instance_class: str) -> Exception:
    """AWS's refusal of a class in a global cluster (terraform-provider-aws#27736)."""
    return InvalidParameterCombination(
        f"The requested instance class is not supported by global databases: {instance_class}"
    )


def describe_versions(region: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    """DescribeDBEngineVersions. moto: not implemented. A version that is not offered is an empty list, a major one its minors."""
    if params.get("Engine") not in (None, ENGINE):
        return []
    found = versions(region)
    if wanted := params.get("EngineVersion"):
        found = [version for version in found if version == wanted or version.startswith(f"{wanted}.")]
    if params.get("DefaultOnly"):
        found = found[-1:]
    shown = [_version(version, versions(region)) for version in found]
    family = params.get("DBParameterGroupFamily")
    return [item for item in shown if family in (None, item["DBParameterGroupFamily"])]


def _version(version: str, offered: list[str]) -> dict[str, Any]:
    major = version.split(".", maxsplit=1)[0]
    newer = [other for other in offered if _order(other) > _order(version)]
    return {
        "Engine": ENGINE,
        "EngineVersion": version,
        "MajorEngineVersion": major,
        "DBParameterGroupFamily": f"{ENGINE}{major}",
        "DBEngineDescription": "Aurora (PostgreSQL)",
        "DBEngineVersionDescription": f"Aurora PostgreSQL (compatible with PostgreSQL {version})",
        "ValidUpgradeTarget": [
            {"Engine": ENGINE, "EngineVersion": other, "IsMajorVersionUpgrade": not other.startswith(f"{major}.")}
            for other in newer
        ],
        "ExportableLogTypes": ["postgresql"],
        "SupportsLogExportsToCloudwatchLogs": True,
        "SupportsReadReplica": False,
        "SupportedEngineModes": ["provisioned"],
        "Status": "available",
        "SupportsParallelQuery": False,
        "SupportsGlobalDatabases": True,
    }


def describe_orderable(region: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    """DescribeOrderableDBInstanceOptions. moto: a fixed list of 2021. An unknown version is refused, an unknown class empty."""
    if params.get("Engine") != ENGINE:
        return []
    found = versions(region)
    if wanted := params.get("EngineVersion"):
        check_version(ENGINE, wanted, region)
        found = [wanted]
    only = params.get("DBInstanceClass")
    return [_option(region, version, each) for version in found for each in classes(region) if only in (None, each)]


def _option(region: str, version: str, instance_class: str) -> dict[str, Any]:
    burstable = is_burstable(instance_class)
    return {
        "Engine": ENGINE,
        "EngineVersion": version,
        "DBInstanceClass": instance_class,
        "LicenseModel": LICENSE,
        "AvailabilityZones": [{"Name": f"{region}{zone}"} for zone in "abc"],
        "MultiAZCapable": False,
        "ReadReplicaCapable": False,
        "Vpc": True,
        "SupportsStorageEncryption": True,
        "StorageType": "aurora",
        "SupportsIops": False,
        "SupportsEnhancedMonitoring": True,
        "SupportsIAMDatabaseAuthentication": True,
        "SupportsPerformanceInsights": not burstable,
        "AvailableProcessorFeatures": [],
        "SupportedEngineModes": ["provisioned"],
        "SupportsGlobalDatabases": not burstable,
        "SupportsClusters": True,
    }
