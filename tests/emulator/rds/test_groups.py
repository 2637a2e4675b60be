"""RDS parameter groups, subnet groups, event subscriptions and tags."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from ..conftest import PRIMARY, SECONDARY, Clients
from .aurora import ACCOUNT, ENGINE, TAGS, Site, by_key, check_tags, code_of, writer_arguments


def test_parameter_groups(east: Site, name: str) -> None:
    rds = east.rds
    wanted = [
        ("shared_preload_libraries", "pg_stat_statements", "pending-reboot", "static"),
        ("pg_stat_statements.track", "ALL", "immediate", "dynamic"),
        ("log_statement", "all", "immediate", "dynamic"),
        ("log_min_duration_statement", "1000", "immediate", "dynamic"),
        ("rds.force_ssl", "1", "immediate", "dynamic"),
    ]
    parameters = [{"ParameterName": n, "ParameterValue": v, "ApplyMethod": m} for n, v, m, _ in wanted]
    for kind, group_key in (("db_cluster", "DBClusterParameterGroupName"), ("db", "DBParameterGroupName")):
        prefix = "db_cluster" if kind == "db_cluster" else "db"
        create = getattr(rds, f"create_{prefix}_parameter_group")
        modify = getattr(rds, f"modify_{prefix}_parameter_group")
        reset = getattr(rds, f"reset_{prefix}_parameter_group")
        describe = getattr(rds, f"describe_{prefix}_parameters")
        groups = getattr(rds, f"describe_{prefix}_parameter_groups")
        group = {group_key: name}
        create(**group, DBParameterGroupFamily="aurora-postgresql14", Description="why", Tags=TAGS)
        with pytest.raises(ClientError) as caught:
            create(**group, DBParameterGroupFamily="aurora-postgresql14", Description="why")
        assert code_of(caught) in ("DBParameterGroupAlreadyExists", "DBParameterGroupAlreadyExistsFault")
        shown = next(v for k, v in groups(**group).items() if k.endswith("ParameterGroups"))[0]
        assert (shown["Description"], shown["DBParameterGroupFamily"]) == ("why", "aurora-postgresql14")
        modify(**group, Parameters=parameters)

        def user_parameters(describe: Any = describe, group: dict[str, str] = group) -> list[tuple[str, str, str, str]]:
            found = describe(**group, Source="user")["Parameters"]
            return [(p["ParameterName"], p["ParameterValue"], p["ApplyMethod"], p["ApplyType"]) for p in found]

        assert sorted(user_parameters()) == sorted(wanted)
        modify(
            **group,
            Parameters=[{"ParameterName": "log_statement", "ParameterValue": "ddl", "ApplyMethod": "immediate"}],
        )
        assert ("log_statement", "ddl", "immediate", "dynamic") in user_parameters()
        with pytest.raises(ClientError) as caught:
            modify(**group, Parameters=[{**parameters[0], "ApplyMethod": "immediate"}])
        assert code_of(caught) == "InvalidParameterCombination"
        reset(**group, Parameters=[{"ParameterName": "log_statement", "ApplyMethod": "immediate"}])
        assert sorted(user_parameters()) == sorted(w for w in wanted if w[0] != "log_statement")
        reset(**group, ResetAllParameters=True)
        assert user_parameters() == []
        arn_kind = "cluster-pg" if kind == "db_cluster" else "pg"
        check_tags(rds, f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:{arn_kind}:{name}")
        getattr(rds, f"delete_{prefix}_parameter_group")(**group)
        for call in (groups, describe):
            with pytest.raises(ClientError) as caught:
                call(**group)
            assert code_of(caught) in ("DBParameterGroupNotFound", "DBParameterGroupNotFoundFault")


def test_subnet_group(client: Clients, east: Site, name: str) -> None:
    rds = east.rds
    current = rds.describe_db_subnet_groups(DBSubnetGroupName=east.subnet_group)["DBSubnetGroups"][0]
    subnets = [item["SubnetIdentifier"] for item in current["Subnets"]]
    rds.create_db_subnet_group(DBSubnetGroupName=name, DBSubnetGroupDescription="d", SubnetIds=subnets, Tags=TAGS)
    with pytest.raises(ClientError) as caught:
        rds.create_db_subnet_group(DBSubnetGroupName=name, DBSubnetGroupDescription="d", SubnetIds=subnets)
    assert code_of(caught) == "DBSubnetGroupAlreadyExists"
    rds.modify_db_subnet_group(DBSubnetGroupName=name, DBSubnetGroupDescription="e", SubnetIds=subnets[:2])
    shown = rds.describe_db_subnet_groups(DBSubnetGroupName=name)["DBSubnetGroups"][0]
    assert sorted(item["SubnetIdentifier"] for item in shown["Subnets"]) == sorted(subnets[:2])
    assert shown["DBSubnetGroupDescription"] == "e"
    with pytest.raises(ClientError) as caught:
        rds.modify_db_subnet_group(DBSubnetGroupName=name, SubnetIds=subnets[:1])
    assert code_of(caught) == "DBSubnetGroupDoesNotCoverEnoughAZs"
    check_tags(rds, f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:subgrp:{name}")
    rds.delete_db_subnet_group(DBSubnetGroupName=name)
    with pytest.raises(ClientError) as caught:
        rds.describe_db_subnet_groups(DBSubnetGroupName=name)
    assert code_of(caught) == "DBSubnetGroupNotFoundFault"


def test_event_subscription(client: Clients, east: Site, name: str) -> None:
    rds = east.rds
    topic = client("sns").create_topic(Name=name)["TopicArn"]
    other = client("sns").create_topic(Name=name + "-2")["TopicArn"]
    categories = ["failover", "failure", "notification", "maintenance", "global-failover"]
    wanted = {
        "SubscriptionName": name,
        "SnsTopicArn": topic,
        "SourceType": "db-cluster",
        "SourceIds": ["c1"],
        "EventCategories": categories,
        "Enabled": True,
    }
    with pytest.raises(ClientError) as caught:
        rds.create_event_subscription(**{**wanted, "SnsTopicArn": topic + "x"})
    assert code_of(caught) == "SNSTopicArnNotFound"
    rds.create_event_subscription(**wanted, Tags=TAGS)
    with pytest.raises(ClientError) as caught:
        rds.create_event_subscription(**wanted)
    assert code_of(caught) == "SubscriptionAlreadyExist"

    def shown() -> dict[str, Any]:
        found = rds.describe_event_subscriptions(SubscriptionName=name)["EventSubscriptionsList"]
        item: dict[str, Any] = found[0]
        return item

    item = shown()
    assert (item["CustSubscriptionId"], item["SnsTopicArn"], item["SourceType"]) == (name, topic, "db-cluster")
    assert item["SourceIdsList"] == ["c1"] and sorted(item["EventCategoriesList"]) == sorted(categories)
    assert item["Enabled"] is True and item["Status"] == "active"
    assert item["EventSubscriptionArn"] == f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:es:{name}"
    assert item["CustomerAwsId"] == ACCOUNT and item["SubscriptionCreationTime"]
    check_tags(rds, item["EventSubscriptionArn"])
    rds.modify_event_subscription(SubscriptionName=name, SnsTopicArn=other, EventCategories=["failover"], Enabled=False)
    item = shown()
    assert (item["SnsTopicArn"], item["EventCategoriesList"], item["Enabled"]) == (other, ["failover"], False)
    rds.add_source_identifier_to_subscription(SubscriptionName=name, SourceIdentifier="c2")
    assert shown()["SourceIdsList"] == ["c1", "c2"]
    rds.remove_source_identifier_from_subscription(SubscriptionName=name, SourceIdentifier="c1")
    assert shown()["SourceIdsList"] == ["c2"]
    rds.delete_event_subscription(SubscriptionName=name)
    with pytest.raises(ClientError) as caught:
        rds.describe_event_subscriptions(SubscriptionName=name)
    assert code_of(caught) == "SubscriptionNotFound"


def test_tags_of_clusters_instances_and_global_clusters(client: Clients, east: Site, name: str) -> None:
    rds = east.rds
    made = rds.create_global_cluster(GlobalClusterIdentifier=name, Tags=TAGS, **ENGINE)["GlobalCluster"]
    assert by_key(made["TagList"]) == by_key(TAGS)
    check_tags(client("rds", SECONDARY), made["GlobalClusterArn"])
    rds.create_db_cluster(**writer_arguments(east, name))
    instance = east.add_instance(name, Tags=TAGS)
    check_tags(rds, east.cluster(name)["DBClusterArn"])
    check_tags(rds, east.instance(instance)["DBInstanceArn"])
    assert by_key(east.cluster(name)["TagList"]) == {"Name": "n", "Site": "x"}
    for arn in (f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:cluster:absent", f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:db:absent"):
        with pytest.raises(ClientError) as caught:
            rds.list_tags_for_resource(ResourceName=arn)
        assert code_of(caught) in ("DBClusterNotFoundFault", "DBInstanceNotFound")
