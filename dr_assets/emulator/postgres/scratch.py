"""The scratch folder of one pair: created, locked while its owner lives, removed later if the owner died."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

from dr_assets.emulator.postgres.binaries import bases

PREFIX = "dr-pgpair-"
CLAIM = "owner.lock"
UNCLAIMED_SECONDS = 60.0


def make() -> tuple[Path, IO[str]]:
    """A new folder that an unprivileged user can pass through, and its claim: a lock that ends with this process."""
    root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=bases()[0]))
    root.chmod(0o711)
    claim = (root / CLAIM).open("w")
    fcntl.flock(claim, fcntl.LOCK_EX)
    return root, claim


def reap() -> None:
    """Remove this user's folders whose owner is gone; their servers ended with it."""
    for folder in (found for base in bases() for found in base.glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if status.st_uid != os.geteuid():
                continue
            if (folder / CLAIM).exists():
                with (folder / CLAIM).open() as claim:
                    fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError, an OSError: its owner lives
            elif time.time() - status.st_mtime < UNCLAIMED_SECONDS:
                continue  # another process is just making it
            shutil.rmtree(folder, ignore_errors=True)
