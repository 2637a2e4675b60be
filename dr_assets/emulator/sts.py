"""STS extension of moto: GetCallerIdentity answers with the root's own ARN for a key that nobody has.

Whether the caller and the role's trust policy allow AssumeRole is checked before it, as for every call.
"""

from typing import Any

from moto.sts import urls
from moto.sts.models import STSBackend, sts_backends

from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.permissions import principals


class DrStsBackend(Extended, STSBackend):  # type: ignore[misc]
    """STS of one account."""

    def get_caller_identity(self, access_key_id: str, region: str) -> Any:
        """moto: a user by the name of moto for a key that nobody has."""
        known = principals.by_access_key(access_key_id)
        if known is not None:
            return known.user_id, known.caller.arn, known.caller.account
        root = principals.root()
        return root.user_id, root.arn, root.caller.account


EXTENSION = Extension(backends=sts_backends, backend=DrStsBackend, urls=urls)
