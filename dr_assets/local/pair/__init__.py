"""A real PostgreSQL primary with a streaming standby, moved as RDS moves an Aurora Global Database: `PostgresPair`."""

from dr_assets.local.pair.pair import Lag, PostgresPair, SwitchoverAbortedError

__all__ = ["Lag", "PostgresPair", "SwitchoverAbortedError"]
