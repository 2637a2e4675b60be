"""SQS extension of moto: SetQueueAttributes changes only the given attributes and keeps their text."""

import json
from typing import Any

from moto.sqs import urls
from moto.sqs.models import SQSBackend, sqs_backends

from dr_assets.emulator.extension import Extended, Extension


class DrSqsBackend(Extended, SQSBackend):  # type: ignore[misc]
    """A queue keeps its policy when something else is set."""

    def set_queue_attributes(self, queue_name: str, attributes: dict[str, Any]) -> Any:
        """moto: drops the policy whenever attributes are set without it."""
        queue = self.get_queue(queue_name)
        if "Policy" not in attributes and queue.policy:
            attributes = {**attributes, "Policy": queue.policy}
        return super().set_queue_attributes(queue_name, attributes)

    def get_queue_attributes(self, queue_name: str, attribute_names: list[str]) -> dict[str, Any]:
        """moto: answers the redrive policy with blanks, so that Terraform wants to write it again and again."""
        found: dict[str, Any] = super().get_queue_attributes(queue_name, attribute_names)
        if text := found.get("RedrivePolicy"):
            found = {**found, "RedrivePolicy": json.dumps(json.loads(text), separators=(",", ":"))}
        return found


EXTENSION = Extension(backends=sqs_backends, backend=DrSqsBackend, urls=urls)
