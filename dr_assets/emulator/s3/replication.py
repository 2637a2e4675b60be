"""S3 replication of objects: copies under an enabled rule, and the replication status at both ends.

Source: S3 User Guide,
"What does Amazon S3 replicate?", "Getting replication status information" and "Setting up permissions for live replication".
Copies are made before the next request after the settle time; a copy that cannot reach its region stays PENDING and is retried,
one that is not permitted or has no destination is FAILED for good. Replicas, objects older than the rule, and SSE-KMS objects that
the rule does not select are not replicated and have no status ("Replicating encrypted objects").
"""

import copy
import tempfile
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

from dr_assets.emulator import dark_regions
from dr_assets.emulator.clock import clock
from dr_assets.emulator.permissions.service_calls import may_assume, role_may
from dr_assets.emulator.s3 import encryption

Status = Literal["PENDING", "COMPLETED", "FAILED", "REPLICA"]
HEADER = "x-amz-replication-status"


@dataclass
class Task:
    """One version, or delete marker, on its way."""

    backend: Any
    bucket: str
    name: str
    item: Any
    marker: bool
    begun: float = field(default_factory=clock.now)
    # Destination bucket -> status; None until the rules have been evaluated.
    ends: dict[str, Status] | None = None

    @property
    def due(self) -> bool:
        """Whether the settle time, as it is now, is over."""
        return clock.now() >= self.begun + clock.settle_seconds


def status(item: Any) -> Status | None:
    """`ReplicationStatus` of an object; `None` for one that no rule is about."""
    return getattr(item, "dr_replication_status", None)


