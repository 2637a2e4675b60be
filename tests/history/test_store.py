"""The store of whole objects: atomic on disk and in S3, with the same behaviour."""

import copy
import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import AwsCallError, DrError, UnansweredError
from dr_assets.history.store import BucketStore, FolderStore, Store, open_store


@pytest.fixture(scope="module")
def cloud() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as aws:
        yield aws


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "history"))
    aws: EmbeddedAws = request.getfixturevalue("cloud")
    for name, value in aws.env().items():
        monkeypatch.setenv(name, value)
    aws.control.reset()
    boto3.client("s3").create_bucket(Bucket="history-l6p3z2w4")
    found = open_store("s3://history-l6p3z2w4/some/prefix")
    assert isinstance(found, BucketStore)
    return found


def test_what_is_written_is_read_and_listed(store: Store) -> None:
    store.write("a/2.json", b"two")
    store.write("a/1.json", b"one")
    store.write("b/1.json", b"other")
    store.write("a/1.json", b"uno")
    assert store.read("a/1.json") == b"uno"
    assert store.list("a/") == ["a/1.json", "a/2.json"]
    assert store.list("a/1") == ["a/1.json"]
    assert store.list("nothing/") == []
    store.delete("a/1.json")
    store.delete("a/1.json")
    assert store.list("a/") == ["a/2.json"]
    with pytest.raises(KeyError):
        store.read("a/1.json")


def test_create_never_replaces(store: Store) -> None:
    store.create("a/1.json", b"one")
    with pytest.raises(FileExistsError):
        store.create("a/1.json", b"two")
    assert store.read("a/1.json") == b"one"


def test_replace_refuses_what_another_has_changed(store: Store) -> None:
    assert store.replace("a/1", b"one", None)
    assert not store.replace("a/1", b"two", None)
    assert not store.replace("a/1", b"two", b"other")
    assert store.replace("a/1", b"two", b"one")
    store.delete("a/1")
    assert not store.replace("a/1", b"three", b"two")
    assert store.list("") == []


def test_a_bucket_that_is_not_there_is_named(store: Store) -> None:
    if isinstance(store, FolderStore):
        pytest.skip("a folder is made when it is first written to")
    with pytest.raises(AwsCallError, match=r"s3://nowhere-l6p3z2w4.*NoSuchBucket.*DR_HISTORY_URI"):
        open_store("s3://nowhere-l6p3z2w4").write("a", b"")


def test_killed_while_writing_a_reader_sees_the_old_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.write("a/x", b"old" * 1000)
    for _ in range(20):
        child = os.fork()
        if child == 0:
            while True:
                store.write("a/x", os.urandom(1) * 300_000)
        os.kill(child, signal.SIGKILL) if os.waitpid(child, os.WNOHANG) == (0, 0) else None
        os.waitpid(child, 0)
        data = store.read("a/x")
        assert data == b"old" * 1000 or (len(data) == 300_000 and len(set(data)) == 1)
    assert store.list("") == ["a/x"]


def test_impossible_places_and_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(DrError, match="ftp://x is not a supported history store"):
        open_store("ftp://x")
    with pytest.raises(DrError, match=r"'\.\./x' is not a key"):
        FolderStore(tmp_path).write("../x", b"")
    (tmp_path / "file").write_text("")
    with pytest.raises(DrError, match="cannot be written"):
        FolderStore(tmp_path / "file").write("a/x", b"")


def test_a_conditional_write_is_tried_once_and_a_read_again(cloud: EmbeddedAws, store: Store) -> None:
    """Repeated, a write whose answer was lost would be refused by what it has written itself."""
    if isinstance(store, FolderStore):
        pytest.skip("the retries are botocore's")
    store.write("a/1", b"one")
    cloud.control.fault("error", service="s3", code="InternalError")
    cloud.control.clear_calls()
    with pytest.raises(UnansweredError, match=r"put_object.*InternalError"):
        store.create("a/2", b"two")
    assert [call["operation"] for call in cloud.control.calls()] == ["PutObject", "GetObject"]
    cloud.control.clear_calls()
    with pytest.raises(UnansweredError, match=r"get_object.*InternalError"):
        store.read("a/1")
    assert len(cloud.control.calls()) == 2
    cloud.control.clear_faults()
    assert store.list("a/") == ["a/1"]


def test_a_bucket_that_never_answers_is_given_up(cloud: EmbeddedAws, store: Store) -> None:
    if isinstance(store, FolderStore):
        pytest.skip("a folder answers")
    cloud.control.fault("dark", service="s3")
    with pytest.raises(UnansweredError, match=r"put_object on s3://history-l6p3z2w4/some/prefix failed: Read timeout"):
        store.create("a/1", b"one")
    cloud.control.clear_faults()


