"""SNS extension of moto: e-mail subscriptions stay pending until confirmed; queues receive what their policies let SNS send."""

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.sns import urls
from moto.sns.exceptions import SNSException, SNSInvalidParameter
from moto.sns.models import SNSBackend, sns_backends
from moto.sns.responses import SNSResponse

from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.permissions import may_publish
from dr_assets.emulator.permissions.principals import invalid_principal
from dr_assets.emulator.permissions.resource_policies import key_error

# KMS's error code -> that of SNS (botocore's service model).
_KEY_ERRORS = {
    "DisabledException": "KMSDisabled",
    "KMSInvalidStateException": "KMSInvalidState",
    "NotFoundException": "KMSNotFound",
}
_CONFIRMED_BY_HAND = frozenset({"email", "email-json", "http", "https"})


class DrSnsBackend(Extended, SNSBackend):  # type: ignore[misc]
    """E-mail subscriptions wait for their confirmation; raw delivery `false` is false."""

    def create_topic(self, name: str, attributes: dict[str, str] | None = None, *args: Any, **kwargs: Any) -> Any:
        """moto: takes a policy whose principals do not exist."""
        _check_principals((attributes or {}).get("Policy"))
        return super().create_topic(name, attributes, *args, **kwargs)

    def set_topic_attribute(self, topic_arn: str, attribute_name: str, attribute_value: str) -> None:
        """moto: takes a policy whose principals do not exist."""
        if attribute_name == "policy":
            _check_principals(attribute_value)
        super().set_topic_attribute(topic_arn, attribute_name, attribute_value)

    def subscribe(self, topic_arn: str, endpoint: str, protocol: str) -> Any:
        """moto: every subscription is confirmed at once."""
        subscription = super().subscribe(topic_arn, endpoint, protocol)
        if protocol in _CONFIRMED_BY_HAND:
            subscription.attributes.update(PendingConfirmation=True, ConfirmationWasAuthenticated=False)
            # Nothing is delivered before it is confirmed. moto: posts to the endpoint, and waits for its answer meanwhile.
            subscription.publish = lambda *_message, **_more: None
        if protocol == "sqs":
            subscription.publish = _if_permitted(subscription.publish, endpoint, topic_arn)
        return subscription

    def publish(self, message: str, arn: str | None, *args: Any, **kwargs: Any) -> str:
        """Refused while the topic's key cannot be used (SNS API, Publish: errors)."""
        self._use_key(arn)
        return super().publish(message, arn, *args, **kwargs)  # type: ignore[no-any-return]

    def publish_batch(self, topic_arn: str, *args: Any, **kwargs: Any) -> Any:
        """Refused as a whole, as PublishBatch lists the key's errors. moto: answers with neither success nor failure."""
        self._use_key(topic_arn)
        return super().publish_batch(topic_arn, *args, **kwargs)

    def _use_key(self, arn: str | None) -> None:
        key_id = getattr(self.topics.get(arn), "kms_master_key_id", None)
        if error := key_error(self.region_name, key_id):
            raise SNSException(_KEY_ERRORS[error], f"{key_id}: {error}")

    def set_subscription_attributes(self, arn: str, name: str, value: Any) -> None:
        """moto: keeps the text `false`, which counts as true when it delivers."""
        if name == "RawMessageDelivery":
            value = str(value).lower() == "true"
        super().set_subscription_attributes(arn, name, value)


def _check_principals(policy: str | None) -> None:
    """SNS refuses principals that do not exist (terraform-provider-aws#26041)."""
    if invalid_principal(policy):
        raise SNSInvalidParameter("Invalid parameter: Policy Error: PrincipalNotFound")


def _if_permitted(publish: Callable[..., None], queue: str, topic: str) -> Callable[..., None]:
    """Send unless the queue's policy, or that of its key, does not let SNS: then the message is lost. moto: always sends."""

    def send(*message: Any, **more: Any) -> None:
        if may_publish("sns.amazonaws.com", queue, topic) is None:
            publish(*message, **more)

    return send


class _Listed:
    """A subscription as lists show it: without an ARN until it is confirmed."""

    def __init__(self, subscription: Any) -> None:
        self.topic_arn, self.endpoint = subscription.topic_arn, subscription.endpoint
        self.protocol, self.owner = subscription.protocol, subscription.owner
        pending = subscription.attributes.get("PendingConfirmation") is True
        self.subscription_arn = "PendingConfirmation" if pending else subscription.arn


class DrSnsResponse(SNSResponse):  # type: ignore[misc]
    """The SNS API."""

    def subscribe(self) -> ActionResult:
        """`pending confirmation` instead of an ARN, unless the caller asks for the ARN."""
        result = super().subscribe()
        arn = result.result["SubscriptionArn"]
        pending = self.backend.subscriptions[arn].attributes.get("PendingConfirmation") is True
        if pending and not self._get_bool_param("ReturnSubscriptionArn", False):
            return ActionResult({"SubscriptionArn": "pending confirmation"})
        return result

    def list_subscriptions(self) -> ActionResult:
        """moto: shows an ARN also before the confirmation."""
        return self._listed(super().list_subscriptions())

    def list_subscriptions_by_topic(self) -> ActionResult:
        """moto: shows an ARN also before the confirmation."""
        return self._listed(super().list_subscriptions_by_topic())

    @staticmethod
    def _listed(result: ActionResult) -> ActionResult:
        shown: dict[str, Any] = dict(result.result)  # type: ignore[call-overload]
        return ActionResult({**shown, "Subscriptions": [_Listed(item) for item in shown["Subscriptions"]]})


EXTENSION = Extension(backends=sns_backends, backend=DrSnsBackend, urls=urls, responses=DrSnsResponse)
