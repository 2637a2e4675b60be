"""What EC2's resources share: found by their Name tag, tagged by one call, created with their tags, deleted by id.

EC2 has no names. The Name tag is set in the same call that creates, so a crash leaves nothing behind that a rerun would not
find. What lost its tags later is found through the site's DB subnet group, which has a name: without that a second one would be
made beside it. identity: SubnetGroup, where a kind can be found so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from dr_assets.core.model import Call, Drift, Kind, Observed, Reads, Target, error_code
from dr_assets.resources.tags import changed_tags, from_tag_list, to_tag_list


def subnet_group(reads: Reads, region: str, name: str) -> Mapping[str, Any] | None:
    """The description of a DB subnet group, which names its VPC and subnets; None where there is none."""
    try:
        return next(
            iter(reads.call("rds", "describe_db_subnet_groups", region, DBSubnetGroupName=name)["DBSubnetGroups"]), None
        )
    except ClientError as error:
        if error_code(error) == "DBSubnetGroupNotFoundFault":
            return None
        raise


class Ec2Kind(Kind):
    """`import_field` is the id, both as it is read and as a parameter (VpcId, SubnetId …)."""

    compute_kinds = ("vpc",)
    type: ClassVar[str]  # as tag specifications call it: vpc, route-table …
    result: ClassVar[str]  # as the describe call's answer calls it: Vpcs, RouteTables …

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        region, operation = batch[0].region, f"describe_{self.type.replace('-', '_')}s"
        filters = [{"Name": "tag:Name", "Values": sorted({target.name for target in batch})}]
        found: dict[str, Mapping[str, Any]] = {}
        for item in reads.pages("ec2", operation, region, self.result, Filters=filters):
            if self.exists(item):
                found.setdefault(from_tag_list(item.get("Tags")).get("Name", ""), item)
        return {
            t.key: self.shape(reads, region, found[t.name]) if t.name in found else self.without_name(reads, t)
            for t in batch
        }

    def without_name(self, reads: Reads, target: Target) -> Observed | None:
        """The resource whose Name tag is gone, `Proven` ours; None where nothing proves one."""
        group = subnet_group(reads, target.region, name) if (name := target.identity.get("SubnetGroup")) else None
        filters = self.proof(reads, target, group) if group else None
        if not filters:
            return None
        listed = [{"Name": name, "Values": values} for name, values in filters.items()]
        operation = f"describe_{self.type.replace('-', '_')}s"
        items = reads.pages("ec2", operation, target.region, self.result, Filters=listed)
        found = next((item for item in items if self.exists(item)), None)
        return {**self.shape(reads, target.region, found), "Proven": True} if found else None

    def proof(self, reads: Reads, target: Target, group: Mapping[str, Any]) -> Mapping[str, list[str]] | None:
        """Filters that only our own resource passes, given the description of the site's DB subnet group."""
        return None

    def exists(self, item: Mapping[str, Any]) -> bool:
        return True

    def shape(self, reads: Reads, region: str, item: Mapping[str, Any]) -> Observed:
        """One item of the answer, in the shape of `desired`."""
        raise NotImplementedError

    def new(self, target: Target, **params: Any) -> Call:
        tags = [{"ResourceType": self.type, "Tags": to_tag_list(target.desired["Tags"])}]
        return Call("ec2", f"create_{self.type.replace('-', '_')}", {**params, "TagSpecifications": tags})

    def tag(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        return Call(
            "ec2", "create_tags", {"Resources": [observed[self.import_field]], "Tags": changed_tags(target, drift)}
        )

    def delete(self, target: Target, observed: Observed) -> Call:
        params = {self.import_field: observed[self.import_field]}
        return Call("ec2", f"delete_{self.type.replace('-', '_')}", params)
