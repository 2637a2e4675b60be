"""SQS extension of moto: SetQueueAttributes changes only the given attributes and keeps their text."""

import json
from typing import Any

from moto.sqs import urls
from moto.sqs.exceptions import InvalidAttributeValue, SQSException
from moto.sqs.models import SQSBackend, sqs_backends

from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.permissions.principals import invalid_principal
from dr_assets.emulator.permissions.resource_policies import key_error


class DrSqsBackend(Extended, SQSBackend):  # type: ignore[misc]
    """A queue keeps its policy when something else is set."""

    def create_queue(self, name: str, tags: dict[str, str] | None = None, **kwargs: Any) -> Any:
        """moto: takes a policy whose principals do not exist."""
        _check_principals(kwargs.get("Policy"))
        return super().create_queue(name, tags, **kwargs)

    def set_queue_attributes(self, queue_name: str, attributes: dict[str, Any]) -> Any:
        """moto: drops the policy whenever attributes are set without it."""
        _check_principals(attributes.get("Policy"))
        queue = self.get_queue(queue_name)
        if "Policy" not in attributes and queue.policy:
            attributes = {**attributes, "Policy": queue.policy}
        return super().set_queue_attributes(queue_name, attributes)

    def send_message(self, queue_name: str, *args: Any, **kwargs: Any) -> Any:
        """Refused while the queue's key cannot be used."""
        self._use_key(queue_name)
        return super().send_message(queue_name, *args, **kwargs)

    def receive_message(self, queue_name: str, *args: Any, **kwargs: Any) -> Any:
        """Refused while the queue's key cannot be used."""
        self._use_key(queue_name)
        return super().receive_message(queue_name, *args, **kwargs)

    def _use_key(self, queue_name: str) -> None:
        """SQS API, SendMessage and ReceiveMessage: errors. AWS may go on for KmsDataKeyReusePeriodSeconds; here it never does."""
        key_id = getattr(self.get_queue(queue_name), "kms_master_key_id", None)
        if error := key_error(self.region_name, key_id):
            raise SQSException(f"KMS.{error.removeprefix('KMS')}", f"{key_id}: {error}")

    def get_queue_attributes(self, queue_name: str, attribute_names: list[str]) -> dict[str, Any]:
        """moto: answers the redrive policy with blanks, so that Terraform wants to write it again and again."""
        found: dict[str, Any] = super().get_queue_attributes(queue_name, attribute_names)
        if text := found.get("RedrivePolicy"):
            found = {**found, "RedrivePolicy": json.dumps(json.loads(text), separators=(",", ":"))}
        return found


def _check_principals(policy: str | None) -> None:
    """SQS refuses principals that do not exist (aws-cdk#15602)."""
    if invalid_principal(policy):
        raise InvalidAttributeValue("Policy")


EXTENSION = Extension(backends=sqs_backends, backend=DrSqsBackend, urls=urls)
