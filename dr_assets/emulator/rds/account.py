"""RDS DescribeAccountAttributes: quotas of a region and how much of each is used."""

from typing import Any

from dr_assets.emulator.quotas import limit

# AccountQuota's names (RDS API, AccountQuota) -> code of the quota, the backend's collection that counts.
_COUNTED = {
    "DBClusters": ("L-952B80B8", "clusters"),
    "DBInstances": ("L-7B6409FD", "databases"),
    "DBClusterParameterGroups": ("L-E4C808A8", "db_cluster_parameter_groups"),
    "DBParameterGroups": ("L-DE55804A", "db_parameter_groups"),
    "DBSubnetGroups": ("L-48C6BF61", "subnet_groups"),
    "EventSubscriptions": ("L-A59F4C87", "event_subscriptions"),
}


def account_quotas(backend: Any) -> list[dict[str, Any]]:
    """`AccountQuotas` of one region's backend. moto: not implemented."""
    return [
        {
            "AccountQuotaName": name,
            "Used": len(getattr(backend, held)),
            "Max": int(limit("rds", code, backend.region_name)),
        }
        for name, (code, held) in _COUNTED.items()
    ]
