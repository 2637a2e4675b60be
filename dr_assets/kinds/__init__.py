"""The kinds: one module for each family of AWS services. May import `core`, `errors` and nothing else of the project."""

from __future__ import annotations

from collections.abc import Mapping

from dr_assets.core.model import Kind
from dr_assets.kinds import aurora, backup, credentials, dns, encryption, identity, monitoring, network, notifications

_MODULES = (network, encryption, identity, aurora, credentials, backup, notifications, monitoring, dns)

KINDS: Mapping[str, Kind] = {kind.name: kind for module in _MODULES for kind in module.KINDS}
