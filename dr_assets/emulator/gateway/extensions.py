"""Which moto backends are extended, and how they are put in place.

Imports moto. An extension replaces the backend class in moto's `BackendDict` before its first use and gives that backend
URL paths of its own, so upstream modules stay untouched and every caller inside moto meets the extended backend too.
"""

import importlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.moto_server.werkzeug_app import create_backend_app

from dr_assets.emulator.gateway.wire import Answer, Call

# What a stack uses, in the order in which it is usually called.
SERVICES = ("sts", "kms", "iam", "ec2", "s3", "sns", "sqs", "logs", "secretsmanager", "rds", "cloudwatch", "route53")

_installed: set[str] = set()
_install_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


# Service -> (moto's module, its BackendDict, our module, our backend class). All by name, so that a service is imported
# when it is first called and not before.
_EXTENSIONS: dict[str, tuple[str, str, str, str]] = {
    "rds": ("moto.rds.models", "rds_backends", "rds.backend", "AuroraBackend"),
    "ec2": ("moto.ec2.models", "ec2_backends", "ec2", "DrEc2Backend"),
    "route53": ("moto.route53.models", "route53_backends", "route53.backend", "DrRoute53Backend"),
    "kms": ("moto.kms.models", "kms_backends", "kms", "DrKmsBackend"),
    "sns": ("moto.sns.models", "sns_backends", "sns", "DrSnsBackend"),
    "sqs": ("moto.sqs.models", "sqs_backends", "sqs", "DrSqsBackend"),
    "cloudwatch": ("moto.cloudwatch.models", "cloudwatch_backends", "cloudwatch.backend", "DrCloudWatchBackend"),
    "secretsmanager": ("moto.secretsmanager.models", "secretsmanager_backends", "secretsmanager", "DrSecretsBackend"),
    "s3": ("moto.s3.models", "s3_backends", "s3.backend", "DrS3Backend"),
}
# Services that look into another's state: that one's extension must be in place before them.
_NEEDS = {
    "rds": ("ec2", "kms", "secretsmanager", "sns"),
    "route53": ("ec2", "cloudwatch"),
    "cloudwatch": ("sns",),
    "sns": ("sqs",),
    "s3": ("kms",),
    "resourcegroupstaggingapi": tuple(_EXTENSIONS),
}


def install(service: str) -> None:
    """Put the extension of one service in place (once)."""
    with _install_locks[service]:
        if service not in _installed:
            if service in _EXTENSIONS:
                moto_module, backends, module, backend = _EXTENSIONS[service]
                extended = getattr(importlib.import_module(f"dr_assets.emulator.{module}"), backend)
                registry = getattr(importlib.import_module(moto_module), backends)
                registry.backend = extended
                registry.clear()  # whatever another service has made by peeking is empty, and not extended
            _installed.add(service)


# Services through which one can see that time has passed: alarms, their messages, health checks, replicas.
_TELLING = frozenset({"cloudwatch", "sqs", "route53", "s3"})


def create_app(service: Any) -> Any:
    """A Flask application for one service, extended where needed: what moto's dispatcher asks for."""
    for name in (*_NEEDS.get(service, ()), service):
        install(name)
    app = create_backend_app(service)
    if service in _TELLING:
        app.before_request(pass_time)
    return app


_darkness: list[Callable[[str], bool]] = []


def attach_faults(region_dark: Callable[[str], bool]) -> None:
    """Say who knows which regions do not answer: the gateway of this process."""
    _darkness[:] = [region_dark]


def dark(region: str) -> bool:
    """Whether nothing in a region answers."""
    return any(region_dark(region) for region_dark in _darkness)


def pass_time(all_of_them: bool = False) -> None:
    """Evaluate alarms that are due, let health checks look, copy objects: called before requests that could tell.

    Whoever calls has the gateway's lock. Nothing here waits, and while nothing is due it costs three comparisons.
    """
    now = time.time()
    if "cloudwatch" in _installed:
        importlib.import_module("dr_assets.emulator.cloudwatch.backend").watch.pass_time(now, all_of_them)
    if "route53" in _installed:
        importlib.import_module("dr_assets.emulator.route53.backend").rounds.pass_time(now, all_of_them)
    if "s3" in _installed:
        importlib.import_module("dr_assets.emulator.s3.replication").replicator.pass_time()


def alarms_control(data: dict[str, Any]) -> dict[str, Any]:
    """Set the `pace` of alarms and health checks, `evaluate` all of them now. ValueError names what is wrong."""
    if unknown := set(data) - {"pace", "evaluate"}:
        raise ValueError(f"unknown keys {sorted(unknown)}; known are ['evaluate', 'pace']")
    install("cloudwatch")
    watch = importlib.import_module("dr_assets.emulator.cloudwatch.backend").watch
    if data.get("pace") is not None:
        watch.set_pace(float(data["pace"]))
        if "route53" in _installed:
            importlib.import_module("dr_assets.emulator.route53.backend").rounds.reset()
    if data.get("evaluate"):
        pass_time(all_of_them=True)
    return {"pace": watch.pace}


def zone_record(name: str, kind: str) -> Any:
    """What the hosted zones answer for a name (`health.Answer`), or `None`."""
    return (
        importlib.import_module("dr_assets.emulator.route53.backend").resolve(name, kind)
        if "route53" in _installed
        else None
    )


def settle() -> None:
    """Let time pass for RDS, as every request to it does, and for whatever else goes on by itself."""
    pass_time()
    if "rds" in _installed:
        from moto.rds.models import rds_backends

        for account in list(rds_backends):
            for backend in list(rds_backends[account].values()):
                backend.settle()


def publish(region: str, cluster: str, metrics: dict[str, float]) -> None:
    """AWS's own metrics of a cluster, in every account that has such a cluster in that region."""
    from moto.cloudwatch.models import cloudwatch_backends
    from moto.rds.models import rds_backends

    install("cloudwatch")
    for account in list(rds_backends):
        if cluster in rds_backends[account][region].clusters:
            cloudwatch_backends[account][region].publish("AWS/RDS", ("DBClusterIdentifier", cluster), metrics)


def reset() -> None:
    """Forget every resource in every account and region."""
    BackendDict.reset()
    reset_model_data()
    for service, module, name in (
        ("cloudwatch", "cloudwatch.backend", "watch"),
        ("route53", "route53.backend", "rounds"),
        ("s3", "s3.replication", "replicator"),
    ):
        if service in _installed:
            getattr(importlib.import_module(f"dr_assets.emulator.{module}"), name).reset()


def long_poll(call: Call, body: bytes) -> tuple[float, bytes, Callable[[Answer], bool]] | None:
    """How to answer an SQS long poll from outside the lock: seconds, the body that polls once, and what empty means."""
    if call.service != "sqs" or call.operation != "ReceiveMessage" or call.protocol != "json":
        return None
    try:
        data = json.loads(body)
    except ValueError:
        return None
    seconds = data.get("WaitTimeSeconds") or 0
    data["WaitTimeSeconds"] = 0
    return (
        float(seconds),
        json.dumps(data).encode(),
        lambda answer: answer.status == 200 and b"MessageId" not in answer.body,
    )
