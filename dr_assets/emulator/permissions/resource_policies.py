"""The policies of resources by ARN: KMS keys, buckets, topics, queues, secrets, and the trust policies of roles."""

import json
from dataclasses import dataclass
from typing import Any

from dr_assets.emulator.permissions.principals import role_by_arn
from dr_assets.emulator.permissions.state import backend
from dr_assets.emulator.policies.documents import Document, parse
from dr_assets.emulator.policies.evaluation import Need


@dataclass(frozen=True)
class ResourcePolicy:
    """The policies of one resource, how much they decide, and what AWS's messages call them."""

    documents: tuple[Document, ...] = ()
    need: Need = "either"
    name: str = "resource-based policy"


_NONE = ResourcePolicy()
# The services whose resources have policies.
SERVICES = frozenset({"kms", "s3", "sns", "sqs", "secretsmanager", "sts"})


def of_resource(action: str, arn: str) -> ResourcePolicy:
    """The policy that concerns an action on a resource; none for a resource that does not exist."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return _NONE
    _, _, service, region, _, name = parts
    if service == "kms":
        key = kms_key(region, name)
        return _NONE if key is None else _policy(key.policy, need="required")
    if service == "s3":
        bucket = backend("s3").buckets.get(name.split("/")[0])
        return _policy(getattr(bucket, "policy", None))
    if service == "sns":
        topic = backend("sns", region).topics.get(arn)
        return _policy(getattr(topic, "policy", None))
    if service == "sqs":
        queue = backend("sqs", region).queues.get(name)
        return _policy(getattr(queue, "policy", None))
    if service == "secretsmanager":
        return _policy(getattr(secret(region, arn), "policy", None))
    if service == "iam" and action.lower() == "sts:assumerole":
        role = role_by_arn(arn)
        trust = getattr(role, "assume_role_policy_document", None)
        return _policy(trust, need="required", name="role trust policy") if trust else ResourcePolicy(need="required")
    return _NONE


def _policy(text: Any, need: Need = "either", name: str = "resource-based policy") -> ResourcePolicy:
    if not text:
        return ResourcePolicy(need=need, name=name)
    plain = text.decode() if isinstance(text, bytes) else text if isinstance(text, str) else json.dumps(text)
    return ResourcePolicy((parse(plain),), need, name)


def kms_key(region: str, identifier: str) -> Any:
    """moto's key by id, `key/…`, ARN, alias or alias ARN, or `None`."""
    if identifier.startswith("arn:"):
        region, identifier = identifier.split(":")[3], identifier.split(":", 5)[-1]
    if identifier.startswith("alias/"):
        identifier = backend("kms", region).get_key_id_from_alias(identifier) or ""
    return backend("kms", region).keys.get(identifier.rsplit("/", 1)[-1])


def key_error(region: str, identifier: Any) -> str | None:
    """KMS's error code for the use of a key in its present state; `None` where it can be used, or no key is named.

    AWS's own keys (`alias/aws/…`) can always be used, and are made when they are first needed.
    Source: KMS developer guide, "Key states of AWS KMS keys".
    """
    if not identifier or "alias/aws/" in str(identifier):
        return None
    key = kms_key(region, str(identifier))
    state = None if key is None else key.key_state
    return _KEY_ERRORS.get(str(state), "KMSInvalidStateException")


_KEY_ERRORS = {"Enabled": None, "Disabled": "DisabledException", "None": "NotFoundException"}


def secret(region: str, identifier: str) -> Any:
    """moto's secret by name, ARN or ARN without the random suffix, or `None`."""
    for found in list(backend("secretsmanager", region).secrets.values()):
        whole = str(found.arn)
        if identifier in (found.name, whole, whole.rsplit("-", 1)[0]):
            return found
    return None
