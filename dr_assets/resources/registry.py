"""The kinds: one module for each family of AWS services. May import `core`, `errors` and nothing else of the project."""

from __future__ import annotations

from collections.abc import Mapping

from dr_assets.core.model import Kind
from dr_assets.resources.alarms import kinds as monitoring
from dr_assets.resources.aurora import kinds as aurora
from dr_assets.resources.backup import kinds as backup
from dr_assets.resources.credentials import kinds as credentials
from dr_assets.resources.dns import kinds as dns
from dr_assets.resources.encryption import kinds as encryption
from dr_assets.resources.identity import kinds as identity
from dr_assets.resources.network import kinds as network
from dr_assets.resources.notifications import kinds as notifications

_MODULES = (network, encryption, identity, aurora, credentials, backup, notifications, monitoring, dns)

KINDS: Mapping[str, Kind] = {kind.name: kind for module in _MODULES for kind in module.KINDS}
