"""The one place where boto3 clients are made: timeouts, retries, the call log, a breaker for regions that went dark.

Endpoints and credentials are found by boto3 in its usual ways (AWS_ENDPOINT_URL, AWS_PROFILE, instance role …); nothing
here asks where it runs. May import only `dr_assets.errors` and `dr_assets.core`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.config
import botocore.exceptions as failures
import botocore.session

from dr_assets.core.model import Call, Sensitive, error_code
from dr_assets.errors import AwsCallError, CredentialsError, DrError, UnansweredError

# Reading and writing are told apart because a read may be repeated at will, while a write that timed out must be looked
# for before it is tried again: the reconcile loop does that, so botocore does not retry writes.
READ_ATTEMPTS = 8
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 5.0
WRITE_TIMEOUT = 60.0
POOL = 16

_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "Throttled",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
# AWS asks to come back later: a queue's name is closed for 60 s after deletion, a bucket is being changed by another call,
# or what hangs on a thing is still on its way out (network interfaces of a deleted cluster, for example).
_LATER = frozenset(
    {"AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently", "OperationAborted", "DependencyViolation"}
)
# SNS throttles with a code of its own, which botocore does not know as throttling.
_UNRETRIED = frozenset({"Throttled"})
_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403"})

# The request or its answer was lost on the way: whether it was carried out is not known.
_NO_ANSWER = (failures.HTTPClientError, failures.ConnectionError)

NO_CREDENTIALS = (
    "No AWS credentials were found. Sign in (AWS_PROFILE, `aws sso login`, an instance role), or start the embedded AWS "
    "with `dr up` and export what it prints."
)


class RegionDarkError(Exception):
    """Raised instead of sending: the region has just failed to answer several times in a row."""


class Breaker:
    """Stops waiting for a region that does not answer: after `threshold` timeouts in a row none is tried for `seconds`.

    Without it a dark region would cost one full timeout for every retry of every call.
    """

    def __init__(self, threshold: int = 3, seconds: float = 15.0) -> None:
        self._threshold, self._seconds = threshold, seconds
        self._lock = threading.Lock()
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def check(self, region: str) -> None:
        """Raises RegionDarkError while the region's breaker is open."""
        with self._lock:
            if self._until.get(region, 0.0) > time.monotonic():
                raise RegionDarkError(f"{region} has stopped answering; not tried again for {self._seconds:.0f} s")

    def answered(self, region: str) -> None:
        with self._lock:
            self._failures[region] = 0
            self._until.pop(region, None)

    def failed(self, region: str) -> None:
        with self._lock:
            self._failures[region] = self._failures.get(region, 0) + 1
            if self._failures[region] >= self._threshold:
                self._until[region] = time.monotonic() + self._seconds


@dataclass(frozen=True)
class LoggedCall:
    """One logical API call (botocore's own retries are part of it). `seconds` is wall time."""

    service: str
    operation: str
    region: str
    mutating: bool
    seconds: float


@dataclass
class CallLog:
    """What has been called, in order of completion. Safe for threads."""

    entries: list[LoggedCall] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: LoggedCall) -> None:
        with self._lock:
            self.entries.append(entry)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def mutating(self) -> list[LoggedCall]:
        return [entry for entry in self.entries if entry.mutating]


class Aws:
    """Clients for both sites, made once each and shared by all threads.

    Args:
        session: where credentials come from; boto3's default chain when None.
        read_timeout: seconds to wait for the answer to a read.
        attempts: how often botocore tries a read, the first time included.
    """

    def __init__(
        self, session: boto3.Session | None = None, read_timeout: float = READ_TIMEOUT, attempts: int = READ_ATTEMPTS
    ) -> None:
        self._session = session or boto3.Session()
        self._read_timeout, self._attempts = read_timeout, attempts
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self.log = CallLog()
        self.breaker = Breaker()

    def client(self, service: str, region: str, writing: bool = False) -> Any:
        """The boto3 client of one service in one region. Raises CredentialsError where boto3 cannot make one."""
        key = (service, region, writing)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._make(service, region, writing)
            return self._clients[key]

    def _make(self, service: str, region: str, writing: bool) -> Any:
        config = botocore.config.Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=WRITE_TIMEOUT if writing else self._read_timeout,
            retries={"mode": "standard", "total_max_attempts": 1 if writing else self._attempts},
            max_pool_connections=POOL,
            user_agent_extra="dr-assets",
        )
        try:
            client = self._session.client(service, region_name=region, config=config)
        except failures.BotoCoreError as error:
            raise explain(error, service, "client", region) from error

        def before_send(**_: Any) -> None:
            self.breaker.check(region)

        def after_attempt(response: Any = None, caught_exception: Any = None, **_: Any) -> None:
            if response is not None:
                self.breaker.answered(region)
            elif isinstance(caught_exception, _NO_ANSWER):
                self.breaker.failed(region)

        client.meta.events.register("before-send.*", before_send)
        client.meta.events.register_first("needs-retry.*", after_attempt)
        return client

    def reads(self, account: str = "", memo: bool = False) -> AwsReads:
        """A reader for kinds. With `memo`, the same call is made once however many kinds ask for it."""
        return AwsReads(self, account, memo)

    def act(self, call: Call, region: str, account: str) -> dict[str, Any]:
        """Make one mutating call; `Sensitive` parameters are revealed in this instant only.

        Raises botocore's own errors; `explain` turns those nobody handled by name into ours.
        """
        region = call.region or region
        client = self.client(call.service, region, writing=True)
        params = _revealed(call.params, self.reads(account))
        started = time.monotonic()
        try:
            answer: dict[str, Any] = getattr(client, call.operation)(**params)
            return answer
        finally:
            self.log.add(LoggedCall(call.service, call.operation, region, True, time.monotonic() - started))

    def account(self, regions: Sequence[str]) -> str:
        """The caller's account number, from the first region that answers.

        Raises CredentialsError, or UnansweredError when no region does.
        """
        problem: DrError | None = None
        for region in regions:
            try:
                return str(self.reads().call("sts", "get_caller_identity", region)["Account"])
            except Exception as error:
                problem = explain(error, "sts", "get_caller_identity", region)
                if not isinstance(problem, UnansweredError):
                    raise problem from error
        raise problem or UnansweredError("No region was given to ask for the account.")


