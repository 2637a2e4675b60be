"""SQS: setting one attribute leaves the others as they are. Imports moto's SQS."""

from typing import Any

from moto.sqs import urls
from moto.sqs.models import SQSBackend

from dr_assets.local.extended import Extended


class DrSqsBackend(Extended, SQSBackend):  # type: ignore[misc]
    """A queue keeps its policy when something else is set."""

    moto_urls = urls

    def set_queue_attributes(self, queue_name: str, attributes: dict[str, Any]) -> Any:
        """moto: drops the policy whenever attributes are set without it."""
        queue = self.get_queue(queue_name)
        if "Policy" not in attributes and queue.policy:
            attributes = {**attributes, "Policy": queue.policy}
        return super().set_queue_attributes(queue_name, attributes)
