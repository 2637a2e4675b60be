"""Statuses of Aurora clusters and instances: ready, transitional or failed; and their console link."""

from __future__ import annotations

from collections.abc import Iterable

from dr_assets.core.model import Observed
from dr_assets.errors import RefusedError

# In these states a cluster or instance can be used and changed.
READY = frozenset({"available", "backing-up", "storage-optimization"})
# These do not pass by waiting: an operator has to act (RDS and Aurora user guides, "Viewing DB cluster / instance status").
# They show as a drift of `Condition`, which nothing here can heal, and they do not block deletion.
_BROKEN = frozenset(
    {
        "cloning-failed",
        "failed",
        "inaccessible-encryption-credentials",
        "inaccessible-encryption-credentials-recoverable",
        "incompatible-create",
        "incompatible-network",
        "incompatible-option-group",
        "incompatible-parameters",
        "incompatible-restore",
        "insufficient-capacity",
        "migration-failed",
        "restore-error",
        "stopped",
        "storage-full",
        "unsupported-configuration",
    }
)
USABLE = "usable"
# Of a parameter group at an instance (RDS API, DBParameterGroupStatus). `applying` passes by waiting, the others do not.
IN_SYNC, APPLYING = "in-sync", "applying"
# Members of PendingModifiedValues whose change interrupts nothing when it is applied (RDS API, ClusterPendingModifiedValues). Every other
# one counts as an interruption: "if you modify the DB instance class, an outage occurs during the change" (RDS API, ModifyDBInstance).
_HARMLESS = frozenset({"BackupRetentionPeriod", "IAMDatabaseAuthenticationEnabled", "MasterUserPassword"})
# "These log types are in the process of being activated or deactivated" (RDS API, PendingCloudwatchLogsExports): passes by waiting.
_UNDER_WAY = "PendingCloudwatchLogsExports"
WINDOW = (
    "these changes were made without ApplyImmediately and wait for the maintenance window. Apply them now with aws rds {operation} "
    "--apply-immediately and the same values (a new instance class, port or engine version interrupts connections), or set the value back the "
    "same way to withdraw them. They are never applied for you where that would interrupt connections."
)
REBOOT = (
    "Parameters that take effect with a restart wait for it (aws rds reboot-db-instance). Reboot the site's readers one at a time, "
    "then its writer, which interrupts writes for some seconds. Nothing is rebooted for you. failed-to-apply: correct the group's values first."
)
CONSOLE = "https://{region}.console.aws.amazon.com/rds/home?region={region}#database:id={name}"
# Create and modify calls are checked against the option group too, which is the default one here.
OPTION_GROUPS = "rds:{region}:{account}:og:*"


def condition(status: str) -> str:
    return status if status in _BROKEN else USABLE


def waiting(what: str, observed: Observed) -> str | None:
    if observed["Status"] in _BROKEN:
        return None
    if observed["Status"] not in READY:
        return f"the {what} is {observed['Status']}"
    if _UNDER_WAY in observed.get("Pending", ()):
        return f"the {what} has changes pending: {_UNDER_WAY}"
    return None


def apply_immediately(changed: Iterable[str], observed: Observed, in_window: frozenset[str]) -> tuple[list[str], bool]:
    """Which of the `changed` fields to modify now, and whether with ApplyImmediately.

    That applies "the modifications in this request and any pending modifications" (RDS API, ModifyDBInstance): while one of
    those would interrupt connections, only fields are changed that RDS changes at once without it, all but `in_window`.

    Raises RefusedError where only fields of `in_window` are left.
    """
    fields = sorted(changed)
    interrupting = [name for name in observed["Pending"] if name not in _HARMLESS]
    if not interrupting:
        return fields, True
    now = [name for name in fields if name not in in_window]
    if not now:
        raise RefusedError(
            f"{', '.join(fields)} cannot be corrected yet: ApplyImmediately would also apply what waits for the maintenance window "
            f"({', '.join(interrupting)}) and interrupt connections. Apply or withdraw that first, then run again."
        )
    return now, False
