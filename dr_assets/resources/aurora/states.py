"""Statuses of Aurora clusters and instances: ready, transitional or failed; and their console link."""

from __future__ import annotations

from dr_assets.core.model import Observed

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
REBOOT = (
    "Parameters that take effect with a restart wait for it (aws rds reboot-db-instance). Reboot the site's readers one at a time, "
    "then its writer, which interrupts writes for some seconds. Nothing is rebooted for you."
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
    if observed.get("Pending"):
        # At once, or in the maintenance window where a change came without ApplyImmediately.
        return f"the {what} has changes pending: {', '.join(observed['Pending'])}"
    return None
