"""The one place that writes files: each appears whole or not at all, and no symbolic link is followed.

A file is written under a name that cannot be guessed, flushed to disk and renamed. Every step goes through a descriptor of its
folder, so that replacing a folder by a link meanwhile changes nothing. A final name that is a link, a FIFO or a device is refused
(OSError). `below` is a folder whose own path is taken as it was given, links included; no link below it is followed, neither in
reading nor in writing. Without it that folder is the file's own.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

log = logging.getLogger(__name__)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: opening a FIFO must not wait for its other end


@contextlib.contextmanager
def writing(
    path: Path,
    *,
    mode: int = 0o644,
    below: Path | None = None,
    replace: bool = True,
    owner: tuple[int, int] | None = None,
) -> Iterator[BinaryIO]:
    """A file that gets its name once it is complete and on disk; after an exception nothing is left. Makes missing folders.

    Args:
        mode: permissions, less the umask.
        replace: False raises FileExistsError where the name is taken.
        owner: user and group ids that the file is given.

    Raises OSError.
    """
    with _opened(path.parent, below, make=True) as folder:
        if replace:
            with contextlib.suppress(FileNotFoundError):
                _require_regular(os.stat(path.name, dir_fd=folder, follow_symlinks=False), path)
        part = f".{secrets.token_hex(8)}.part"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, mode, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                if owner:
                    os.fchown(file.fileno(), *owner)
                yield file
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.rename(part, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                os.link(
                    part, path.name, src_dir_fd=folder, dst_dir_fd=folder
                )  # unlike rename, fails where the name is taken
                os.unlink(part, dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=folder)
            raise


def write(path: Path, data: bytes, *, mode: int = 0o644, below: Path | None = None, replace: bool = True) -> None:
    """Write the whole file (`writing`). Raises OSError."""
    with writing(path, mode=mode, below=below, replace=replace) as file:
        file.write(data)


def append(path: Path, *, mode: int = 0o644, below: Path | None = None) -> IO[str]:
    """The text file, open at its end; created where it is missing. Raises OSError, also for a file that has a second name."""
    with _opened(path.parent, below, make=True) as folder:
        try:
            handle = os.open(path.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _FILE, mode, dir_fd=folder)
        except OSError as error:
            raise _explained(error, path) from None
    return os.fdopen(_checked(handle, path, only_name=True), "a", encoding="utf-8")


def read(path: Path, *, below: Path | None = None) -> bytes:
    """The bytes of a regular file. Raises OSError."""
    with _opened(path.parent, below) as folder:
        try:
            handle = os.open(path.name, os.O_RDONLY | _FILE, dir_fd=folder)
        except OSError as error:
            raise _explained(error, path) from None
    with os.fdopen(_checked(handle, path), "rb") as file:
        return file.read()


def remove(path: Path, *, below: Path | None = None) -> None:
    """Remove the name, never what a link leads to; no error where it does not exist. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), _opened(path.parent, below) as folder:
        os.unlink(path.name, dir_fd=folder)


def move(source: Path, path: Path, *, below: Path) -> None:
    """Rename a file to `path`, in place of a regular file there. Makes missing folders. Raises OSError."""
    with _opened(source.parent, below) as start, _opened(path.parent, below, make=True) as folder:
        with contextlib.suppress(FileNotFoundError):
            _require_regular(os.stat(path.name, dir_fd=folder, follow_symlinks=False), path)
        os.rename(source.name, path.name, src_dir_fd=start, dst_dir_fd=folder)


def make_folder(path: Path, *, below: Path | None = None) -> None:
    """Make the folder and its missing parents. Raises OSError."""
    with _opened(path, below, make=True):
        pass


def regular_files(folder: Path, *, below: Path | None = None) -> Iterator[Path]:
    """Every regular file in the folder and in those inside it; none where it is missing. Links are passed over with a warning.

    Raises OSError, also where the folder itself is a link: that must not pass for an empty one.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        with _opened(folder, below):
            pass
        yield from _scan(folder)


def _scan(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _scan(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)
            elif entry.is_symlink():
                log.warning("%r is ignored: a symbolic link, which is not followed", entry.path)


@contextlib.contextmanager
def _opened(folder: Path, below: Path | None, make: bool = False) -> Iterator[int]:
    """A descriptor of `folder`, reached without following a link below `below`."""
    root = folder if below is None else below
    if make:
        with contextlib.suppress(FileExistsError):  # where it is a file, the next line says so
            root.mkdir(parents=True, exist_ok=True)
    handle = os.open(root, _FOLDER)
    try:
        reached = root
        for part in folder.relative_to(root).parts:
            reached /= part
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=handle)
            try:
                inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
            except OSError as error:
                raise _explained(error, reached) from None
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def _explained(error: OSError, path: Path) -> OSError:
    """Linux answers ELOOP for a link, and ENOTDIR where a folder was asked for: a link must not pass for an absent name."""
    return _link(path) if error.errno in (errno.ELOOP, errno.ENOTDIR) and path.is_symlink() else error


def _link(path: Path) -> OSError:
    return OSError(errno.ELOOP, "a symbolic link, which is not followed", str(path))


def _require_regular(found: os.stat_result, path: Path) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _link(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def _checked(handle: int, path: Path, only_name: bool = False) -> int:
    """The descriptor, if it is a regular file; with `only_name`, one without a second (hard) link, which may be another's file."""
    try:
        found = os.fstat(handle)
        _require_regular(found, path)
        if only_name and found.st_nlink > 1:
            raise OSError(errno.EMLINK, "a file with a second name, which is not written to", str(path))
    except OSError:
        os.close(handle)
        raise
    return handle