class Replicator:
    """Everything that is on its way, of every account."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def reset(self) -> None:
        """Drop every task."""
        self._tasks = []

    def enqueue(self, backend: Any, bucket: str, item: Any, marker: bool = False) -> None:
        """An object was put or its tags changed, or a delete marker was set."""
        if status(item) == "REPLICA" or not backend.get_bucket_replication(bucket):
            return
        # Tags arrive after the object: whether a rule is about it is decided when the request is over.
        if not any(task.item is item and task.ends is None for task in self._tasks):
            self._tasks.append(Task(backend, bucket, item.name, item, marker))

    def pass_time(self, now: float = 0.0, everything: bool = False) -> None:
        """Go on with every task that can go on; the settle time decides which, not the arguments."""
        if self._tasks:
            self._tasks = [task for task in self._tasks if not self._done(task)]

    def _done(self, task: Task) -> bool:
        source = task.backend.buckets.get(task.bucket)
        if source is None or not any(each is task.item for each in source.keys.getlist(task.name, [])):
            return True  # deleted meanwhile
        configuration = getattr(source, "replication", None)
        if not configuration:
            return True
        tags = task.backend.tagger.get_tag_dict_for_resource(task.item.arn) if not task.marker else {}
        rules = matching(configuration["Rule"], task.name, tags, task.item, task.marker)
        if task.ends is None:
            task.ends = dict.fromkeys(rules, "PENDING")
        else:
            task.ends = {end: state for end, state in task.ends.items() if end in rules}
        if not task.ends:
            return True
        if task.due and not dark_regions.is_dark(source.region_name):
            for end in [end for end, state in task.ends.items() if state == "PENDING"]:
                task.ends[end] = self._copy(task, end, rules[end], str(configuration.get("Role", "")))
        states = set(task.ends.values())
        whole: Status = "FAILED" if "FAILED" in states else "PENDING" if "PENDING" in states else "COMPLETED"
        if not task.marker:  # AWS keeps no status of delete markers
            task.item.dr_replication_status = whole
        return "PENDING" not in states

    def _copy(self, task: Task, end: str, rule: dict[str, Any], role: str) -> Status:
        target = task.backend.buckets.get(end)
        if target is None:
            return "FAILED"
        if dark_regions.is_dark(target.region_name):
            return "PENDING"
        if not target.is_versioned or not _may_copy(role, task.bucket, end, task.name, task.marker):
            return "FAILED"
        there = target.keys.getlist(task.name, [])
        same = next((each for each in there if each.version_id == task.item.version_id), None)
        key = None
        if _kms(task.item) and not task.marker:
            key = encryption.replica_key(role, task.backend.buckets[task.bucket], target, task.item, rule)
            if key is None:
                return "FAILED"
        if same is None:
            same = _replica_of_marker(task, there) if task.marker else _replica(task, target, rule)
            if key is not None:
                same.kms_key_id = key
                same.bucket_key_enabled = str(encryption.replica_has_bucket_key(target, task.item)).lower()
            # Versions stand in the order in which they were made, whenever they arrive.
            target.keys.setlist(task.name, sorted([*there, same], key=lambda each: each.last_modified))
        if not task.marker:
            tagger = task.backend.tagger
            tagger.delete_all_tags_for_resource(same.arn)
            if _may(
                role, "s3:GetObjectVersionTagging", f"{task.bucket}/{task.name}"
            ):  # else the object goes without them
                tagger.copy_tags(task.item.arn, same.arn)
        return "COMPLETED"


def _replica(task: Task, target: Any, rule: dict[str, Any]) -> Any:
    """The object with a body of its own: moto ends that of a version when the version is deleted."""
    replica = copy.copy(task.item)
    replica.dr_replication_status = "REPLICA"
    replica.lock, replica.multipart = threading.Lock(), None
    replica._value_buffer = tempfile.SpooledTemporaryFile(replica._max_buffer_size)  # noqa: SIM115 (the key closes it)
    replica.value = task.item.value
    replica.bucket_name, replica.region_name = target.name, target.region_name
    replica._metadata = copy.copy(task.item._metadata)
    replica.set_storage_class(rule["Destination"].get("StorageClass") or task.item.storage_class)
    return replica


def _replica_of_marker(task: Task, there: list[Any]) -> Any:
    replica = copy.copy(task.item)
    replica.dr_replication_status = "REPLICA"
    replica.key = there[-1] if there else task.item.key
    return replica


def matching(
    rules: list[dict[str, Any]], name: str, tags: dict[str, str], item: Any, marker: bool
) -> dict[str, dict[str, Any]]:
    """Destination bucket -> the enabled rule with the highest priority that is about this object."""
    found: dict[str, dict[str, Any]] = {}
    for rule in sorted(rules, key=lambda each: int(each.get("Priority") or 1)):
        if rule.get("Status") == "Enabled" and _about(rule, name, tags, item, marker):
            found[rule["Destination"]["Bucket"].rsplit(":", 1)[-1]] = rule
    return found


def _about(rule: dict[str, Any], name: str, tags: dict[str, str], item: Any, marker: bool) -> bool:
    first_version = "Filter" not in rule
    condition = rule.get("Filter") or {}
    both = condition.get("And") or condition
    wanted = both.get("Tag") or []
    wanted = [wanted] if isinstance(wanted, dict) else wanted
    prefix = (rule.get("Prefix") if first_version else both.get("Prefix")) or ""
    if not name.startswith(prefix):
        return False
    if marker:
        # Rules without a filter are of the first version, which always copies delete markers; tags rule them out.
        enabled = (rule.get("DeleteMarkerReplication") or {}).get("Status") == "Enabled"
        return first_version or (enabled and not wanted)
    if _kms(item):
        selected = (rule.get("SourceSelectionCriteria") or {}).get("SseKmsEncryptedObjects") or {}
        if selected.get("Status") != "Enabled":
            return False
    return all(tags.get(tag["Key"]) == (tag.get("Value") or "") for tag in wanted)


def _kms(item: Any) -> bool:
    return str(getattr(item, "encryption", None)).startswith("aws:kms")


def _may_copy(role: str, source: str, target: str, name: str, marker: bool) -> bool:
    """Whether S3 may assume the role for the bucket, and the role may take an object, or its delete marker, to the other."""
    return (
        may_assume("s3.amazonaws.com", role, f"arn:aws:s3:::{source}") is None
        and _may(role, "s3:GetReplicationConfiguration", source)
        and _may(role, "s3:ListBucket", source)
        and _may(role, "s3:GetObjectVersionForReplication", f"{source}/{name}")
        # s3:ReplicateTags is not needed: s3:ReplicateObject implies it.
        and _may(role, "s3:ReplicateDelete" if marker else "s3:ReplicateObject", f"{target}/{name}")
    )


def _may(role: str, action: str, place: str) -> bool:
    return role_may(role, encryption.SESSION, action, f"arn:aws:s3:::{place}")


replicator = Replicator()
