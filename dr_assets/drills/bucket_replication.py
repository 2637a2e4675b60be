"""Whether the two export buckets hold the same: every page of both listings, and the replication status of what differs.

A version that S3 replicated has the same key and version id at both sites (S3 user guide, "What does Amazon S3 replicate?"). One
that no rule selected has no ReplicationStatus at its source: that is not replicated, and stays so ("Getting replication status
information"). Calls: one for each 1,000 versions of each bucket, both at the same time and for LISTING_SECONDS at most, and at most
STATUS_CALLS for statuses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from dr_assets import utc
from dr_assets.core.freshness import is_future
from dr_assets.drills.aws_view import AwsView
from dr_assets.errors import AwsCallError, DrError
from dr_assets.resources.backup.rows import EXPIRE_DAYS
from dr_assets.resources.row import other
from dr_assets.stack import SITES, Site

# S3 replicates most objects within 15 minutes (user guide, "Using S3 Replication Time Control").
GRACE = timedelta(minutes=15)
STATUS_CALLS = 20
LISTING_SECONDS = 60.0
_NAMED = 5


@dataclass(frozen=True)
class Version:
    """One version of an object, or a delete marker."""

    key: str
    id: str
    at: datetime
    latest: bool
    marker: bool = False


def bucket_replicated(view: AwsView) -> str | None:
    """Why the export buckets do not hold the same, or None. What has been on its way for less than GRACE is no reason.

    Raises DrError where the listings take longer than LISTING_SECONDS, UnansweredError, AwsCallError.
    """
    deadline = time.monotonic() + LISTING_SECONDS
    with ThreadPoolExecutor(len(SITES), thread_name_prefix="exports") as pool:
        held = dict(zip(SITES, pool.map(lambda site: list(_versions(view, site, deadline)), SITES), strict=True))
    now = utc.now()
    budget = STATUS_CALLS
    problems: list[str] = []
    for site in (view.from_site, view.to_site):
        # Before versioning is enabled every object has the version id `null`: equal ones prove nothing (S3 user guide, "How S3
        # Versioning works").
        there = {(item.key, item.id) for item in held[other(site)] if item.id != "null"}
        missing = [item for item in held[site] if item.latest and not item.marker and (item.key, item.id) not in there]
        problems += _not_deleted(site, held[site], held[other(site)], now)
        # Newest first: the older ones have no excuse, whatever their status.
        for item in sorted(missing, key=lambda item: item.at, reverse=True):
            status = _status(view, site, item) if budget else "PENDING"
            budget = max(0, budget - 1)
            # "gone": deleted meanwhile. REPLICA: its original was deleted for good.
            if status not in ("gone", "REPLICA") and not (status == "PENDING" and _is_young(item.at, now)):
                problems.append(f"{item.key} is at the {site} site only ({_words(status)})")
    newest = sorted(
        (item for item in held[view.from_site] if item.latest and not item.marker),
        key=lambda item: item.at,
        reverse=True,
    )
    problems += [
        f"{item.key} of the {view.from_site} site is not up to date at the other (replication failed)"
        for item in newest[:budget]
        if _status(view, view.from_site, item) == "FAILED"
    ]
    if not problems:
        return None
    more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
    return (
        f"exports are not replicated: {'; '.join(problems[:_NAMED])}{more}. S3 does not catch up by itself: copy each object "
        "onto itself at its site, or run an S3 Batch Replication job"
    )


def _is_young(at: datetime, now: datetime) -> bool:
    """Whether it may still be on its way. One of the future is not: it would be excused for ever."""
    return now - GRACE < at and not is_future(at, now)


def _not_deleted(site: Site, here: Sequence[Version], there: Sequence[Version], now: datetime) -> Iterator[str]:
    """Objects that were deleted at this site and are still current at the other. Expiration by lifecycle sets a marker of its own at
    each site, on its own day: the marker of an object of that age is no deletion that S3 would replicate ("Replicating delete markers")."""
    current = {item.key: item for item in there if item.latest and not item.marker}
    for marker in here:
        left = current.get(marker.key) if marker.latest and marker.marker else None
        if (
            left
            and left.at <= marker.at
            and not _is_young(marker.at, now)
            and marker.at - left.at < timedelta(days=EXPIRE_DAYS)
        ):
            yield f"{marker.key} was deleted at the {site} site only"


def _versions(view: AwsView, site: Site, deadline: float) -> Iterator[Version]:
    position: dict[str, str] = {}
    count = 0
    while True:
        if time.monotonic() >= deadline:
            raise DrError(
                f"the export buckets were not compared within {LISTING_SECONDS:.0f} s: {count} versions of "
                f"{_bucket(view, site)} were listed, and there are more"
            )
        page = view.call("s3", "list_object_versions", view.stack.region(site), Bucket=_bucket(view, site), **position)
        count += len(page.get("Versions", ()))
        for kind in ("Versions", "DeleteMarkers"):
            for item in page.get(kind, ()):
                latest, marker = bool(item["IsLatest"]), kind == "DeleteMarkers"
                yield Version(item["Key"], item["VersionId"], item["LastModified"], latest, marker)
        if not page.get("IsTruncated"):
            return
        position = {"KeyMarker": page["NextKeyMarker"]}
        if page.get("NextVersionIdMarker"):
            position["VersionIdMarker"] = page["NextVersionIdMarker"]


def _bucket(view: AwsView, site: Site) -> str:
    return str(view.state.field(f"{site}/backup/bucket", "Name"))


def _status(view: AwsView, site: Site, item: Version) -> str | None:
    """`ReplicationStatus` of the latest version of a key; None: no rule selected it; "gone": it was deleted meanwhile."""
    try:
        head = view.call("s3", "head_object", view.stack.region(site), Bucket=_bucket(view, site), Key=item.key)
    except AwsCallError as error:
        if "404" in str(error):
            return "gone"
        raise
    found = head.get("ReplicationStatus")
    return "COMPLETED" if found == "COMPLETE" else found  # S3's API spells it both ways


def _words(status: str | None) -> str:
    return {
        None: "no rule selected it",
        "PENDING": f"for more than {GRACE.seconds // 60} minutes",
        "FAILED": "replication failed",
    }.get(status, "its replica was deleted")
