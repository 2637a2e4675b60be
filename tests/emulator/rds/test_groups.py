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

        set_by_user = wanted[1:]  # the first is at its family's default: Source=system
        assert sorted(user_parameters()) == sorted(set_by_user)
        modify(
            **group,
            Parameters=[{"ParameterName": "log_statement", "ParameterValue": "ddl", "ApplyMethod": "immediate"}],
        )
        assert ("log_statement", "ddl", "immediate", "dynamic") in user_parameters()
        with pytest.raises(ClientError) as caught:
            modify(**group, Parameters=[{**parameters[0], "ApplyMethod": "immediate"}])
        assert code_of(caught) == "InvalidParameterCombination"
        reset(**group, Parameters=[{"ParameterName": "log_statement", "ApplyMethod": "immediate"}])
        assert sorted(user_parameters()) == sorted(w for w in set_by_user if w[0] != "log_statement")
        reset(**group, ResetAllParameters=True)
        assert user_parameters() == []
        arn_kind = "cluster-pg" if kind == "db_cluster" else "pg"
        check_tags(rds, f"arn:aws:rds:{PRIMARY}:{ACCOUNT}:{arn_kind}:{name}")
        getattr(rds, f"delete_{prefix}_parameter_group")(**group)
        for call in (groups, describe):
            with pytest.raises(ClientError) as caught:
                call(**group)
            assert code_of(caught) in ("DBParameterGroupNotFound", "DBParameterGroupNotFoundFault")


def parameters(rds: Any, group: str, **more: Any) -> dict[str, dict[str, Any]]:
    pages = rds.get_paginator("describe_db_cluster_parameters").paginate(DBClusterParameterGroupName=group, **more)
    return {item["ParameterName"]: item for page in pages for item in page["Parameters"]}


def named(*names: str) -> list[dict[str, Any]]:
    return [{"Name": "parameter-name", "Values": list(names)}]


def test_aws_02_a_value_that_is_the_default_keeps_its_source(east: Site, name: str) -> None:
    """terraform-provider-aws#23335, #12742; the filter: RDS API, DescribeDBClusterParameters."""
    rds, group = east.rds, {"DBClusterParameterGroupName": name}
    rds.create_db_cluster_parameter_group(**group, DBParameterGroupFamily="aurora-postgresql14", Description="d")
    default = {"ParameterName": "shared_preload_libraries", "ParameterValue": "pg_stat_statements"}
    rds.modify_db_cluster_parameter_group(**group, Parameters=[{**default, "ApplyMethod": "pending-reboot"}])
    assert parameters(rds, name, Source="user") == {}
    found = parameters(rds, name, Filters=named("shared_preload_libraries", "log_statement"))
    assert {n: (p["Source"], p.get("ParameterValue")) for n, p in found.items()} == {
        "shared_preload_libraries": ("system", "pg_stat_statements"),
        "log_statement": ("engine-default", None),
    }
    assert set(parameters(rds, name, Source="system")) < set(parameters(rds, name))
    assert len(parameters(rds, name)) > 100 and "Marker" in rds.describe_db_cluster_parameters(**group)
    other = {**default, "ParameterValue": "pg_stat_statements,auto_explain"}
    rds.modify_db_cluster_parameter_group(**group, Parameters=[{**other, "ApplyMethod": "pending-reboot"}])
    assert list(parameters(rds, name, Source="user")) == ["shared_preload_libraries"]
    with pytest.raises(ClientError) as caught:
        parameters(rds, name, Filters=[{"Name": "source", "Values": ["user"]}])
    assert code_of(caught) == "InvalidParameterValue"
    rds.delete_db_cluster_parameter_group(**group)


@pytest.mark.parametrize("wrong", ["a--b", "ends-", "1st", "under_score", "x" * 64])
def test_aws_22_a_name_that_rds_does_not_take_is_refused(east: Site, name: str, wrong: str) -> None:
    """Letters, digits and hyphens, none doubled or last (RDS API, CreateDBCluster; the text: anomalyco/sst#1702)."""
    rds = east.rds
    east.rds.create_db_cluster(**writer_arguments(east, name))
    instance = {"DBClusterIdentifier": name, "Engine": "aurora-postgresql", "DBInstanceClass": "db.r6g.large"}
    family = {"DBParameterGroupFamily": "aurora-postgresql14", "Description": "d"}
    calls: list[tuple[Any, str, dict[str, Any]]] = [
        (rds.create_db_cluster, "DBClusterIdentifier", writer_arguments(east, name)),
        (rds.create_db_instance, "DBInstanceIdentifier", instance),
        (rds.create_global_cluster, "GlobalClusterIdentifier", ENGINE),
    ]
    if len(wrong) < 64:  # parameter groups: 255
        calls.append((rds.create_db_cluster_parameter_group, "DBClusterParameterGroupName", family))
        calls.append((rds.create_db_parameter_group, "DBParameterGroupName", family))
    for call, parameter, arguments in calls:
        with pytest.raises(ClientError) as caught:
            call(**{**arguments, parameter: wrong})
        assert code_of(caught) == "InvalidParameterValue"
        assert f"The parameter {parameter} is not a valid identifier" in str(caught.value)


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
