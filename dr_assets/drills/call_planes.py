"""Classify AWS calls as control plane or data plane, and find those that a recovery must not depend on.

Source: AWS Fault Isolation Boundaries, "Control planes and data planes" and the appendices on global services. The control
planes of Route 53 and IAM live in us-east-1 alone; a recovery that calls them depends on that region.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Plane = Literal["control", "data"]

# Data-plane operations of the services in use; every other operation changes or lists configuration.
_DATA: dict[str, frozenset[str]] = {
    "secretsmanager": frozenset({"get_secret_value"}),
    "cloudwatch": frozenset({"get_metric_data", "put_metric_data"}),
    "sns": frozenset({"publish"}),
    "sqs": frozenset({"receive_message", "delete_message", "delete_message_batch", "send_message"}),
    "s3": frozenset({"get_object", "put_object", "head_object", "list_objects_v2", "delete_object"}),
    "sts": frozenset({"get_caller_identity", "assume_role"}),
}
# Services with one control plane for all regions.
GLOBAL_CONTROL = frozenset({"route53", "iam"})


def plane_of(service: str, operation: str) -> Plane:
    """The plane of a boto3 operation (snake case)."""
    return "data" if operation in _DATA.get(service, frozenset()) else "control"


def forbidden_in_recovery(calls: Iterable[tuple[str, str, str]], failed_region: str) -> list[str]:
    """Of (service, operation, region), those that a recovery from the loss of `failed_region` may not contain."""
    found = set()
    for service, operation, region in calls:
        if service in GLOBAL_CONTROL and plane_of(service, operation) == "control":
            found.add(f"{service} {operation}: its control plane lives in us-east-1 alone")
        elif region == failed_region:
            found.add(f"{service} {operation} in {region}, the failed region")
    return sorted(found)
