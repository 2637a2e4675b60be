"""Versions and classes that can be ordered: described per region, refused otherwise, kept where they run already."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import EmbeddedAws

from ..conftest import PRIMARY, SECONDARY, Clients
from .aurora import ENGINE, Pair, Site, code_of, writer_arguments

POSTGRES = "aurora-postgresql"


def versions(rds: Any, **more: Any) -> list[str]:
    pages = rds.get_paginator("describe_db_engine_versions").paginate(Engine=POSTGRES, **more)
    return [item["EngineVersion"] for page in pages for item in page["DBEngineVersions"]]


def options(rds: Any, **more: Any) -> list[dict[str, Any]]:
    pages = rds.get_paginator("describe_orderable_db_instance_options").paginate(Engine=POSTGRES, **more)
    return [item for page in pages for item in page["OrderableDBInstanceOptions"]]


def refusal(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return code_of(caught), caught.value.response["Error"]["Message"]


def test_aws_01_each_region_describes_what_it_offers(aws: EmbeddedAws, client: Clients) -> None:
    east, west = client("rds", PRIMARY), client("rds", SECONDARY)
    assert "14.13" in versions(east) and "14.99" not in versions(east)
    assert versions(east, EngineVersion="14.13") == ["14.13"] and versions(east, EngineVersion="14.99") == []
    assert set(versions(east, EngineVersion="14")) == {v for v in versions(east) if v.startswith("14.")}
    shown = east.describe_db_engine_versions(Engine=POSTGRES, EngineVersion="14.13")["DBEngineVersions"][0]
    assert (shown["DBParameterGroupFamily"], shown["SupportsGlobalDatabases"]) == ("aurora-postgresql14", True)
    assert "14.19" in [target["EngineVersion"] for target in shown["ValidUpgradeTarget"]]
    (found,) = options(east, EngineVersion="14.13", DBInstanceClass="db.r6g.large")
    assert (found["LicenseModel"], found["StorageType"], found["SupportsGlobalDatabases"]) == (
        "postgresql-license",
        "aurora",
        True,
    )
    assert options(east, EngineVersion="14.13", DBInstanceClass="db.r4.large") == []
    assert not options(east, EngineVersion="14.13", DBInstanceClass="db.t4g.medium")[0]["SupportsGlobalDatabases"]
    refused = refusal(east.describe_orderable_db_instance_options, Engine=POSTGRES, EngineVersion="14.99")
    assert refused == ("InvalidParameterCombination", "Cannot find version 14.99 for aurora-postgresql")
    aws.control.answers(engine_versions=["14.20", "us-west-2/14.13"], instance_classes=["db.r7g.large"])
    assert (versions(east), versions(west)) == (["14.20"], ["14.13", "14.20"])
    assert {item["DBInstanceClass"] for item in options(west)} == {"db.r7g.large"}


def test_aws_01_what_is_not_offered_cannot_be_created(aws: EmbeddedAws, east: Site, name: str) -> None:
    """The texts are AWS's: langfuse/langfuse-terraform-aws#34, terraform-provider-aws#28189."""
    gone = {**ENGINE, "EngineVersion": "14.99"}
    assert refusal(east.rds.create_global_cluster, GlobalClusterIdentifier=name, **gone) == (
        "InvalidParameterValue",
        "The requested engine version was not found or does not support global functionality",
    )
    assert refusal(east.rds.create_db_cluster, **writer_arguments(east, name, EngineVersion="14.99")) == (
        "InvalidParameterCombination",
        "Cannot find version 14.99 for aurora-postgresql",
    )
    east.rds.create_db_cluster(**writer_arguments(east, name))
    instance = {"DBInstanceIdentifier": f"{name}-1", "DBClusterIdentifier": name, "Engine": POSTGRES}
    code, text = refusal(east.rds.create_db_instance, **instance, DBInstanceClass="db.r4.large")
    assert code == "InvalidParameterCombination"
    assert "DBInstanceClass=db.r4.large, Engine=aurora-postgresql, EngineVersion=14.13" in text
    wrong = {**instance, "DBInstanceClass": "db.r6g.large", "EngineVersion": "14.20"}
    assert (
        "does not match the engine version of your DB cluster (14.13)"
        in refusal(east.rds.create_db_instance, **wrong)[1]
    )


def test_aws_01_what_runs_keeps_a_version_that_is_no_longer_offered(aws: EmbeddedAws, pair: Pair, east: Site) -> None:
    aws.control.answers(engine_versions=["14.20"])
    assert east.cluster(pair.primary)["EngineVersion"] == "14.13"
    east.rds.modify_db_cluster(DBClusterIdentifier=pair.primary, BackupRetentionPeriod=7, ApplyImmediately=True)
    east.add_instance(pair.primary, 3)
    code, text = refusal(east.rds.create_db_cluster, **writer_arguments(east, pair.name))
    assert (code, text) == ("InvalidParameterCombination", "Cannot find version 14.13 for aurora-postgresql")
    upgrade = {"GlobalClusterIdentifier": pair.name, "EngineVersion": "14.13"}
    east.rds.modify_global_cluster(**upgrade)
    text = refusal(east.rds.modify_global_cluster, **{**upgrade, "EngineVersion": "14.19"})[1]
    assert text == "Cannot find upgrade target from 14.13 with requested version 14.19."
