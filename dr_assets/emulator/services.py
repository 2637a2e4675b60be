"""Table of the extended moto services: lazy installation, dependencies, and dispatch of their time and reset hooks.

moto serves every service it knows; only those that are extended, or read another service's state, are in the table. A service is
imported when it is first called, not before.
"""

import importlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.moto_server.werkzeug_app import create_backend_app

from dr_assets.emulator.clock import clock
from dr_assets.emulator.extension import Extension

MAX_PACE = 600.0


@dataclass(frozen=True)
class Service:
    """How the embedded AWS serves one of moto's services.

    Attributes:
        extension: module below `dr_assets.emulator` that exports the service's `EXTENSION`; `None` leaves moto's.
        reads: services whose state it reads; they are extended before it answers.
        shows_time: its answers show that time has passed (alarms, their messages, health checks, replicas).
        warm: imported when the server starts, because every stack uses it.
    """

    extension: str | None = None
    reads: tuple[str, ...] = ()
    shows_time: bool = False
    warm: bool = True


# In the order in which a stack usually calls them. Alarms are evaluated before health checks.
TABLE: dict[str, Service] = {
    "sts": Service("sts", reads=("iam",)),
    "kms": Service("kms"),
    "iam": Service("iam"),
    "ec2": Service("ec2"),
    "s3": Service("s3.backend", reads=("kms",), shows_time=True),
    "sns": Service("sns", reads=("sqs", "kms")),
    "sqs": Service("sqs", reads=("kms",), shows_time=True),
    "logs": Service(),
    "servicequotas": Service("service_quotas", warm=False),
    "secretsmanager": Service("secretsmanager", reads=("kms",)),
    "rds": Service("rds.backend", reads=("ec2", "kms", "logs", "secretsmanager", "sns")),
    "cloudwatch": Service("cloudwatch.backend", reads=("sns",), shows_time=True),
    "route53": Service("route53.backend", reads=("ec2", "cloudwatch"), shows_time=True),
}
# It reads the tags of all.
TABLE["resourcegroupstaggingapi"] = Service(reads=tuple(n for n, s in TABLE.items() if s.extension), warm=False)

_installed: dict[str, Extension] = {}
_install_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def install(service: str) -> None:
    """Put the extension of one service in place (once); nothing for a service without one."""
    module = TABLE.get(service, Service()).extension
    if module is not None:
        with _install_locks[service]:
            if service not in _installed:
                extension: Extension = importlib.import_module(f"dr_assets.emulator.{module}").EXTENSION
                extension.install()
                _installed[service] = extension


def is_installed(service: str) -> bool:
    """Whether the service has been called since the server started, so that its extension is in place."""
    return service in _installed


def create_app(service: Any) -> Any:
    """A Flask application for one service, extended as in the table. moto's dispatcher calls it once for each service."""
    entry = TABLE.get(service, Service())
    for name in (*entry.reads, service):
        install(name)
    app = create_backend_app(service)
    if entry.shows_time:
        app.before_request(pass_time)
    return app


def _extensions() -> Iterator[Extension]:
    return (_installed[name] for name in TABLE if name in _installed)


def pass_time(everything: bool = False) -> None:
    """Evaluate alarms and health checks and replicate objects, where due (or `everything`).

    The caller holds the gateway's lock. Nothing here waits, and while nothing is due it costs three comparisons.
    """
    now = time.time()
    for extension in _extensions():
        if extension.pass_time is not None:
            extension.pass_time(now, everything)


def settle() -> None:
    """`pass_time`, and finish transitions that are over, without a request that would do so."""
    pass_time()
    for extension in _extensions():
        if extension.settle is not None:
            extension.settle()


def set_pace(pace: float) -> None:
    """How many times faster than at AWS the minutes of alarms, metrics and health checks pass. ValueError out of bounds."""
    if not 1 <= pace <= MAX_PACE:
        raise ValueError(f"pace must lie between 1 and {MAX_PACE:g}")
    clock.pace = pace
    for extension in _extensions():
        if extension.pace_changed is not None:
            extension.pace_changed()


def reset() -> None:
    """Forget every resource in every account and region, and the pace."""
    BackendDict.reset()
    reset_model_data()
    clock.reset()
    for extension in _extensions():
        if extension.reset is not None:
            extension.reset()
