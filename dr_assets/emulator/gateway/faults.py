"""Faults on demand: which request is refused, delayed or never answered, in the error format of each AWS protocol. No I/O.

The gateway applies what is decided here.
"""

import json
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args
from urllib.parse import parse_qsl, urlencode

from dr_assets.emulator.gateway.wire import Answer, Call, error_answer

Mode = Literal["dark", "slow", "throttle", "error", "error-after", "lost-after", "garbled", "ignored"]
_REFUSED: tuple[Mode, ...] = ("throttle", "error")

# How each service throttles.
_THROTTLES: dict[str, tuple[int, str]] = {
    "s3": (503, "SlowDown"),
    "ec2": (503, "RequestLimitExceeded"),
    "rds": (400, "Throttling"),
    "route53": (400, "Throttling"),
    "iam": (400, "Throttling"),
    "sns": (400, "Throttled"),
    "sqs": (400, "RequestThrottled"),
    "cloudwatch": (400, "Throttling"),
}
# How each service reports an internal failure.
_FAILURES: dict[str, tuple[int, str]] = {
    "s3": (500, "InternalError"),
    "ec2": (500, "InternalError"),
    "sns": (500, "InternalError"),
    "sqs": (500, "InternalError"),
    "cloudwatch": (500, "InternalServiceFault"),
    "kms": (500, "KMSInternalException"),
    "secretsmanager": (500, "InternalServiceError"),
    "logs": (503, "ServiceUnavailableException"),
}


# What a load balancer or a captive proxy puts in place of an answer.
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_TEXTS = ("region", "service", "operation", "code", "message", "parameter")


@dataclass
class Fault:
    """One rule.

    Attributes:
        mode: `dark` = accepted and never answered; `slow` = answered after `seconds`; `throttle` and `error` = refused
            in the service's own protocol, without being executed; `error-after` = executed, then answered with an error;
            `lost-after` = executed, then the connection is dropped without an answer; `garbled` = executed, then answered
            with `status` (default 200) and `message` (default an HTML page) as the body; `ignored` = executed as if
            `parameter` had not been given (AWS takes it and does not apply it; query and JSON protocols only).
        region / service / operation: what it applies to (boto3 names; `None` = any).
        rate: share of the matching requests it hits, 0 to 1.
        times: how many requests it hits before it ends by itself (`None` = no limit).
        seconds: delay of `slow`; how long `dark` holds at most (0 = the server's cap).
        seed: makes `rate` repeatable.
        code / message / status: error code, text and HTTP status in place of the service's usual ones; with both a code and
            a message the status is 400 unless given.
    """

    mode: Mode
    region: str | None = None
    service: str | None = None
    operation: str | None = None
    rate: float = 1.0
    times: int | None = None
    seconds: float = 0.0
    seed: int = 0
    code: str | None = None
    message: str | None = None
    status: int | None = None
    parameter: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @classmethod
    def parse(cls, data: Mapping[str, object]) -> "Fault":
        """A fault from its JSON. ValueError names the bad key."""
        known = {"mode", "rate", "times", "seconds", "seed", "status", *_TEXTS}
        if unknown := set(data) - known:
            raise ValueError(f"unknown keys {sorted(unknown)}; known are {sorted(known)}")
        if data.get("mode") not in get_args(Mode):
            raise ValueError(f"mode must be one of {list(get_args(Mode))}, not {data.get('mode')!r}")
        if (data["mode"] == "ignored") != (data.get("parameter") is not None):
            raise ValueError("parameter goes with mode 'ignored', and with no other")
        rate = _number(data, "rate", 1.0)
        if rate > 1:
            raise ValueError("rate must lie between 0 and 1")
        whole: dict[str, int | None] = {}
        for key, least in (("times", 1), ("status", 200)):
            value = whole[key] = cast("int | None", data.get(key))
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ValueError(f"{key} must be a whole number of at least {least}, not {value!r}")

        def text(key: str) -> str | None:
            value = data.get(key)
            return None if value is None else str(value)

        return cls(
            cast(Mode, data["mode"]),
            region=text("region"),
            service=text("service"),
            operation=text("operation"),
            rate=rate,
            times=whole["times"],
            seconds=_number(data, "seconds", 0.0),
            seed=int(cast(int, data.get("seed") or 0)),
            code=text("code"),
            message=text("message"),
            status=whole["status"],
            parameter=text("parameter"),
        )

    def hits(self, call: Call) -> bool:
        """Whether this request is hit; counts it then. Draws from the seeded sequence only for requests that match."""
        for wanted, got in ((self.region, call.region), (self.service, call.service), (self.operation, call.operation)):
            if wanted is not None and wanted != got:
                return False
        if self.times == 0 or (self.rate < 1.0 and self._random.random() >= self.rate):
            return False
        if self.times is not None:
            self.times -= 1
        return True

    @property
    def refuses(self) -> bool:
        """Whether the request is answered without being executed."""
        return self.mode in _REFUSED

    def request(self, body: bytes, call: Call) -> bytes:
        """The request's body as it is executed: without `parameter` where that is ignored."""
        if self.parameter is None:
            return body
        if call.protocol == "json":
            return json.dumps({key: value for key, value in json.loads(body).items() if key != self.parameter}).encode()
        pairs = parse_qsl(body.decode(), keep_blank_values=True)
        return urlencode([pair for pair in pairs if pair[0].split(".")[0] != self.parameter]).encode()

    def answer(self, call: Call) -> Answer | None:
        """The answer in place of the service's own; None where the service's own is given."""
        if self.mode == "throttle":
            status, code = _THROTTLES.get(call.service, (400, "ThrottlingException"))
            return error_answer(call, self.status or status, self.code or code, self.message or "Rate exceeded")
        if self.mode in ("error", "error-after"):
            status, code = _FAILURES.get(call.service, (500, "InternalFailure"))
            message = "The request processing has failed because of an unknown error, exception or failure."
            status = self.status or (400 if self.code and self.message else status)
            return error_answer(call, status, self.code or code, self.message or message)
        if self.mode == "garbled":
            body = _HTML if self.message is None else self.message
            return Answer(self.status or 200, [("Content-Type", "text/html")], body.encode())
        return None

    def describe(self) -> dict[str, object]:
        """The fault as JSON; `times` is what is left."""
        keys = ("id", "mode", "rate", "times", "seconds", "seed", "status", *_TEXTS)
        return {key: getattr(self, key) for key in keys}


def _number(data: Mapping[str, object], key: str, default: float) -> float:
    value = data.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{key} must be a number that is not negative, not {value!r}")
    return float(value)
