"""Two PostgreSQL servers that know nothing of each other, for this folder."""

from tests.support.servers import _servers, servers, until

__all__ = ["_servers", "servers", "until"]
