"""A pack replaces a pack of ours, file by file, and touches nothing else."""

import datetime as dt
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from dr_assets import utc
from dr_assets.errors import DrError, RefusedError
from dr_assets.reports.pack import folder
from dr_assets.reports.pack.manifest import Manifest, ManifestFile, sha256, verify_pack

NAMES = ["index.html", *(f"data/{n}.csv" for n in range(6)), "pictures/a.png"]


def files_of(mark: bytes, names: list[str] | None = None) -> dict[str, bytes]:
    return {name: name.encode() + mark * 1000 for name in names or NAMES}


def manifest(contents: dict[str, bytes], stack: str = "s") -> bytes:
    moment = dt.datetime(2026, 3, 1, tzinfo=utc.UTC)
    return Manifest(
        stack=stack,
        start=moment,
        end=moment,
        made_at=moment,
        product_version="1",
        records=0,
        chain_head=None,
        files={name: ManifestFile(sha256=sha256(data), bytes=len(data)) for name, data in contents.items()},
    ).to_bytes()


def put(target: Path, contents: dict[str, bytes], stack: str = "s") -> None:
    folder.put(target, stack, contents, manifest(contents, stack))


def tree(root: Path) -> dict[str, bytes | str]:
    """Every name below `root`: the bytes of a file, the destination of a link."""
    return {
        path.relative_to(root).as_posix(): os.readlink(path)
        if path.is_symlink()
        else (path.read_bytes() if path.is_file() else "folder")
        for path in root.rglob("*")
    }


def refused(target: Path, root: Path, text: str) -> None:
    """Neither the check before the figures nor the writing touches anything below `root`."""
    before = tree(root)
    with pytest.raises(DrError, match=text) as caught:
        folder.require_replaceable(target, "s")
    assert "\n" not in str(caught.value)
    with pytest.raises(DrError, match=text):
        put(target, files_of(b"2"))
    assert tree(root) == before


def test_an_earlier_pack_is_replaced(tmp_path: Path) -> None:
    put(tmp_path / "x", files_of(b"1", [*NAMES, "records/000001.json"]))
    put(tmp_path / "x", files_of(b"2"))
    assert verify_pack(tmp_path / "x") == []
    assert {path.name for path in (tmp_path / "x").rglob("*") if path.is_file()} == {
        *(name.rpartition("/")[2] for name in NAMES),
        "manifest.json",
    }
    assert os.listdir(tmp_path) == ["x"]


def test_case_e2_somebody_s_web_page_stays_untouched(tmp_path: Path) -> None:
    """A progressive web app has an index.html and a manifest.json, too (W3C, Web Application Manifest)."""
    site = tmp_path / "site"
    (site / "photos").mkdir(parents=True)
    (site / "index.html").write_text("<h1>Our wedding</h1>")
    (site / "photos" / "wedding.jpg").write_bytes(b"\xff\xd8")
    for text in ('{"name": "Wedding", "start_url": "/", "icons": []}', "{", "", "[]", '{"schema": "dr-assets/pack/9"}'):
        (site / "manifest.json").write_text(text)
        refused(site, tmp_path, "site holds something that is no evidence pack")


def test_case_e2_any_other_folder_stays_untouched(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("")
    refused(mine, tmp_path, "no evidence pack. Nothing was written")


def test_case_e2_the_pack_of_another_stack_stays(tmp_path: Path) -> None:
    put(tmp_path / "x", files_of(b"1"), "other")
    refused(tmp_path / "x", tmp_path, "the pack of another stack, other")


def test_case_e2_files_beside_a_pack_stay_and_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "x", files_of(b"1"))
    (tmp_path / "x" / "notes.txt").write_text("mine")
    (tmp_path / "x" / "data" / "notes.csv").write_text("mine")
    put(tmp_path / "x", files_of(b"2"))
    assert (tmp_path / "x" / "notes.txt").read_text() == (tmp_path / "x" / "data" / "notes.csv").read_text() == "mine"
    assert "they stay: data/notes.csv, notes.txt" in caplog.text
    assert verify_pack(tmp_path / "x") == [
        "data/notes.csv is not in the manifest: it was added",
        "notes.txt is not in the manifest: it was added",
    ]


def test_case_e2_a_changed_file_of_a_pack_stays(tmp_path: Path) -> None:
    put(tmp_path / "x", files_of(b"1"))
    (tmp_path / "x" / "data" / "0.csv").write_text("annotated")
    refused(tmp_path / "x", tmp_path, r"changed since it was written: data/0\.csv\. Nothing was written")


def test_case_e2_a_file_under_a_name_of_the_pack_stays(tmp_path: Path) -> None:
    put(tmp_path / "x", files_of(b"1", ["index.html"]))
    (tmp_path / "x" / "data").mkdir()
    (tmp_path / "x" / "data" / "0.csv").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(RefusedError, match=r"not its: data/0\.csv"):
        put(tmp_path / "x", files_of(b"2"))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["../victim", "/victim", "data/../../victim", "wedding.jpg", "data/a/b.csv"])
