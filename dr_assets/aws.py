"""Make boto3 clients with timeouts, retries, a call log, and a circuit breaker for regions that stopped answering.

boto3 finds endpoints and credentials in its usual ways (AWS_ENDPOINT_URL, AWS_PROFILE, instance role …); `aws_session` has the
role that may act in the caller's place.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import botocore.config
import botocore.exceptions as failures

from dr_assets.aws_errors import THROTTLED, fate, withhold
from dr_assets.aws_session import AwsSession
from dr_assets.circuit_breaker import Breaker, RegionDarkError
from dr_assets.core.model import Call, Sensitive, error_code
from dr_assets.documents import DocumentError, parse
from dr_assets.errors import AwsCallError, CredentialsError, DrError, ThrottledError, UnansweredError
from dr_assets.secret import Secret, conceal

# A read may be repeated at will. A write that timed out may have been carried out: botocore never retries it, and the
# reconcile loop reads the resource before it tries again.
READ_ATTEMPTS = 8
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 8.0
WRITE_TIMEOUT = 60.0
POOL = 16
# Quotas of a whole account, in calls a second (Route 53 developer guide, "Quotas": five API requests a second, all callers together).
CALLS_PER_SECOND = {"route53": 5.0}
# Tokens that lead in a circle would be followed for ever; what a stack reads has a few pages.
MAX_PAGES = 500
# Provisioning is worth minutes of waiting for a region that has stalled; a verification is not.
PROVISIONING_SILENCE = 120.0

# SNS throttles with a code that botocore does not recognise as throttling.
_NOT_RETRIED_BY_BOTOCORE = frozenset({"Throttled"})
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

# The request or its answer was lost: whether AWS carried it out is unknown.
_NO_ANSWER = (failures.HTTPClientError, failures.ConnectionError)

NO_CREDENTIALS = (
    "No AWS credentials were found. Sign in (AWS_PROFILE, `aws sso login`, an instance role), or start the embedded AWS "
    "with `dr up` and export what it prints."
)


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
    """The calls made, in order of completion. Safe for threads."""

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


class Pacing:
    """Spaces the calls of a service that has just throttled one, so that they wait for their turn and not for ever longer retries.

    Safe for threads. `after_throttling` begins it; it ends when `seconds` have passed without another refusal.
    """

    def __init__(self, per_second: float, seconds: float = 10.0) -> None:
        # A little slower than the quota: calls do not arrive as evenly as they are sent.
        self._interval, self._seconds = 1.1 / per_second, seconds
        self._lock = threading.Lock()
        self._until = self._next = 0.0

    def before_send(self, **_: Any) -> None:
        with self._lock:
            now = time.monotonic()
            if now >= self._until:
                return
            turn = max(now, self._next)
            self._next = turn + self._interval
        time.sleep(turn - now)

    def after_throttling(self) -> None:
        with self._lock:
            self._until = time.monotonic() + self._seconds


class Aws:
    """Clients for both sites, created once each and shared by all threads.

    A read is retried until it is answered, its attempts are used up (by default after one to two minutes), or its region
    has been silent for `silence` seconds. So the reads of a dark region cost about `silence` plus one `read_timeout` for the
    whole operation that shares this object, not for each call (and one `read_timeout` for each probe). A write is sent once and
    waits up to `WRITE_TIMEOUT`.

    Args:
        session: source of credentials; boto3's default chain, or the role of DR_ROLE_ARN, when None.
        read_timeout: seconds to wait for the answer to one attempt of a read.
        attempts: how often botocore tries a read, the first time included.
        silence: seconds without any answer after which a region counts as dark; two read timeouts when None.
    """

    def __init__(
        self,
        session: AwsSession | None = None,
        read_timeout: float = READ_TIMEOUT,
        attempts: int = READ_ATTEMPTS,
        silence: float | None = None,
    ) -> None:
        self._found = session
        self._read_timeout, self._attempts = read_timeout, attempts
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self.log = CallLog()
        self._pacing = {service: Pacing(calls) for service, calls in CALLS_PER_SECOND.items()}
        self.breaker = Breaker(silence=2 * read_timeout if silence is None else silence)

    @property
    def _session(self) -> AwsSession:
        """Made at the first call: wrong credentials must fail that call, not what else its caller does without AWS."""
        if self._found is None:
            self._found = AwsSession()
        return self._found

    def client(self, service: str, region: str, writing: bool = False) -> Any:
        """The boto3 client of one service in one region. Raises CredentialsError where boto3 cannot create one."""
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
            client = self._session.client(service, region, config)
        except failures.BotoCoreError as error:
            raise explain(error, service, "client", region) from error

        pacing = self._pacing.get(service)

        def before_send(**_: Any) -> None:
            self.breaker.before_send(region)

        def after_attempt(response: Any = None, caught_exception: Any = None, **_: Any) -> None:
            if response is not None:
                self.breaker.answered(region)
                if pacing and response[1].get("Error", {}).get("Code") in THROTTLED:
                    pacing.after_throttling()
            elif not isinstance(caught_exception, RegionDarkError):
                refused = isinstance(caught_exception, failures.EndpointConnectionError)
                self.breaker.unanswered(region, refused)

        if pacing:
            client.meta.events.register("before-send.*", pacing.before_send)
        client.meta.events.register("before-send.*", before_send)
        client.meta.events.register_first("needs-retry.*", after_attempt)
        return client

    def reads(self, account: str = "", memo: bool = False) -> AwsReads:
        """A reader for kinds. With `memo`, equal calls are made once and share the answer."""
        return AwsReads(self, account, memo)

    def act(self, call: Call, region: str, account: str) -> dict[str, Any]:
        """Make one mutating call, once. `Sensitive` parameters are revealed only for the call itself.

        Raises botocore's own errors, without a trace of what was revealed; `explain` converts those that the caller does not handle by
        error code.
        """
        region = call.region or region
        client = self.client(call.service, region, writing=True)
        secrets: list[Secret] = []
        params = _revealed(call.params, self.reads(account), secrets)
        started = time.monotonic()
        try:
            answer: dict[str, Any] = getattr(client, call.operation)(**params)
            return answer
        except Exception as error:
            if not secrets:
                raise
            conceal(error, [secret.reveal() for secret in secrets])
            failure = error
        finally:
            params = None
            self.log.add(LoggedCall(call.service, call.operation, region, True, time.monotonic() - started))
        raise failure

    def account(self, regions: Sequence[str]) -> str:
        """The caller's account number, from the first region that answers; a role's own, once STS has let it be assumed.

        Each site may have a role of its own: one that is refused leaves the other. Raises CredentialsError where a region refused
        and none answered, UnansweredError where none did either.
        """
        problem: DrError | None = None
        for region in regions:
            try:
                account = self._session.account(region)
                return account or str(self.reads().call("sts", "get_caller_identity", region)["Account"])
            except Exception as error:
                found = explain(error, "sts", "get_caller_identity", region)
                if not isinstance(found, (UnansweredError, CredentialsError)):
                    raise found from error
                problem = problem if isinstance(problem, CredentialsError) else found
        raise problem or UnansweredError("The account is unknown because no region was given.")

    def caller_arn(self, region: str) -> str:
        """The identity that calls in `region`, from its STS. Raises UnansweredError, AwsCallError, CredentialsError."""
        try:
            return str(self.reads().call("sts", "get_caller_identity", region)["Arn"])
        except Exception as error:
            raise explain(error, "sts", "get_caller_identity", region) from error

    def source_arn(self, region: str) -> str | None:
        """The identity that assumed the role which calls in `region`; None without a role. Raises like `caller_arn`."""
        if self._session.role(region) is None:
            return None
        return Aws(self._session.source(), self._read_timeout, self._attempts).caller_arn(region)


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
            client = self._aws.client(service, region)
            return _checked(client, operation, getattr(client, operation)(**params))

        return self._once((service, operation, region, params), make)  # type: ignore[no-any-return]

    def pages(self, service: str, operation: str, region: str, result: str, **params: Any) -> Sequence[Any]:
        def make() -> list[Any]:
            client = self._aws.client(service, region)
            if client.can_paginate(operation):
                pages = list(islice(client.get_paginator(operation).paginate(**params), MAX_PAGES))
                if len(pages) == MAX_PAGES:  # botocore notices the same token twice in a row only
                    raise ValueError(f"more than {MAX_PAGES} pages")
            else:
                pages = [getattr(client, operation)(**params)]
            return [item for page in pages for item in _checked(client, operation, page, result).get(result, [])]

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
            return _retry_throttled(make)
        finally:
            service, operation, region, _ = what
            self._aws.log.add(LoggedCall(service, operation, region, False, time.monotonic() - started))


# botocore gives a policy document, a text in the model, as a dict.
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "boolean": (bool,),
    "string": (str, dict),
}
# Services that leave an empty list out: the XML of S3 lists ("flattened") has no element then, SQS and CBOR no key.
_LEAVE_OUT_EMPTY = frozenset({"s3", "sqs", "cloudwatch"})


def _checked(client: Any, operation: str, answer: dict[str, Any], result: str = "") -> dict[str, Any]:
    """`answer`, if its top level has the types of the service model and the list `result`. TypeError, KeyError otherwise.

    Without this a list that is missing from a damaged answer would read as "there is none", and be created again.
    """
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    members = model.output_shape.members if model.output_shape else {}
    for name, value in answer.items():
        wanted = _PYTHON_TYPES.get(members[name].type_name) if name in members else None
        if wanted and not isinstance(value, wanted):
            raise TypeError(f"{name} is a {type(value).__name__}, not a {wanted[0].__name__}")
        items = getattr(members.get(name), "member", None)
        if items is not None and items.type_name == "structure" and not all(isinstance(item, dict) for item in value):
            raise TypeError(f"an item of {name} is no dict")  # skipped, it would read as absent
    if result and result not in answer and client.meta.service_model.service_name not in _LEAVE_OUT_EMPTY:
        raise KeyError(result)
    return answer


def _retry_throttled(make: Any) -> Any:
    """Retry throttling that botocore does not recognise."""
    for attempt in range(READ_ATTEMPTS):
        try:
            return make()
        except failures.ClientError as error:
            if error_code(error) not in _NOT_RETRIED_BY_BOTOCORE or attempt == READ_ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0.05, 0.1) * 2**attempt)
    raise AssertionError("unreachable")


def explain(error: BaseException, service: str, operation: str, region: str) -> DrError:
    """Convert an error of boto3 to CredentialsError, UnansweredError, or AwsCallError with its request id.

    What `error` itself quotes of a secret is withheld from it, too: it becomes the cause of what is returned.
    """
    where = f"{service} {operation} in {region}"
    if isinstance(error, DrError):
        return error
    place = _place(error)
    withhold(error)
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
        return UnansweredError(f"{where}: no answer; {error}.")
    if isinstance(error, _NO_ANSWER):
        return UnansweredError(f"{where}: no answer ({type(error).__name__}).")
    if isinstance(error, failures.ClientError):
        return _explain_answer(error, where)
    if isinstance(error, failures.BotoCoreError):
        return AwsCallError(f"{where} failed: {type(error).__name__}: {error}")
    # Not its text: that may quote the answer, and the answer may be a secret.
    return AwsCallError(
        f"{where}: the answer cannot be understood ({type(error).__name__}{place}). Look at the resource in the console, "
        "then run again."
    )


def is_answer(error: BaseException) -> bool:
    """False for what no AWS document foresees: an answer in another shape, or a bug of ours."""
    return isinstance(error, (DrError, RegionDarkError, failures.ClientError, failures.BotoCoreError))


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _explain_answer(error: failures.ClientError, where: str) -> DrError:
    code = error_code(error)
    meta: Any = error.response.get("ResponseMetadata", {})
    message = error.response.get("Error", {}).get("Message", "")
    tail = f"{code} (request id {meta.get('RequestId') or 'none'})"
    if code in _CREDENTIALS:
        return CredentialsError(
            f"AWS refused the credentials at {where}: {tail}: {message}. Sign in again or correct them."
        )
    if code in _DENIED:
        return AwsCallError(f"{where} is not permitted: {tail}: {message}. Grant what `dr permissions` prints.")
    after = f"{where}: {tail} after {meta.get('RetryAttempts', 0)} retries: {message}"
    became = fate(error)
    if became == "throttled":
        return ThrottledError(after)
    if became == "unknown":
        return UnansweredError(after)
    return AwsCallError(f"{where} failed: {tail}: {message}")


def _revealed(value: Any, reads: AwsReads, secrets: list[Secret]) -> Any:
    """The parameters with every `Sensitive` revealed; adds what was revealed, and the password in a revealed document, to `secrets`."""
    if isinstance(value, Sensitive):
        revealed = value.reveal(reads)
        secrets.append(Secret(str(revealed)))
        with suppress(DocumentError):
            document = parse(str(revealed))
            if isinstance(document, dict) and isinstance(document.get("password"), str):
                secrets.append(Secret(document["password"]))
        return revealed
    if isinstance(value, dict) or hasattr(value, "items"):
        return {key: _revealed(item, reads, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revealed(item, reads, secrets) for item in value]
    return value
