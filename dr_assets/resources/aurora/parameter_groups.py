"""RDS parameter groups, for clusters and for instances: one class, two sets of API names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from dr_assets.core.model import Call, Drift, Kind, Observed, Reads, Target, changed_fields, permit
from dr_assets.errors import RefusedError
from dr_assets.resources.tags import rds_tags, tag_rds, to_tag_list

# Static parameters take effect at the next restart, and RDS refuses "immediate" for them. RDS shows which are static
# only for those that are set already; these are the static ones of ours.
STATIC = frozenset({"shared_preload_libraries"})
# RDS takes at most so many parameters in one call.
MOST = 20
# "After you create a DB cluster parameter group, wait at least 5 minutes before creating a DB cluster that uses that DB cluster
# parameter group" (Aurora user guide, "Creating a DB cluster parameter group"; RDS API, CreateDBClusterParameterGroup).
SETTLE_VARIABLE, SETTLE_SECONDS = "DR_PARAMETER_GROUP_SECONDS", 300.0


class _ParameterGroup(Kind):
    """identity: Parameters (the names that the stack sets).

    `Parameters`: those set by a user (Source=user) and those that the stack names, name -> value as text. A parameter set to its
    family's default keeps Source=system, as `shared_preload_libraries=pg_stat_statements` does (terraform-provider-aws#23335,
    #12742). Reading all sources would take a page for every 100 parameters. `Static`: which of them need a restart.
    """

    compute_kinds = ("rds", "postgres")
    immutable = frozenset({"DBParameterGroupFamily"})
    parity = ("Parameters", "DBParameterGroupFamily")
    # RDS answers the same for both types of group, with and without "Fault".
    absent_codes = ("DBParameterGroupNotFound", "DBParameterGroupNotFoundFault", "DBClusterParameterGroupNotFoundFault")
    least_reads = (3, 0)  # describe, parameters, tags
    console_url = "https://{region}.console.aws.amazon.com/rds/home?region={region}#parameter-groups:"
    _thing: str  # as in boto3's operations: db_cluster_parameter or db_parameter
    _api: str  # as in API fields: DBCluster or DB

    def _name(self, target: Target) -> dict[str, str]:
        return {f"{self._api}ParameterGroupName": target.name}

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        answer = reads.call("rds", f"describe_{self._thing}_groups", target.region, **self._name(target))
        group = answer[f"{self._api}ParameterGroups"][0]
        arn = group[f"{self._api}ParameterGroupArn"]
        own = reads.pages(
            "rds", f"describe_{self._thing}s", target.region, "Parameters", **self._name(target), Source="user"
        )
        own = list(own)
        if others := sorted({*target.identity["Parameters"]} - {p["ParameterName"] for p in own}):
            filters = [{"Name": "parameter-name", "Values": others}]
            named = reads.pages(
                "rds", f"describe_{self._thing}s", target.region, "Parameters", **self._name(target), Filters=filters
            )
            own += [parameter for parameter in named if parameter["ParameterName"] in others]
        tags = rds_tags(reads, target, arn)
        return {
            "Name": target.name,
            "Arn": arn,
            "DBParameterGroupFamily": group["DBParameterGroupFamily"],
            "Parameters": {p["ParameterName"]: p["ParameterValue"] for p in own if p.get("ParameterValue") is not None},
            "Static": sorted(p["ParameterName"] for p in own if p.get("ApplyType") == "static"),
            "Tags": tags,
        }

    def create(self, target: Target) -> Call:
        params = {
            **self._name(target),
            "DBParameterGroupFamily": target.desired["DBParameterGroupFamily"],
            "Description": target.settings["Description"],
            "Tags": to_tag_list(target.desired["Tags"]),
        }
        return Call("rds", f"create_{self._thing}_group", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        if "Parameters" not in changed_fields(drift):
            return tag_rds(target, observed, drift)
        want, have = target.desired["Parameters"], observed["Parameters"]
        static = STATIC.union(observed["Static"])
        missing = [_parameter(name, static, value) for name, value in sorted(want.items()) if have.get(name) != value]
        if missing:
            return Call("rds", f"modify_{self._thing}_group", {**self._name(target), "Parameters": missing[:MOST]})
        surplus = [_parameter(name, static) for name in sorted(set(have) - set(want))]
        params = {**self._name(target), "Parameters": surplus[:MOST], "ResetAllParameters": False}
        return Call("rds", f"reset_{self._thing}_group", params)

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("rds", f"delete_{self._thing}_group", self._name(target))


def _parameter(name: str, static: frozenset[str], value: str | None = None) -> dict[str, Any]:
    parameter = {"ParameterName": name, "ApplyMethod": "pending-reboot" if name in static else "immediate"}
    return parameter if value is None else {**parameter, "ParameterValue": value}


class ClusterParameterGroup(_ParameterGroup):
    name = "rds.cluster_parameter_group"
    label = "cluster parameter group"
    _thing, _api = "db_cluster_parameter", "DBCluster"
    resource_arn = "rds:{region}:{account}:cluster-pg:{name}"
    read_actions = permit(
        "rds:DescribeDBClusterParameterGroups", "rds:DescribeDBClusterParameters", "rds:ListTagsForResource"
    )
    write_actions = permit(
        "rds:CreateDBClusterParameterGroup",
        "rds:ModifyDBClusterParameterGroup",
        "rds:ResetDBClusterParameterGroup",
        "rds:DeleteDBClusterParameterGroup",
        "rds:AddTagsToResource",
    )
    least_reads = (4, 0)  # describe, parameters set by a user, one that is at its default, tags
    terraform = ("aws_rds_cluster_parameter_group",)

    def settle_seconds(self) -> float:
        value = os.environ.get(SETTLE_VARIABLE, "")
        try:
            return float(value) if value else SETTLE_SECONDS
        except ValueError as error:
            raise RefusedError(f"{SETTLE_VARIABLE} must be a number of seconds, not {value!r}.") from error


class InstanceParameterGroup(_ParameterGroup):
    name = "rds.instance_parameter_group"
    label = "instance parameter group"
    _thing, _api = "db_parameter", "DB"
    resource_arn = "rds:{region}:{account}:pg:{name}"
    read_actions = permit("rds:DescribeDBParameterGroups", "rds:DescribeDBParameters", "rds:ListTagsForResource")
    write_actions = permit(
        "rds:CreateDBParameterGroup",
        "rds:ModifyDBParameterGroup",
        "rds:ResetDBParameterGroup",
        "rds:DeleteDBParameterGroup",
        "rds:AddTagsToResource",
    )
    terraform = ("aws_db_parameter_group",)


KINDS: tuple[Kind, ...] = (ClusterParameterGroup(), InstanceParameterGroup())
