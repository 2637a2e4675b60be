"""The precondition that both export buckets hold the same, over canned listings in the shape of S3's API."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dr_assets import utc
from dr_assets.drills import bucket_replication
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.bucket_replication import GRACE, STATUS_CALLS, bucket_replicated
from dr_assets.drills.parts import Condition
from dr_assets.drills.plan import Plan
from dr_assets.drills.preconditions import PLANNED, evaluate
from dr_assets.drills.request import Prepared
from dr_assets.errors import AwsCallError, DrError
from dr_assets.stack import Stack
from tests.support.aws_double import check_params

OLD, YOUNG = GRACE * 2, timedelta(seconds=5)
PAGE = 1000  # S3 API, ListObjectVersions: at most so many in one answer


class Buckets:
    """Both buckets: key -> (version id, age, ReplicationStatus)."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.held: dict[str, dict[str, tuple[str, timedelta, str | None]]] = {"primary": {}, "secondary": {}}
        self.calls: list[str] = []

    def put(self, site: str, *keys: str, status: str | None = "COMPLETED", age: timedelta = OLD, id: str = "1") -> None:
        self.held[site] |= dict.fromkeys(keys, (id, age, status))

    def both(self, *keys: str, status: str | None = "COMPLETED") -> None:
        self.put("primary", *keys, status=status)
        self.put("secondary", *keys, status="REPLICA")

    def call(self, service: str, operation: str, region: str, **params: Any) -> Mapping[str, Any]:
        check_params(service, operation, params)
        self.calls.append(operation)
        held = self.held[params["Bucket"]]
        assert self._stack.region(cast(Any, params["Bucket"])) == region
        if operation == "head_object":
            if params["Key"] not in held:
                raise AwsCallError("s3 head_object failed: 404")
            status = held[params["Key"]][2]
            return {"ReplicationStatus": status} if status else {}
        keys = sorted(key for key in held if key > params.get("KeyMarker", ""))
        page = [
            {"Key": key, "VersionId": held[key][0], "LastModified": utc.now() - held[key][1], "IsLatest": True}
            for key in keys[:PAGE]
        ]
        if len(keys) <= PAGE:
            return {"Versions": page, "IsTruncated": False}
        return {"Versions": page, "IsTruncated": True, "NextKeyMarker": keys[PAGE - 1], "NextVersionIdMarker": "1"}

    def reason(self) -> str | None:
        field = SimpleNamespace(field=lambda key, _: key.split("/")[0])
        view = SimpleNamespace(stack=self._stack, call=self.call, state=field, from_site="primary", to_site="secondary")
        self.calls.clear()
        return bucket_replicated(cast(AwsView, view))


def test_equal_buckets_hold_whatever_was_deleted_at_the_source(stack: Stack) -> None:
    buckets = Buckets(stack)
    assert buckets.reason() is None
    buckets.both("a", "b")
    buckets.put("secondary", "its original was deleted for good", status="REPLICA")
    assert buckets.reason() is None


def test_case_a2_without_a_replication_status_an_object_is_not_replicated_however_new_it_is(stack: Stack) -> None:
    for age in (OLD, YOUNG):
        buckets = Buckets(stack)
        buckets.both("a")
        buckets.put("primary", "export/orphan", status=None, age=age)
        assert "export/orphan is at the primary site only (no rule selected it)" in str(buckets.reason())


def test_case_a2_the_other_direction_counts_too_and_so_does_an_older_version_of_the_key(stack: Stack) -> None:
    buckets = Buckets(stack)
    buckets.both("overwritten")
    buckets.put("primary", "overwritten", id="2", status=None)
    buckets.put("secondary", "written there", status=None)
    reason = str(buckets.reason())
    assert "overwritten is at the primary site only" in reason
    assert "written there is at the secondary site only" in reason


