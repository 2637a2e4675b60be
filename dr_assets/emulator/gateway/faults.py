"""Faults on demand: which request is refused, delayed or never answered, in the error format of each AWS protocol. No I/O.

The gateway applies what is decided here.
"""

import random
import uuid
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from dr_assets.emulator.gateway.wire import Answer, Call, error_answer

Mode = Literal["dark", "slow", "throttle", "error"]

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


@dataclass
class Fault:
    """One rule.

    Attributes:
        mode: `dark` = accepted and never answered; `slow` = answered after `seconds`; `throttle` and `error` = refused
            in the service's own protocol, without being executed.
        region / service / operation: what it applies to (boto3 names; `None` = any).
        rate: share of the matching requests it hits, 0 to 1.
        seconds: delay of `slow`; how long `dark` holds at most (0 = the server's cap).
        seed: makes `rate` repeatable.
        code: error code instead of the service's usual one.
    """

    mode: Mode
    region: str | None = None
    service: str | None = None
    operation: str | None = None
    rate: float = 1.0
    seconds: float = 0.0
    seed: int = 0
    code: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @classmethod
    def parse(cls, data: dict[str, object]) -> "Fault":
        """A fault from its JSON. ValueError names the bad key."""
        known = {"mode", "region", "service", "operation", "rate", "seconds", "seed", "code"}
        if unknown := set(data) - known:
            raise ValueError(f"unknown keys {sorted(unknown)}; known are {sorted(known)}")
        if data.get("mode") not in get_args(Mode):
            raise ValueError(f"mode must be one of {list(get_args(Mode))}, not {data.get('mode')!r}")
        numbers = {"rate": 1.0, "seconds": 0.0}
        for key in numbers:
            value = data.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"{key} must be a number that is not negative, not {value!r}")
            numbers[key] = float(value)
        if numbers["rate"] > 1:
            raise ValueError("rate must lie between 0 and 1")

        def text(key: str) -> str | None:
            value = data.get(key)
            return None if value is None else str(value)

        return cls(
            cast(Mode, data["mode"]),
            region=text("region"),
            service=text("service"),
            operation=text("operation"),
            rate=numbers["rate"],
            seconds=numbers["seconds"],
            seed=int(cast(int, data.get("seed") or 0)),
            code=text("code"),
        )

    def hits(self, call: Call) -> bool:
        """Whether this request is hit. Draws from the seeded sequence only for requests that match."""
        for wanted, got in ((self.region, call.region), (self.service, call.service), (self.operation, call.operation)):
            if wanted is not None and wanted != got:
                return False
        return self.rate >= 1.0 or self._random.random() < self.rate

    def refusal(self, call: Call) -> Answer:
        """The answer of `throttle` and `error`."""
        if self.mode == "throttle":
            status, code = _THROTTLES.get(call.service, (400, "ThrottlingException"))
            message = "Rate exceeded"
        else:
            status, code = _FAILURES.get(call.service, (500, "InternalFailure"))
            message = "The request processing has failed because of an unknown error, exception or failure."
        return error_answer(call, status, self.code or code, message)

    def describe(self) -> dict[str, object]:
        """The fault as JSON."""
        keys = ("id", "mode", "region", "service", "operation", "rate", "seconds", "seed", "code")
        return {key: getattr(self, key) for key in keys}
