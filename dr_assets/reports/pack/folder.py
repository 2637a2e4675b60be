"""Put an evidence pack into its folder: replace a former pack file by file, and leave every other file alone.

The new files are staged in `.dr-pack-pending/`, its manifest last, and then renamed into place, the manifest last again. A writer that is
killed leaves the former pack whole, or a staged manifest: the next writer first finishes that replacement.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dr_assets import escape, files
from dr_assets.documents import DocumentError
from dr_assets.errors import DrError, RefusedError
from dr_assets.reports.pack.manifest import MANIFEST, PENDING, Manifest, sha256

log = escape.logger(__name__)

_NAME = re.compile(r"index\.html|(data|pictures|records|statements|days|incidents)/[A-Za-z0-9_-][A-Za-z0-9._-]*")
_OTHER = "Nothing was written. Choose another folder for --out."
_SHOWN = 5  # names in one message


def require_replaceable(target: Path, stack: str) -> None:
    """Raises RefusedError unless `target` is absent, empty, or holds an unchanged pack of `stack`; DrError where it cannot be read."""
    with _explained(target):
        _former(target, stack)


def put(target: Path, stack: str, contents: Mapping[str, bytes], manifest: bytes) -> None:
    """Write the pack of `stack`. Files that belong to neither the former pack nor this one stay, and are named in a warning.

    Args:
        contents: the bytes of each file but the manifest, by its path in the pack.

    Raises RefusedError where one of this pack's names is taken by another's file or the former pack was changed, DrError where the
    folder cannot be written or another report is being written to it.
    """
    with _explained(target):
        require_replaceable(target, stack)
        files.make_folder(target)
        with _locked(target):
            former = _former(target, stack)
            if (target / PENDING / MANIFEST).exists():
                former = _move_into_place(target, stack, former)
            _require_free(target, contents, former)
            with contextlib.suppress(FileNotFoundError):
                for left in (target / PENDING).iterdir():  # of a writer that was killed while staging
                    files.remove(left, below=target)
            for name, data in contents.items():
                files.write(_staged(target, name), data, below=target)
            files.write(_staged(target, MANIFEST), manifest, below=target)
            _move_into_place(target, stack, former)
        there = {path.relative_to(target).as_posix() for path in files.regular_files(target)}
        if others := sorted(there - contents.keys() - {MANIFEST}):
            log.warning("%s also holds files that are not the pack's; they stay: %s", target, _listed(others))


def _former(target: Path, stack: str) -> dict[str, set[str]]:
    """The SHA-256 that each file of the pack in `target` may have, by its path; empty where nothing is there."""
    if target.is_symlink():
        raise RefusedError(f"{target} is a symbolic link, which is not followed. Give the folder itself as --out.")
    try:
        there = {path.name for path in target.iterdir()}
    except FileNotFoundError:
        return {}
    if MANIFEST in there:
        former = _hashes(_manifest(target / MANIFEST, target, stack))
    elif there <= {PENDING} or (target / PENDING / MANIFEST).exists():
        former = {}
    else:
        raise RefusedError(f"{target} holds something that is no evidence pack. {_OTHER}")
    if (target / PENDING / MANIFEST).exists():
        for name, hashes in _hashes(_manifest(target / PENDING / MANIFEST, target, stack)).items():
            former.setdefault(name, set()).update(hashes)
    changed = [name for name, hashes in sorted(former.items()) if not _is_one_of(target, name, hashes)]
    if changed:
        raise RefusedError(f"{target} holds a pack that was changed since it was written: {_listed(changed)}. {_OTHER}")
    return former


def _manifest(path: Path, target: Path, stack: str) -> Manifest:
    try:
        found = Manifest.from_bytes(files.read(path, below=target), path.name)
    except DocumentError as error:
        raise RefusedError(f"{target} holds something that is no evidence pack: {error} {_OTHER}") from error
    if found.stack != stack:
        raise RefusedError(f"{target} holds the pack of another stack, {found.stack}. {_OTHER}")
    if strange := [name for name in found.files if not _NAME.fullmatch(name)]:
        raise RefusedError(f"{target} holds a manifest that names no files of a pack: {_listed(strange)}. {_OTHER}")
    return found


def _hashes(manifest: Manifest) -> dict[str, set[str]]:
    return {name: {file.sha256} for name, file in manifest.files.items()}


def _is_one_of(target: Path, name: str, hashes: set[str]) -> bool:
    """Whether the file is absent or has one of these hashes; a link or a folder has none."""
    try:
        return sha256(files.read(target / name, below=target)) in hashes
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _require_free(target: Path, contents: Mapping[str, bytes], former: Mapping[str, set[str]]) -> None:
    taken = [name for name in contents if name not in former and os.path.lexists(target / name)]
    if taken:
        raise RefusedError(f"{target} holds files under names of the pack that are not its: {_listed(taken)}. {_OTHER}")


def _move_into_place(target: Path, stack: str, former: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Rename the staged files, remove those of the former pack that the new one lacks; returns the hashes of the new pack."""
    new = _hashes(_manifest(target / PENDING / MANIFEST, target, stack))
    for name in new:
        with contextlib.suppress(FileNotFoundError):  # a killed writer had moved it
            files.move(_staged(target, name), target / name, below=target)
    for name in former.keys() - new.keys():
        files.remove(target / name, below=target)
    files.move(_staged(target, MANIFEST), target / MANIFEST, below=target)
    (target / PENDING).rmdir()
    return new


def _staged(target: Path, name: str) -> Path:
    return target / PENDING / name.replace("/", "~")  # no name of a pack has a tilde


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """The folder's own lock, which the kernel drops with the process."""
    handle = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DrError(
                f"Another report is being written to {target}. Wait for it, or choose another folder for --out."
            ) from None
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP):  # NFS locks no folder
                raise
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DrError(
            f"The pack cannot be written to {target} ({error.strerror}). Choose another folder for --out."
        ) from error
    except ValueError as error:  # a NUL or a lone surrogate in the name
        raise DrError(f"{str(target)!r} is no name of a folder ({error}). Choose another folder for --out.") from error
