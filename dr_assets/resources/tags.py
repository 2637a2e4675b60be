"""Tags in AWS's several spellings, and the RDS calls that read and write them: shared by the kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dr_assets.core.model import Call, Drift, Observed, Reads, Target


def from_tag_list(tags: Iterable[Mapping[str, str]] | None, key: str = "Key", value: str = "Value") -> dict[str, str]:
    """AWS's list of {Key, Value} as a dict, without the `aws:` tags that AWS itself adds."""
    return {tag[key]: tag.get(value, "") for tag in tags or () if not tag[key].startswith("aws:")}


def to_tag_list(tags: Mapping[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """A dict as AWS's list of {Key, Value}, sorted by key."""
    return [{key: name, value: tags[name]} for name in sorted(tags)]


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without the `aws:` ones."""
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}


def drifted_tags(desired: Mapping[str, Any], drift: Sequence[Drift]) -> dict[str, str]:
    """The desired values of just those tags that differ."""
    return {item.field[5:]: desired["Tags"][item.field[5:]] for item in drift if item.field.startswith("Tags.")}


def changed_tags(
    target: Target, drift: Sequence[Drift], key: str = "Key", value: str = "Value"
) -> list[dict[str, str]]:
    """`drifted_tags` as AWS's list."""
    return to_tag_list(drifted_tags(target.desired, drift), key, value)


def rds_tags(reads: Reads, target: Target, arn: str) -> dict[str, str]:
    """The tags of a resource whose description does not hold them. RDS takes them by ARN."""
    return from_tag_list(reads.call("rds", "list_tags_for_resource", target.region, ResourceName=arn)["TagList"])


def tag_rds(target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
    """The call that corrects the drifted tags of an RDS resource."""
    return Call("rds", "add_tags_to_resource", {"ResourceName": observed["Arn"], "Tags": changed_tags(target, drift)})
