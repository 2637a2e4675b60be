"""Aurora Global Database: members, roles, switchover, failover, refusals, events."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import EmbeddedAws
from tests.support.answers import answering
from tests.support.principal import let_topic_send

from ..conftest import PRIMARY, SECONDARY, Clients
from .aurora import ACCOUNT, ENGINE, Pair, Site, code_of, common, make_site, writer_arguments


def test_global_cluster_is_the_same_everywhere(pair: Pair) -> None:
    assert pair.shown(pair.east) == pair.shown(pair.west)
    shown = pair.shown()
    assert (shown["Status"], shown["Engine"], shown["EngineVersion"]) == ("available", "aurora-postgresql", "14.13")
    assert shown["GlobalClusterArn"] == f"arn:aws:rds::{ACCOUNT}:global-cluster:{pair.name}"
    assert shown["Endpoint"].startswith(f"{pair.name}.global-") and "FailoverState" not in shown
    assert (shown["StorageEncrypted"], shown["DeletionProtection"]) == (True, False)
    writer, reader = shown["GlobalClusterMembers"]
    assert (writer["DBClusterArn"], writer["IsWriter"], writer["Readers"]) == (
        pair.arn(pair.east),
        True,
        [pair.arn(pair.west)],
    )
    assert (reader["DBClusterArn"], reader["IsWriter"], reader["Readers"]) == (pair.arn(pair.west), False, [])
    assert reader["GlobalWriteForwardingStatus"] == "disabled" and reader["SynchronizationStatus"] == "connected"
    filters = [{"Name": "region", "Values": ["eu-west-1"]}]
    assert pair.east.rds.describe_global_clusters(Filters=filters)["GlobalClusters"] == []


def test_members_and_roles_of_instances(pair: Pair, east: Site, west: Site) -> None:
    writer, reader = east.cluster(pair.primary), west.cluster(pair.secondary)
    assert [m["IsClusterWriter"] for m in writer["DBClusterMembers"]] == [True, False]
    # A read-only member is made up entirely of replicas.
    assert [m["IsClusterWriter"] for m in reader["DBClusterMembers"]] == [False, False]
    assert [m["PromotionTier"] for m in reader["DBClusterMembers"]] == [0, 1]
    assert {m["DBClusterParameterGroupStatus"] for m in writer["DBClusterMembers"]} == {"in-sync"}
    assert writer["MultiAZ"] and reader["MultiAZ"]
    assert writer["ReadReplicaIdentifiers"] == [pair.arn(west)] and "ReplicationSourceIdentifier" not in writer
    assert reader["ReplicationSourceIdentifier"] == pair.arn(east)
    assert reader["GlobalWriteForwardingStatus"] == "disabled"
    assert reader["MasterUsername"] == "dbadmin"
    host = writer["Endpoint"].split(".")
    assert (
        host[0] == pair.primary
        and host[1].startswith("cluster-c")
        and host[2:] == f"{PRIMARY}.rds.amazonaws.com".split(".")
    )
    assert writer["ReaderEndpoint"] == writer["Endpoint"].replace(".cluster-", ".cluster-ro-")


def test_switchover_swaps_the_roles_and_back(pair: Pair, east: Site, west: Site) -> None:
    answer = pair.switch(east, west)["GlobalCluster"]
    assert answer["Status"] == "switching-over"
    assert answer["FailoverState"]["ToDbClusterArn"] == pair.arn(west)
    assert answer["FailoverState"]["IsDataLossAllowed"] is False
    assert pair.roles() == {pair.arn(east): False, pair.arn(west): True}
    writer = west.cluster(pair.secondary)
    assert [m["IsClusterWriter"] for m in writer["DBClusterMembers"]] == [False, True]
    assert "ReplicationSourceIdentifier" not in writer
    assert east.cluster(pair.primary)["ReplicationSourceIdentifier"] == pair.arn(west)
    assert not any(m["IsClusterWriter"] for m in east.cluster(pair.primary)["DBClusterMembers"])
    pair.switch(west, east)
    assert pair.roles() == {pair.arn(east): True, pair.arn(west): False}


def endpoints(site: Site, cluster: str, **more: Any) -> dict[str, tuple[str, str]]:
    found = site.rds.describe_db_cluster_endpoints(DBClusterIdentifier=cluster, **more)["DBClusterEndpoints"]
    assert {item["DBClusterIdentifier"] for item in found} <= {cluster}
    return {item["EndpointType"]: (item["Endpoint"], item["Status"]) for item in found}


def test_aws_03_a_cluster_s_endpoints_are_being_created_until_it_has_an_instance(
    aws: EmbeddedAws, east: Site, name: str
) -> None:
    """ "Until you create the primary DB instance, the DB cluster endpoints remain in the Creating status" (Aurora user guide, "Creating a DB
    cluster"). Whether they are listed with their names then is not documented."""
    east.rds.create_db_cluster(**writer_arguments(east, name))
    assert {status for _, status in endpoints(east, name).values()} == {"creating"}
    with answering(aws.control, endpoints_without_instances="missing"):
        assert endpoints(east, name) == {}
        east.add_instance(name)
        assert {status for _, status in endpoints(east, name).values()} == {"available"}


def test_aws_03_a_secondary_shows_its_writer_endpoint_as_inactive_only(pair: Pair, east: Site, west: Site) -> None:
    """DescribeDBClusters of a secondary names the reader endpoint alone (terraform-provider-aws#14219); its writer endpoint is
    `inactive` (RDS API, DBClusterEndpoint.Status) until it is promoted, and keeps its name."""
    reader = west.cluster(pair.secondary)
    assert "Endpoint" not in reader
    name = reader["ReaderEndpoint"].replace(".cluster-ro-", ".cluster-")
    assert endpoints(west, pair.secondary) == {
        "WRITER": (name, "inactive"),
        "READER": (reader["ReaderEndpoint"], "available"),
    }
    writer = east.cluster(pair.primary)
    assert endpoints(east, pair.primary)["WRITER"] == (writer["Endpoint"], "available")
    only = [{"Name": "db-cluster-endpoint-status", "Values": ["inactive"]}]
    assert list(endpoints(west, pair.secondary, Filters=only)) == ["WRITER"]
    assert endpoints(east, pair.primary, Filters=only) == {}
    pair.switch(east, west)
    assert west.cluster(pair.secondary)["Endpoint"] == name
    assert endpoints(west, pair.secondary)["WRITER"] == (name, "available")
    assert "Endpoint" not in east.cluster(pair.primary)
    assert endpoints(east, pair.primary)["WRITER"] == (writer["Endpoint"], "inactive")


@pytest.mark.parametrize(("answer", "writers"), [("last", [False, True]), ("first", [True, False])])
def test_aws_03_promotion_may_pick_any_instance(
    aws: EmbeddedAws, pair: Pair, east: Site, west: Site, answer: str, writers: list[bool]
) -> None:
    aws.control.answers(promoted_instance=answer)
    pair.switch(east, west)
    assert [m["IsClusterWriter"] for m in west.cluster(pair.secondary)["DBClusterMembers"]] == writers


def test_switchover_takes_its_time(aws: EmbeddedAws, pair: Pair, east: Site, west: Site) -> None:
    aws.control.settle(0.6)
    pair.switch(east, west)
    shown = pair.shown()
    assert shown["Status"] == "switching-over" and pair.roles()[pair.arn(east)] is True
    assert shown["FailoverState"]["FromDbClusterArn"] == pair.arn(east)
    assert east.cluster(pair.primary)["Status"] == west.cluster(pair.secondary)["Status"] == "switching-over"
    for call in (lambda: pair.switch(east, west), lambda: pair.fail(west, west, AllowDataLoss=True)):
        with pytest.raises(ClientError) as caught:
            call()
        assert code_of(caught) == "InvalidGlobalClusterStateFault"
    time.sleep(0.7)
    assert pair.shown()["Status"] == "available" and pair.roles()[pair.arn(west)] is True
    assert east.cluster(pair.primary)["Status"] == "available"


def test_failover_loses_data_and_rebuilds(aws: EmbeddedAws, pair: Pair, east: Site, west: Site) -> None:
    with pytest.raises(ClientError) as caught:
        pair.fail(east, west, AllowDataLoss=True)  # not in the target's region
    assert code_of(caught) == "InvalidParameterValue"
    with pytest.raises(ClientError) as caught:
        pair.fail(west, west, AllowDataLoss=True, Switchover=True)
    assert code_of(caught) == "InvalidParameterCombination"
    aws.control.settle(0.5)
    answer = pair.fail(west, west, AllowDataLoss=True)["GlobalCluster"]
    assert answer["Status"] == "failing-over" and answer["FailoverState"]["IsDataLossAllowed"] is True
    time.sleep(0.6)
    states = {m["DBClusterArn"]: m["SynchronizationStatus"] for m in pair.shown()["GlobalClusterMembers"]}
    assert states == {pair.arn(east): "pending-resync", pair.arn(west): "connected"}
    assert pair.roles()[pair.arn(west)] is True
    with pytest.raises(ClientError) as caught:
        pair.switch(west, east)
    assert code_of(caught) == "InvalidGlobalClusterStateFault"
    time.sleep(0.6)
    assert {m["SynchronizationStatus"] for m in pair.shown()["GlobalClusterMembers"]} == {"connected"}
    aws.control.settle(0)
    pair.switch(west, east)
    assert pair.roles()[pair.arn(east)] is True


def test_failover_without_data_loss_is_a_switchover(pair: Pair, east: Site, west: Site) -> None:
    for flags in ({}, {"Switchover": True}):
        caller, target = (east, west) if pair.roles()[pair.arn(east)] else (west, east)
        with pytest.raises(ClientError) as caught:
            pair.fail(target, target, **flags)
        assert code_of(caught) == "InvalidParameterValue"  # a switchover is called at the writer
        answer = pair.fail(caller, target, **flags)["GlobalCluster"]
        assert answer["FailoverState"]["IsDataLossAllowed"] is False
        assert pair.roles()[pair.arn(target)] is True


def test_targets_that_cannot_take_over(pair: Pair, east: Site, west: Site) -> None:
    with pytest.raises(ClientError) as caught:
        pair.switch(east, east)
    assert code_of(caught) == "InvalidDBClusterStateFault"
    with pytest.raises(ClientError) as caught:
        east.rds.switchover_global_cluster(
            GlobalClusterIdentifier=pair.name, TargetDbClusterIdentifier=pair.arn(west) + "x"
        )
    assert code_of(caught) == "DBClusterNotFoundFault"
    with pytest.raises(ClientError) as caught:
        east.rds.switchover_global_cluster(GlobalClusterIdentifier="no", TargetDbClusterIdentifier=pair.arn(west))
    assert code_of(caught) == "GlobalClusterNotFoundFault"
    for n in (1, 2):
        west.rds.delete_db_instance(DBInstanceIdentifier=f"{pair.secondary}-{n}")
    for call in (lambda: pair.switch(east, west), lambda: pair.fail(west, west, AllowDataLoss=True)):
        with pytest.raises(ClientError) as caught:
            call()
        assert code_of(caught) == "InvalidDBClusterStateFault"


def test_secondary_cluster_refusals(east: Site, west: Site, name: str) -> None:
    rds = west.rds
    east.rds.create_global_cluster(GlobalClusterIdentifier=name, StorageEncrypted=True, **ENGINE)
    reader = {**ENGINE, **common(west), "DBClusterIdentifier": name + "-s", "GlobalClusterIdentifier": name}
    reader["SourceRegion"] = PRIMARY

    def refused(**changes: Any) -> str:
        with pytest.raises(ClientError) as caught:
            rds.create_db_cluster(**{k: v for k, v in {**reader, **changes}.items() if v is not None})
        return code_of(caught)

    with pytest.raises(ClientError) as caught:
        managed = writer_arguments(east, name + "-p", GlobalClusterIdentifier=name, ManageMasterUserPassword=True)
        east.rds.create_db_cluster(**{k: v for k, v in managed.items() if k != "MasterUserPassword"})
    assert code_of(caught) == "InvalidParameterCombination"
    east.rds.create_db_cluster(**writer_arguments(east, name + "-p", GlobalClusterIdentifier=name))
    assert refused() == "InvalidDBClusterStateFault"  # the writer has no instance yet
    east.add_instance(name + "-p")
    assert refused(MasterUsername="dbadmin") == "InvalidParameterCombination"
    assert refused(MasterUserPassword="not-a-secret-1") == "InvalidParameterCombination"
    assert refused(DatabaseName="transactiondb") == "InvalidParameterCombination"
    assert refused(ManageMasterUserPassword=True) == "InvalidParameterCombination"
    assert refused(KmsKeyId=None) == "InvalidParameterCombination"
    assert refused(KmsKeyId=east.key) == "KMSKeyNotAccessibleFault"
    assert refused(EngineVersion="13.9") == "InvalidParameterCombination"  # not offered
    assert refused(EngineVersion="14.19") == "InvalidParameterValue"  # not the global cluster's
    assert refused(EngineVersion=None) == "InvalidParameterValue"  # AWS's default is another one (aws-cli#8139)
    assert refused(GlobalClusterIdentifier="absent") == "GlobalClusterNotFoundFault"
    assert refused(DBClusterParameterGroupName="absent") == "DBClusterParameterGroupNotFound"
    assert refused(DBSubnetGroupName="absent") == "DBSubnetGroupNotFoundFault"
    assert refused(VpcSecurityGroupIds=["sg-absent"]) == "InvalidParameterValue"
    with pytest.raises(ClientError) as caught:
        east.rds.create_db_cluster(**writer_arguments(east, name + "-p"))
    assert code_of(caught) == "DBClusterAlreadyExistsFault"
    with pytest.raises(ClientError) as caught:
        east.rds.create_global_cluster(GlobalClusterIdentifier=name, **ENGINE)
    assert code_of(caught) == "GlobalClusterAlreadyExistsFault"


def test_teardown_keeps_awss_order(pair: Pair, east: Site, west: Site) -> None:
    def refused(call: Any, **arguments: Any) -> str:
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        return code_of(caught)

    e, w = east.rds, west.rds
    gone = {"DBClusterIdentifier": pair.primary, "SkipFinalSnapshot": True}
    assert refused(e.delete_global_cluster, GlobalClusterIdentifier=pair.name) == "InvalidGlobalClusterStateFault"
    assert refused(e.delete_db_cluster, **gone) == "InvalidDBClusterStateFault"  # it has instances
    e.delete_db_instance(DBInstanceIdentifier=f"{pair.primary}-1")
    assert east.cluster(pair.primary)["DBClusterMembers"][0]["IsClusterWriter"] is True  # the other took over
    last = {"DBInstanceIdentifier": f"{pair.primary}-2"}
    assert refused(e.delete_db_instance, **last) == "InvalidDBClusterStateFault"  # the last one, with a reader cluster
    remove = {"GlobalClusterIdentifier": pair.name}
    assert (
        refused(e.remove_from_global_cluster, DbClusterIdentifier=pair.arn(east), **remove)
        == "InvalidGlobalClusterStateFault"
    )
    assert (
        refused(e.remove_from_global_cluster, DbClusterIdentifier=pair.arn(west), **remove) == "DBClusterNotFoundFault"
    )
    for n in (1, 2):
        w.delete_db_instance(DBInstanceIdentifier=f"{pair.secondary}-{n}")
    reader = {"DBClusterIdentifier": pair.secondary, "SkipFinalSnapshot": True}
    assert refused(w.delete_db_cluster, **reader) == "InvalidDBClusterStateFault"  # still a member
    w.remove_from_global_cluster(DbClusterIdentifier=pair.arn(west), **remove)
    assert "GlobalClusterIdentifier" not in west.cluster(pair.secondary)
    assert refused(w.delete_db_cluster, DBClusterIdentifier=pair.secondary) == "InvalidParameterCombination"
    w.delete_db_cluster(**reader)
    assert refused(w.describe_db_clusters, DBClusterIdentifier=pair.secondary) == "DBClusterNotFoundFault"
    assert [m["DBClusterArn"] for m in pair.shown()["GlobalClusterMembers"]] == [pair.arn(east)]
    e.delete_db_instance(**last)
    e.remove_from_global_cluster(DbClusterIdentifier=pair.arn(east), **remove)
    e.delete_db_cluster(**gone)
    w.delete_global_cluster(GlobalClusterIdentifier=pair.name)
    assert refused(e.describe_global_clusters, GlobalClusterIdentifier=pair.name) == "GlobalClusterNotFoundFault"


def test_modify_global_cluster(pair: Pair, east: Site, west: Site) -> None:
    west.rds.modify_global_cluster(GlobalClusterIdentifier=pair.name, DeletionProtection=True)
    assert pair.shown(east)["DeletionProtection"] is True
    east.rds.modify_global_cluster(GlobalClusterIdentifier=pair.name, EngineVersion="14.19", DeletionProtection=False)
    assert pair.shown()["EngineVersion"] == "14.19"
    assert east.cluster(pair.primary)["EngineVersion"] == west.cluster(pair.secondary)["EngineVersion"] == "14.19"
    with pytest.raises(ClientError) as caught:
        east.rds.modify_global_cluster(GlobalClusterIdentifier="absent", DeletionProtection=True)
    assert code_of(caught) == "GlobalClusterNotFoundFault"


def test_a_switchover_publishes_its_events_to_describe_events_and_to_the_topic(
    client: Clients, pair: Pair, east: Site, west: Site, name: str
) -> None:
    sns, sqs = client("sns", SECONDARY), client("sqs", SECONDARY)
    topic = sns.create_topic(Name=name)["TopicArn"]
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = let_topic_send(sqs, url, topic)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    west.rds.create_event_subscription(
        SubscriptionName=name,
        SnsTopicArn=topic,
        SourceType="db-cluster",
        SourceIds=[pair.secondary],
        EventCategories=["global-failover"],
        Enabled=True,
    )
    pair.switch(east, west)
    assert pair.roles()[pair.arn(west)] is True
    asked = {"SourceIdentifier": pair.secondary, "SourceType": "db-cluster"}
    events = west.rds.describe_events(**asked)["Events"]
    assert [event["EventCategories"] for event in events] == [["global-failover"]] * 4
    assert "started" in events[0]["Message"]
    assert "global writer endpoint" in events[-1]["Message"]
    assert west.rds.describe_events(**asked, EventCategories=["backup"])["Events"] == []
    tomorrow = events[-1]["Date"] + timedelta(days=1)
    assert west.rds.describe_events(**asked, StartTime=tomorrow, EndTime=tomorrow)["Events"] == []
    received = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            received.append(json.loads(json.loads(message["Body"])["Message"])["Event ID"].rsplit("#", 1)[1])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert received == ["RDS-EVENT-0181", "RDS-EVENT-0184", "RDS-EVENT-0185", "RDS-EVENT-0397"]


def test_an_encrypted_cluster_joins_only_with_the_source_region_s_leave(
    pair: Pair, west: Site, name: str, client: Clients
) -> None:
    """cloudformation-coverage-roadmap#719, terraform-provider-aws#16362. botocore signs the URL with SourceRegion."""
    far = make_site(client, "eu-west-1", name, "10.2")
    third = {**ENGINE, **common(far), "DBClusterIdentifier": name, "GlobalClusterIdentifier": pair.name}
    for wrong, code, text in (
        (
            {},
            "InvalidParameterCombination",
            f"Source cluster {pair.arn(pair.east)} is encrypted; pre-signed URL has to be specified",
        ),
        ({"SourceRegion": "us-west-2"}, "InvalidParameterValue", "PreSignedUrl could not be authenticated."),
    ):
        with pytest.raises(ClientError) as caught:
            far.rds.create_db_cluster(**third, **wrong)
        assert (code_of(caught), caught.value.response["Error"]["Message"]) == (code, text)


def test_aws_18_a_third_region_joins_and_may_be_the_writer(
    pair: Pair, east: Site, west: Site, name: str, client: Clients
) -> None:
    """Up to ten secondary regions (Aurora user guide, "Overview of Amazon Aurora Global Database")."""
    far = make_site(client, "eu-west-1", name, "10.2")
    third = {**ENGINE, **common(far), "DBClusterIdentifier": f"{name}-t", "GlobalClusterIdentifier": pair.name}
    far.rds.create_db_cluster(**third, SourceRegion=PRIMARY)
    far.add_instance(f"{name}-t")
    arn = f"arn:aws:rds:eu-west-1:{ACCOUNT}:cluster:{name}-t"
    assert pair.roles() == {pair.arn(east): True, pair.arn(west): False, arn: False}
    readers = next(m["Readers"] for m in pair.shown()["GlobalClusterMembers"] if m["IsWriter"])
    assert readers == [pair.arn(west), arn]
    east.rds.switchover_global_cluster(GlobalClusterIdentifier=pair.name, TargetDbClusterIdentifier=arn)
    assert pair.roles() == {pair.arn(east): False, pair.arn(west): False, arn: True}
    pair.fail(west, west, AllowDataLoss=True)
    assert pair.roles()[pair.arn(west)] is True
    far.rds.failover_global_cluster(
        GlobalClusterIdentifier=pair.name, TargetDbClusterIdentifier=arn, AllowDataLoss=True
    )
    assert pair.roles()[arn] is True


def test_aws_17_a_cluster_that_leaves_is_a_writer_of_its_own(pair: Pair, west: Site) -> None:
    """Aurora user guide, "Removing a cluster from an Amazon Aurora global database"."""
    assert "Endpoint" not in west.cluster(pair.secondary)
    west.rds.remove_from_global_cluster(GlobalClusterIdentifier=pair.name, DbClusterIdentifier=pair.arn(west))
    left = west.cluster(pair.secondary)
    assert left["Endpoint"] and sum(member["IsClusterWriter"] for member in left["DBClusterMembers"]) == 1
    assert "ReplicationSourceIdentifier" not in left
    assert endpoints(west, pair.secondary)["WRITER"] == (left["Endpoint"], "available")


def test_aws_01_a_global_cluster_takes_no_burstable_class(pair: Pair, east: Site, west: Site, name: str) -> None:
    """terraform-provider-aws#27736 has AWS's text: a burstable class that can be ordered is refused in a global cluster only."""
    burstable = {"DBInstanceClass": "db.t4g.medium"}
    for site, cluster in ((east, pair.primary), (west, pair.secondary)):
        for change in (
            lambda site=site, cluster=cluster: site.add_instance(cluster, 9, **burstable),
            lambda site=site, cluster=cluster: site.rds.modify_db_instance(
                DBInstanceIdentifier=site.cluster(cluster)["DBClusterMembers"][0]["DBInstanceIdentifier"], **burstable
            ),
        ):
            with pytest.raises(
                ClientError, match=r"InvalidParameterCombination.*not supported by global databases: db.t4g.medium"
            ):
                change()
    alone = f"{name}-alone"
    east.rds.create_db_cluster(**writer_arguments(east, alone))
    east.add_instance(alone, 1, **burstable)
    with pytest.raises(ClientError, match=r"not supported by global databases: db.t4g.medium"):
        east.rds.create_global_cluster(
            GlobalClusterIdentifier=f"{name}-2", SourceDBClusterIdentifier=east.cluster(alone)["DBClusterArn"]
        )