@pytest.mark.parametrize("mode", ["error-after", "lost-after"])
def test_case_c4_a_conditional_write_that_was_carried_out_is_ours(cloud: EmbeddedAws, store: Store, mode: str) -> None:
    if isinstance(store, FolderStore):
        pytest.skip("a folder answers")
    for write in (lambda: store.create("a/1", b"one"), lambda: store.replace("a/1", b"two", b"one")):
        cloud.control.fault(mode, service="s3", operation="PutObject", code="InternalError", times=1)
        write()
        cloud.control.clear_faults()
    assert store.read("a/1") == b"two"


def test_case_c4_a_conditional_write_that_was_not_carried_out_is_not_ours(cloud: EmbeddedAws, store: Store) -> None:
    if isinstance(store, FolderStore):
        pytest.skip("a folder answers")
    store.create("a/1", b"another's")
    cloud.control.fault("error", service="s3", operation="PutObject", code="InternalError", times=1)
    with pytest.raises(UnansweredError):
        store.create("a/1", b"ours")
    cloud.control.clear_faults()
    assert store.read("a/1") == b"another's"


def test_case_c4_a_deletion_that_was_carried_out_is_done(cloud: EmbeddedAws, store: Store) -> None:
    if isinstance(store, FolderStore):
        pytest.skip("a folder answers")
    store.write("a/1", b"one")
    cloud.control.fault("error-after", service="s3", operation="DeleteObject", code="InternalError")
    store.delete("a/1")
    cloud.control.clear_faults()
    store.write("a/1", b"one")
    cloud.control.fault("error", service="s3", operation="DeleteObject", code="InternalError")
    with pytest.raises(UnansweredError):
        store.delete("a/1")
    cloud.control.clear_faults()


def test_case_c4_a_409_is_tried_again(cloud: EmbeddedAws, store: Store) -> None:
    """S3 API reference, PutObject, If-None-Match: "On a 409 failure you should retry the upload"."""
    if isinstance(store, FolderStore):
        pytest.skip("a folder answers")
    conflict = {"service": "s3", "operation": "PutObject", "code": "ConditionalRequestConflict", "status": 409}
    cloud.control.fault("error", times=2, **conflict)
    store.create("a/1", b"one")
    cloud.control.clear_faults()
    assert store.read("a/1") == b"one"
    cloud.control.fault("error", **conflict)
    with pytest.raises(AwsCallError, match="ConditionalRequestConflict"):
        store.create("a/2", b"two")
    cloud.control.clear_faults()


LISTED = {
    "Name": "history",
    "Prefix": "p/",
    "KeyCount": 2,
    "MaxKeys": 1000,
    "IsTruncated": True,
    "NextContinuationToken": "1w41l63U0xa8q7smH50vCxyTQqdxo69O3EmK28Bi5PcROI4wI",
    "Contents": [{"Key": "p/a", "Size": 1, "StorageClass": "STANDARD"}, {"Key": "p/b", "Size": 1}],
}


class Lists:
    """ListObjectsV2 in two pages (S3 API reference, "Example: listing keys"); `change` is applied to the first."""

    def __init__(self, change: Callable[[dict[str, Any]], object]) -> None:
        self.change = change

    def list_objects_v2(self, Bucket: str, Prefix: str, ContinuationToken: str = "") -> dict[str, Any]:
        if ContinuationToken:
            return {"IsTruncated": False, "Contents": [{"Key": "p/c"}]}
        page: dict[str, Any] = copy.deepcopy(LISTED)
        self.change(page)
        return page

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(b"before")}


@pytest.mark.parametrize(
    "change",
    [
        lambda page: page["Contents"][0].pop("Key"),
        lambda page: page["Contents"][0].update(Key=None),
        lambda page: page["Contents"][0].update(Key="other/a"),
        lambda page: page.update(Contents=["p/a"]),
        lambda page: page.update(Contents=7),
        lambda page: page.pop("NextContinuationToken"),
        lambda page: page.update(NextContinuationToken=[]),
    ],
)
def test_case_d5_a_list_of_objects_that_cannot_be_understood_is_not_taken_for_a_shorter_one(change: Any) -> None:
    """An object that is not named would count as absent: a day without samples, no incident, no lock."""
    assert BucketStore("history", "p", Lists(lambda _: None)).list("") == ["a", "b", "c"]
    with pytest.raises(AwsCallError, match="s3 list_objects_v2 on s3://history/p: the answer cannot be understood"):
        BucketStore("history", "p", Lists(change)).list("")


def test_case_d5_an_object_without_an_etag_is_no_other_writer_s() -> None:
    with pytest.raises(AwsCallError, match="no ETag"):
        BucketStore("history", "p", Lists(lambda _: None)).replace("a", b"after", b"before")
