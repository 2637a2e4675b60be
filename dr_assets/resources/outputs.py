"""The outputs of the stack for other systems: flat, with the names of Terraform's outputs. Pure data."""

from __future__ import annotations

from collections.abc import Mapping

from dr_assets.core.expressions import Ref
from dr_assets.stack import SITES


def outputs() -> Mapping[str, Ref]:
    """Name -> where its value is observed."""
    found: dict[str, Ref] = {
        "global_cluster_id": Ref("global/aurora/global-cluster", "GlobalClusterIdentifier"),
        "global_writer_endpoint": Ref("global/aurora/global-cluster", "Endpoint"),
    }
    for site in SITES:
        found |= {
            f"{site}_cluster_endpoint": Ref(f"{site}/aurora/cluster", "Endpoint"),
            f"{site}_cluster_reader_endpoint": Ref(f"{site}/aurora/cluster", "ReaderEndpoint"),
            f"{site}_backup_bucket": Ref(f"{site}/backup/bucket", "Name"),
            f"{site}_secret_arn": Ref(f"{site}/credentials/secret", "Arn"),
            f"{site}_sns_topic_arn": Ref(f"{site}/notifications/topic", "Arn"),
            f"{site}_kms_key_id": Ref(f"{site}/encryption/data-key", "KeyId"),
            f"{site}_health_check_id": Ref(f"{site}/dns/health-check", "HealthCheckId"),
            f"{site}_event_queue_url": Ref(f"{site}/notifications/queue", "QueueUrl"),
        }
    return found