class AwsReads:
    """Implements `core.model.Reads` over boto3."""

    def __init__(self, aws: Aws, account: str, memo: bool) -> None:
        self._aws, self._account = aws, account
        self._memo: dict[str, Any] | None = {} if memo else None
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def account(self) -> str:
        return self._account

    def call(self, service: str, operation: str, region: str, **params: Any) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            answer: dict[str, Any] = getattr(self._aws.client(service, region), operation)(**params)
            return answer

        return self._once((service, operation, region, params), make)  # type: ignore[no-any-return]

    def pages(self, service: str, operation: str, region: str, result: str, **params: Any) -> Sequence[Any]:
        def make() -> list[Any]:
            client = self._aws.client(service, region)
            if not client.can_paginate(operation):
                return list(getattr(client, operation)(**params).get(result, []))
            pages = client.get_paginator(operation).paginate(**params)
            return [item for page in pages for item in page.get(result, [])]

        return self._once((service, operation, region, params), make)  # type: ignore[no-any-return]

    def _once(self, what: tuple[str, str, str, dict[str, Any]], make: Any) -> Any:
        if self._memo is None:
            return self._timed(what, make)
        key = repr((*what[:3], sorted(what[3].items(), key=lambda item: item[0])))
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._memo:
                try:
                    self._memo[key] = self._timed(what, make)
                except Exception as error:
                    self._memo[key] = error
        answer = self._memo[key]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _timed(self, what: tuple[str, str, str, dict[str, Any]], make: Any) -> Any:
        started = time.monotonic()
        try:
            return _patiently(make)
        finally:
            service, operation, region, _ = what
            self._aws.log.add(LoggedCall(service, operation, region, False, time.monotonic() - started))


def _patiently(make: Any) -> Any:
    """Retry what botocore does not recognise as throttling."""
    for attempt in range(READ_ATTEMPTS):
        try:
            return make()
        except failures.ClientError as error:
            if error_code(error) not in _UNRETRIED or attempt == READ_ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0.05, 0.1) * 2**attempt)
    raise AssertionError("unreachable")


def explain(error: BaseException, service: str, operation: str, region: str) -> DrError:
    """Turn an error of boto3 into one of ours: credentials, no answer, or an unexpected refusal with its request id."""
    where = f"{service} {operation} in {region}"
    if isinstance(error, DrError):
        return error
    if isinstance(error, (failures.NoCredentialsError, failures.PartialCredentialsError, failures.ProfileNotFound)):
        return CredentialsError(
            NO_CREDENTIALS if isinstance(error, failures.NoCredentialsError) else f"{error}. {NO_CREDENTIALS}"
        )
    if isinstance(
        error,
        (
            failures.CredentialRetrievalError,
            failures.TokenRetrievalError,
            failures.SSOError,
            failures.UnauthorizedSSOTokenError,
        ),
    ):
        return CredentialsError(f"AWS credentials could not be loaded: {error}. Sign in again.")
    if isinstance(error, RegionDarkError):
        return UnansweredError(f"{where}: {error}.")
    if isinstance(error, _NO_ANSWER):
        return UnansweredError(f"{where}: no answer ({type(error).__name__}).")
    if isinstance(error, failures.ClientError):
        return _explain_answer(error, where)
    return AwsCallError(f"{where} failed: {type(error).__name__}: {error}")


def _explain_answer(error: failures.ClientError, where: str) -> DrError:
    code = error_code(error)
    meta: Any = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0) or 0)
    message = error.response.get("Error", {}).get("Message", "")
    tail = f"{code} (request id {meta.get('RequestId') or 'none'})"
    if code in _CREDENTIALS:
        return CredentialsError(
            f"AWS refused the credentials at {where}: {tail}: {message}. Sign in again or correct them."
        )
    if code in _DENIED:
        return AwsCallError(f"{where} is not permitted: {tail}: {message}. Grant what `dr permissions` prints.")
    if code in _THROTTLED | _LATER or (status >= 500 and status != 501):
        return UnansweredError(f"{where}: {tail} after {meta.get('RetryAttempts', 0)} retries: {message}")
    return AwsCallError(f"{where} failed: {tail}: {message}")


def _revealed(value: Any, reads: AwsReads) -> Any:
    if isinstance(value, Sensitive):
        return value.reveal(reads)
    if isinstance(value, dict) or hasattr(value, "items"):
        return {key: _revealed(item, reads) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revealed(item, reads) for item in value]
    return value