def test_case_e2_a_manifest_cannot_name_files_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "victim").write_text("theirs")
    put(tmp_path / "x", files_of(b"1"))
    (tmp_path / "x" / "wedding.jpg").write_text("theirs")
    path = tmp_path / "x" / "manifest.json"
    content = json.loads(path.read_text())
    content["files"][name] = {"sha256": sha256(b"theirs")}
    path.write_text(json.dumps(content))
    refused(tmp_path / "x", tmp_path, "names no files of a pack")


@pytest.mark.parametrize("name", ["*", "?", "[a]", "x*", "**", "-rf", " ", "~", "$HOME", "ünï", "a\nb"])
def test_case_e2_a_name_with_odd_characters_is_a_name(tmp_path: Path, name: str) -> None:
    for other in (".project.old", ".x.part", ".a.old", "a", "x1"):
        (tmp_path / "x" / other).mkdir(parents=True)
        (tmp_path / "x" / other / "file").write_text("theirs")
        os.utime(tmp_path / "x" / other, (0, 0))
    before = tree(tmp_path)
    for mark in (b"1", b"2"):
        put(tmp_path / "x" / name, files_of(mark))
    assert verify_pack(tmp_path / "x" / name) == []
    assert before.items() <= tree(tmp_path).items()
    assert set(os.listdir(tmp_path / "x")) == {".project.old", ".x.part", ".a.old", "a", "x1", name}


@pytest.mark.parametrize(
    "name", ["x" * 300, "x/" * 3000, "nul\0", "file", "file/x", "fifo", "lone\udc80" * 100, "/dev/null", "/proc/x/y"]
)
def test_case_e2_an_impossible_path_is_one_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("theirs")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DrError, match="Choose another folder") as caught:
        put(tmp_path / name, files_of(b"1"))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "theirs"


@pytest.mark.parametrize("destination", ["pack", "empty", "page", "nowhere"])
def test_case_e2_a_link_is_not_followed(tmp_path: Path, destination: str) -> None:
    put(tmp_path / "pack", files_of(b"1"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("theirs")
    (tmp_path / "x").symlink_to(tmp_path / destination)
    refused(tmp_path / "x", tmp_path, "x is a symbolic link, which is not followed")


@pytest.mark.parametrize("name", ["data", "data/0.csv", "manifest.json", ".dr-pack-pending"])
def test_case_e2_a_link_inside_a_pack_is_not_followed(tmp_path: Path, name: str) -> None:
    put(tmp_path / "x", files_of(b"1"))
    if (tmp_path / "x" / name).exists():
        (tmp_path / "x" / name).rename(tmp_path / "victim")
    else:
        shutil.copytree(tmp_path / "x", tmp_path / "victim")
    (tmp_path / "x" / name).symlink_to(tmp_path / "victim")
    before = tree(tmp_path)
    with pytest.raises(DrError, match=r"Choose another folder"):
        put(tmp_path / "x", files_of(b"2"))
    assert tree(tmp_path) == before


def test_killed_while_writing_the_next_report_completes_it(tmp_path: Path) -> None:
    """At any moment: a whole pack, or one that `verify_pack` calls incomplete and that the next writer replaces."""
    target, other = tmp_path / "x", files_of(b"2", [*NAMES[2:], "incidents/i.json"])
    put(target, files_of(b"0"))
    found = set()
    for turn in range(40):
        child = os.fork()
        if child == 0:
            while True:
                put(target, files_of(b"1"))
                put(target, other)
        time.sleep(0.0017 * turn)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        problems = verify_pack(target)
        found.add(bool(problems))
        assert not problems or "Run `dr report` with the same --out again" in problems[0]
        put(target, files_of(b"0"))
        assert verify_pack(target) == []
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("stop", range(32))
def test_interrupted_at_every_step_the_next_report_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Also when the next one is interrupted as well, and where there was no pack before."""
    real = {name: getattr(folder.files, name) for name in ("write", "move", "remove")}
    left = stop

    def counted(name: str) -> object:
        def act(*args: object, **options: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            real[name](*args, **options)

        return act

    for target in (tmp_path / "new", tmp_path / "old"):
        if target.name == "old":
            put(target, files_of(b"0", ["index.html", "records/000001.json"]))
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(folder.files, name, counted(name))
            for mark in (b"1", b"2"):
                left = stop
                try:
                    put(target, files_of(mark))
                except KeyboardInterrupt:
                    assert verify_pack(target) != [] or stop == 0 or mark == b"2"
        put(target, files_of(b"3", ["index.html", "data/0.csv"]))
        assert verify_pack(target) == []


def test_two_reports_do_not_write_to_one_folder_at_once(tmp_path: Path) -> None:
    put(tmp_path / "x", files_of(b"1"))
    with folder._locked(tmp_path / "x"), pytest.raises(DrError, match="Another report is being written"):
        put(tmp_path / "x", files_of(b"2"))
    assert (tmp_path / "x" / "index.html").read_bytes() == files_of(b"1")["index.html"]
