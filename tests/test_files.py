"""`files`: whole files under their names, no link followed, and no other way to write one in the package."""

from __future__ import annotations

import ast
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dr_assets import files
from dr_assets.errors import DrError
from dr_assets.history.store import FolderStore, quarantine

PACKAGE = Path(__file__).resolve().parent.parent / "dr_assets"


def _write(path: Path, below: Path | None = None) -> None:
    files.write(path, b"ours", below=below)


def _append(path: Path, below: Path | None = None) -> None:
    with files.append(path, below=below) as file:
        file.write("ours")


WRITERS = [_write, _append]
Writer = Callable[..., None]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "victim"
    path.parent.mkdir()
    path.write_bytes(b"theirs")
    return path


@pytest.mark.parametrize("writer", WRITERS)
def test_case_e2_no_write_follows_a_link(tmp_path: Path, victim: Path, writer: Writer) -> None:
    link = tmp_path / "link"
    link.symlink_to(victim)
    with pytest.raises(OSError, match="a symbolic link, which is not followed"):
        writer(link)
    assert victim.read_bytes() == b"theirs"
    assert link.is_symlink()


@pytest.mark.parametrize("writer", WRITERS)
def test_case_e2_no_write_creates_what_a_dangling_link_names(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "new")
    with pytest.raises(OSError, match="a symbolic link"):
        writer(tmp_path / "link")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("place", ["folder", "folder/inner"])
def test_case_e2_no_write_passes_through_a_linked_folder(
    tmp_path: Path, victim: Path, writer: Writer, place: str
) -> None:
    root = tmp_path / "root"
    (root / place).parent.mkdir(parents=True)
    (root / place).symlink_to(victim.parent)
    with pytest.raises(OSError, match="a symbolic link"):
        writer(root / place / "file", below=root)
    assert os.listdir(victim.parent) == ["victim"]