def test_case_a2_every_page_is_read_and_the_number_of_calls_is_bounded(stack: Stack) -> None:
    buckets = Buckets(stack)
    buckets.both(*(f"k{n:05}" for n in range(2500)))
    buckets.put("primary", "zz is on the third page", status=None)
    assert "zz is on the third page is at the primary site only" in str(buckets.reason())
    assert (buckets.calls.count("list_object_versions"), buckets.calls.count("head_object")) == (6, STATUS_CALLS)
    buckets.put("primary", *(f"lost{n}" for n in range(300)), status="FAILED")
    reason = str(buckets.reason())
    assert "and 296 more" in reason  # 301, five of them named
    assert buckets.calls.count("head_object") == STATUS_CALLS


def test_what_is_on_its_way_has_the_grace_and_what_failed_has_none(stack: Stack) -> None:
    buckets = Buckets(stack)
    buckets.put("primary", "new", status="PENDING", age=YOUNG)
    assert buckets.reason() is None
    buckets.put("primary", "late", status="PENDING")
    assert "late is at the primary site only (for more than 15 minutes)" in str(buckets.reason())
    for status, words in (("FAILED", "replication failed"), ("COMPLETED", "its replica was deleted")):
        buckets = Buckets(stack)
        buckets.put("primary", "x", status=status, age=YOUNG)
        assert f"x is at the primary site only ({words})" in str(buckets.reason())
    buckets = Buckets(stack)
    buckets.both("tags changed", status="FAILED")
    assert "tags changed of the primary site is not up to date" in str(buckets.reason())


def test_an_object_of_the_future_is_not_on_its_way_for_ever(stack: Stack) -> None:
    buckets = Buckets(stack)
    buckets.put("primary", "stamped ahead", status="PENDING", age=-GRACE)
    assert "stamped ahead is at the primary site only" in str(buckets.reason())


def test_both_sites_are_listed_at_the_same_time(stack: Stack) -> None:
    """Each site's first page comes only once the other's was asked for."""
    buckets, both = Buckets(stack), threading.Barrier(2)
    call = buckets.call

    def together(service: str, operation: str, region: str, **params: Any) -> Mapping[str, Any]:
        both.wait(timeout=10)
        return call(service, operation, region, **params)

    buckets.call = together  # type: ignore[method-assign] # the double of one test
    assert buckets.reason() is None


def test_listings_without_an_end_are_unknown_with_the_bucket_named(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets = Buckets(stack)
    buckets.both(*(f"k{n:05}" for n in range(2500)))
    call = buckets.call

    def slow(service: str, operation: str, region: str, **params: Any) -> Mapping[str, Any]:
        time.sleep(0.2)
        return call(service, operation, region, **params)

    buckets.call = slow  # type: ignore[method-assign] # the double of one test
    monkeypatch.setattr(bucket_replication, "LISTING_SECONDS", 0.3)
    with pytest.raises(DrError, match=r"not compared within 0 s: 2000 versions of (primary|secondary) were listed"):
        buckets.reason()


def test_between_plan_and_begin_equal_buckets_are_not_listed_again_for_a_minute(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(
        scenario="switchover",
        stack=stack.environment_suffix,
        from_site="primary",
        to_site="secondary",
        from_region="us-east-1",
        to_region="us-west-2",
    )
    same = Condition(name="bucket-replicated", passed=True, reason=None)
    lag = Condition(name="lag", passed=True, reason=None)
    prepared = Prepared(plan, (same, lag), ())
    checks: Any = {"bucket-replicated": (lambda _: "listed again", PLANNED), "lag": (lambda _: "measured", PLANNED)}
    view = cast(AwsView, SimpleNamespace(scenario="switchover"))
    assert [item.reason for item in evaluate(view, checks, prepared.reusable())] == [None, "measured"]
    old = replace(prepared, at=replace(prepared.at, monotonic=prepared.at.monotonic - 61))
    assert [item.reason for item in evaluate(view, checks, old.reusable())] == ["listed again", "measured"]
    differ = same.model_copy(update={"passed": False, "reason": "x"})
    assert Prepared(plan, (differ,), (differ,)).reusable() == {}
