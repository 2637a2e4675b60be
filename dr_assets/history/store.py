"""Object store of the history: a folder or an S3 bucket behind one small interface of whole objects, written atomically."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlparse

from dr_assets import escape, files
from dr_assets.aws_errors import fate
from dr_assets.core.model import error_code
from dr_assets.core.paging import Tokens
from dr_assets.errors import AwsCallError, DrError, UnansweredError

URI_VARIABLE = "DR_HISTORY_URI"
DEFAULT_URI = ".dr/history"
# Seconds before a conditional write that S3 answered with a conflict is repeated.
CONFLICT_WAITS = (0.1, 0.4)

log = escape.logger(__name__)


class Store(Protocol):
    """Objects by key. A reader sees a whole object or none, also when a writer is killed."""

    uri: str

    def read(self, key: str) -> bytes:
        """The object's bytes. Raises KeyError when it does not exist."""

    def write(self, key: str, data: bytes) -> None:
        """Create or replace the object, atomically."""

    def create(self, key: str, data: bytes) -> None:
        """Create the object, atomically. Raises FileExistsError when it exists."""

    def replace(self, key: str, data: bytes, before: bytes | None) -> bool:
        """Compare and swap: replace `before` (None: no object), atomically. False when another writer came first."""

    def list(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Delete the object; no error when it does not exist."""


class FolderStore:
    """A folder. An object appears whole (`files`); no link below the folder is followed, neither in reading nor in writing."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.uri = str(self.root)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts:
            raise DrError(f"{key!r} is not a key of a history store: use relative names without '..'.")
        return self.root.joinpath(*parts)

    def read(self, key: str) -> bytes:
        try:
            return files.read(self._path(key), below=self.root)
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(key) from None
        except OSError as error:
            raise _unreadable(self._path(key), error) from error

    def write(self, key: str, data: bytes) -> None:
        self._put(key, data)

    def create(self, key: str, data: bytes) -> None:
        self._put(key, data, replace=False)

    def replace(self, key: str, data: bytes, before: bytes | None) -> bool:
        path = self._path(key)
        with self._locked(path.parent):
            try:
                found: bytes | None = self.read(key)
            except KeyError:
                found = None
            if found != before:
                return False
            self._put(key, data)
            return True

    @contextlib.contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """One writer at a time in a folder. The kernel releases the lock when a writer is killed."""
        import fcntl

        try:
            file = files.append(folder / ".lock", below=self.root)
        except OSError as error:
            raise _unwritable(folder, error) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _put(self, key: str, data: bytes, replace: bool = True) -> None:
        path = self._path(key)
        try:
            files.write(path, data, mode=0o600, below=self.root, replace=replace)
        except FileExistsError:
            raise
        except OSError as error:
            raise _unwritable(path, error) from error

    def list(self, prefix: str) -> list[str]:
        folder, _, _ = prefix.rpartition("/")
        start = self._path(folder) if folder else self.root
        try:
            found = list(files.regular_files(start, below=self.root))
        except OSError as error:
            raise _unreadable(start, error) from error
        keys = (path.relative_to(self.root).as_posix() for path in found)
        return sorted(key for key in keys if key.startswith(prefix) and not PurePosixPath(key).name.startswith("."))

    def delete(self, key: str) -> None:
        files.remove(self._path(key), below=self.root)


def _unreadable(path: Path, error: OSError) -> DrError:
    return DrError(f"{path} cannot be read ({error.strerror}). Correct {URI_VARIABLE} or its rights.")


def _unwritable(path: Path, error: OSError) -> DrError:
    return DrError(f"{path} cannot be written ({error.strerror}). Correct {URI_VARIABLE} or its rights.")


class _ConflictError(AwsCallError):
    """S3 refused a conditional write because another request to the same key was under way."""


class BucketStore:
    """A prefix of an S3 bucket. PutObject is atomic; `create` and `replace` use S3's conditional writes (If-None-Match, If-Match).

    Args:
        once: a client without retries, for the conditional writes: repeating one that succeeded and whose answer was lost would
            be refused, as if another writer had come first. Default: `client`.

    Every method raises UnansweredError where AWS may or may not have carried the call out, AwsCallError for any other failure.
    """

    def __init__(self, bucket: str, prefix: str, client: Any, once: Any = None) -> None:
        self.bucket, self._prefix, self._client = bucket, prefix.strip("/"), client
        self._once = once or client
        self.uri = f"s3://{bucket}/{self._prefix}".rstrip("/")

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _call(self, operation: str, once: bool = False, **params: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = getattr(self._once if once else self._client, operation)(Bucket=self.bucket, **params)
            return {**found, "Body": found["Body"].read()} if operation == "get_object" else found
        except Exception as error:
            code, where = error_code(error), f"s3 {operation} on {self.uri} failed"
            if code in ("NoSuchKey", "404"):
                raise KeyError(params.get("Key", "")) from None
            if code == "PreconditionFailed":
                raise FileExistsError(params.get("Key", "")) from None
            if code == "ConditionalRequestConflict":
                raise _ConflictError(f"{where}: {code}. Run it again.") from None
            problem = UnansweredError if fate(error) == "unknown" else AwsCallError
            if isinstance(error, ClientError):
                message = error.response.get("Error", {}).get("Message")
                request = error.response.get("ResponseMetadata", {}).get("RequestId")
                raise problem(
                    f"{where}: {code}: {message} (request {request}). Correct {URI_VARIABLE} or the permissions."
                ) from error
            # Not the text of any other error: it may quote the object.
            text = error if isinstance(error, (BotoCoreError, DrError)) else type(error).__name__
            raise problem(f"{where}: {text}. Correct {URI_VARIABLE}.") from error

    def _put_if(self, key: str, data: bytes, **condition: str) -> None:
        """PutObject under a condition. Where AWS does not say whether it was carried out, the object says it: `data` is unique to its
        writer. S3 asks to repeat a 409 (S3 API reference, PutObject, If-None-Match). Raises FileExistsError where another was first."""
        for wait in (*CONFLICT_WAITS, None):
            try:
                self._call("put_object", once=True, Key=self._key(key), Body=data, **condition)
                return
            except (UnansweredError, _ConflictError) as error:
                if self._holds(key, data):
                    return
                if wait is None or not isinstance(error, _ConflictError):
                    raise
                time.sleep(wait)

    def _holds(self, key: str, data: bytes | None) -> bool:
        """Whether the object is `data` (None: absent); False also where S3 does not answer that either."""
        try:
            found: bytes | None = self._call("get_object", once=True, Key=self._key(key))["Body"]
        except KeyError:
            found = None
        except DrError:
            return False
        return found == data

    def read(self, key: str) -> bytes:
        data: bytes = self._call("get_object", Key=self._key(key))["Body"]
        return data

    def write(self, key: str, data: bytes) -> None:
        self._call("put_object", Key=self._key(key), Body=data)

    def create(self, key: str, data: bytes) -> None:
        self._put_if(key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, before: bytes | None) -> bool:
        try:
            if before is None:
                self.create(key, data)
                return True
            found = self._call("get_object", Key=self._key(key))
            if found["Body"] != before:
                return False
            if not found.get("ETag"):
                raise AwsCallError(f"s3 get_object on {self.uri}: the answer has no ETag. Run it again.")
            self._put_if(key, data, IfMatch=found["ETag"])
        except (FileExistsError, KeyError):  # another writer created or deleted it
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        keys: list[str] = []
        more: dict[str, Any] = {}
        tokens = Tokens()
        while True:
            page = self._call("list_objects_v2", Prefix=self._key(prefix), **more)
            cut = len(self._key(""))
            try:
                found = [item["Key"] for item in page.get("Contents", ())]
                if not all(key.startswith(self._key(prefix)) for key in found):
                    raise ValueError("a key that was not asked for")
                keys += [key[cut:] for key in found]
                if not page.get("IsTruncated"):
                    return sorted(keys)
                more = {"ContinuationToken": tokens.follow(page["NextContinuationToken"])}
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                # An object that is not named is not absent: no part of the list may be taken for the whole.
                raise AwsCallError(
                    f"s3 list_objects_v2 on {self.uri}: the answer cannot be understood ({type(error).__name__}: {error}). Run it again."
                ) from error

    def delete(self, key: str) -> None:
        try:
            self._call("delete_object", Key=self._key(key))
        except UnansweredError:
            if not self._holds(key, None):
                raise


def open_store(uri: str | None = None) -> Store:
    """The store at `uri`: a path, `file:///path` or `s3://bucket/prefix`; by default $DR_HISTORY_URI, else `.dr/history`.

    Raises DrError for another scheme. Nothing is created before the first write.
    """
    uri = uri or os.environ.get(URI_VARIABLE) or DEFAULT_URI
    parsed = urlparse(uri)
    if parsed.scheme == "s3" and parsed.netloc:
        from botocore.config import Config

        from dr_assets.aws_session import AwsSession

        session = AwsSession()

        # A bucket that does not answer must not delay an alert or a drill for minutes; its objects are small.
        def client(attempts: int) -> Any:
            retries = {"mode": "standard", "total_max_attempts": attempts}
            config = Config(connect_timeout=3, read_timeout=10, retries=retries, user_agent_extra="dr-assets")
            return session.client("s3", config=config)

        return BucketStore(parsed.netloc, parsed.path, client(2), client(1))
    if parsed.scheme == "file":
        return FolderStore(Path(parsed.path))
    if "://" in uri:
        raise DrError(
            f"{uri} is not a supported history store. Set {URI_VARIABLE} to a folder or to s3://bucket/prefix."
        )
    return FolderStore(Path(uri))


def quarantine(store: Store, key: str, data: bytes, reason: str, until: str) -> str:
    """Move a damaged or foreign object to `quarantine/{key}.{hash}`; returns one sentence for the report and the log.

    The hash in the name makes a repetition harmless; a name too long for a file system becomes its own hash. With read-only access the object stays where it is, and the text says so.

    Args:
        data: the bytes as they were read; a good object that replaced them meanwhile is kept.
        reason: what is wrong with the object.
        until: the consequence, and what ends it.
    """
    folder, _, name = key.rpartition("/")
    encoded = name.encode("utf-8", "surrogatepass")
    if len(encoded) > 200:
        name = hashlib.sha256(encoded).hexdigest()[:16]
    place = f"quarantine/{folder}/{name}.{hashlib.sha256(data).hexdigest()[:12]}"
    try:
        store.write(place, data)
        with contextlib.suppress(KeyError):
            if store.read(key) == data:
                store.delete(key)
        text = f"{key}: {reason}; quarantined as {place}, {until}"
    except (DrError, OSError) as error:
        text = f"{key}: {reason}; it could not be quarantined ({error})"
    text = escape.line(text)
    log.warning("%s", text)
    return text