@pytest.mark.parametrize("writer", WRITERS)
def test_the_folder_that_was_given_may_be_a_link(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    writer(tmp_path / "root" / "inner" / "file", below=tmp_path / "root")
    assert (tmp_path / "disk" / "inner" / "file").read_bytes() == b"ours"


@pytest.mark.parametrize("writer", WRITERS)
def test_case_e2_a_hard_link_changes_no_other_file(tmp_path: Path, victim: Path, writer: Writer) -> None:
    path = tmp_path / "file"
    os.link(victim, path)
    try:
        writer(path)
    except OSError as error:
        assert "second name" in str(error)
    assert victim.read_bytes() == b"theirs"


@pytest.mark.parametrize("act", [*WRITERS, files.read])
def test_case_e2_a_fifo_is_refused_at_once(tmp_path: Path, act: Callable[[Path], object]) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    failed: list[OSError] = []

    def run() -> None:
        try:
            act(path)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(5)
    assert failed
    assert stat.S_ISFIFO(path.lstat().st_mode)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError), files.writing(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_bytes() == b"before"
        raise RuntimeError
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == b"before"


def test_two_writers_use_different_temporary_names(tmp_path: Path) -> None:
    def parts() -> set[str]:
        return {name for name in os.listdir(tmp_path) if name.endswith(".part")}

    with files.writing(tmp_path / "file"):
        first = parts()
    with files.writing(tmp_path / "file"):
        assert len(first) == 1
        assert parts().isdisjoint(first)


def test_modes_and_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        files.write(tmp_path / "open", b"", mode=0o666)
        files.write(tmp_path / "private", b"", mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600


def test_without_replace_a_taken_name_is_an_error_and_keeps_its_file(tmp_path: Path) -> None:
    files.write(tmp_path / "file", b"1", replace=False)
    with pytest.raises(FileExistsError):
        files.write(tmp_path / "file", b"2", replace=False)
    assert (tmp_path / "file").read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["file"]


def test_removing_a_link_keeps_what_it_leads_to(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    files.remove(tmp_path / "link")
    files.remove(tmp_path / "link")
    assert victim.exists()


# --- the history store, which a drill's host may run as root ---------------------------------------------------------------


def test_case_e2_no_object_of_a_history_is_written_outside_it(tmp_path: Path, victim: Path) -> None:
    store = FolderStore(tmp_path / "history")
    store.write("alerts/a", b"1")
    (store.root / "records").symlink_to(victim.parent)
    (store.root / "alerts" / "victim").symlink_to(victim)
    for key in ("records/victim", "alerts/victim"):
        for act in (store.write, lambda key, data: store.replace(key, data, b"theirs")):
            with pytest.raises(DrError, match=r"cannot be (written|read)"):
                act(key, b"ours")
    with pytest.raises((DrError, FileExistsError)):
        store.create("alerts/victim", b"ours")
    assert victim.read_bytes() == b"theirs"
    assert os.listdir(victim.parent) == ["victim"]


def test_case_e2_no_object_of_a_history_is_read_from_outside_it(tmp_path: Path, victim: Path) -> None:
    store = FolderStore(tmp_path / "history")
    store.write("alerts/a", b"1")
    (store.root / "alerts" / "b").symlink_to(victim)
    assert store.list("alerts/") == ["alerts/a"]
    with pytest.raises(DrError, match="a symbolic link"):
        store.read("alerts/b")
    quarantine(store, "alerts/b", b"", "odd", "kept")
    assert victim.read_bytes() == b"theirs"


def test_case_e2_a_linked_folder_does_not_pass_for_an_empty_history(tmp_path: Path, victim: Path) -> None:
    store = FolderStore(tmp_path / "history")
    store.write("alerts/a", b"1")
    (store.root / "records").symlink_to(victim.parent)
    with pytest.raises(DrError, match="a symbolic link"):
        store.list("records/")
    with pytest.raises(DrError, match="a symbolic link"):
        store.read("records/victim")


def test_case_e2_a_planted_lock_creates_no_file(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "history")
    store.write("lease", b"1")
    (store.root / ".lock").symlink_to(tmp_path / "new")
    with pytest.raises(DrError, match="a symbolic link"):
        store.replace("lease", b"2", b"1")
    assert not (tmp_path / "new").exists()


# --- the one place ---------------------------------------------------------------------------------------------------------

# Each name is a call that writes, renames or removes; where it stands outside `files`, the reason.
WRITING = {
    "write_text",
    "write_bytes",
    "touch",
    "mkdir",
    "makedirs",
    "mkstemp",
    "NamedTemporaryFile",
    "unlink",
    "rename",
    "renames",
    "rmtree",
    "symlink_to",
    "hardlink_to",
    "copyfile",
    "copytree",
    "chown",
    "chmod",
}
ELSEWHERE = {
    "emulator/embedded.py": {"open"},  # its server's log, in a folder of mkdtemp
    "reports/analysis/what_if.py": {"rename"},  # columns of a table
    "terraform.py": {"unlink"},  # Terraform's own plan file, below its directory
    "emulator/gateway/server.py": {"rmtree"},  # the temporary folder of its owner
    "emulator/postgres/binaries.py": {"chown", "copytree"},  # folders made by mkdtemp
    "emulator/postgres/node.py": {"mkdir", "rmtree", "touch", "unlink"},  # servers' data below a folder of mkdtemp
    "emulator/postgres/pair.py": {"rmtree"},
    "emulator/postgres/scratch.py": {"chmod", "open", "rmtree"},
    "emulator/postgres/servers.py": {"rmtree"},
}


def _writes(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        if name in WRITING:
            found.add(name)
        modes = [*node.args[-1:], *(word.value for word in node.keywords if word.arg == "mode")]
        if name == "open" and any(
            isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wax+") for mode in modes
        ):
            found.add("open")
    return found


def test_case_e2_the_package_writes_in_one_place() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): _writes(path) for path in PACKAGE.rglob("*.py")}
    assert {name: calls for name, calls in found.items() if calls and name != "files.py"} == ELSEWHERE
