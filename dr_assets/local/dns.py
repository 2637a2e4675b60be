"""A nameserver on loopback for the endpoints of the embedded RDS: cluster, reader and global writer endpoints keep their names.

Imports dnslib. The global writer endpoint follows the writer, as at AWS; a dark region's names still resolve, as DNS does.
"""

from collections.abc import Callable, Mapping

from dnslib import QTYPE, RCODE, RR, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer

TTL_SECONDS = 1  # AWS: 5 s for the cluster endpoints


class _Names(BaseResolver):  # type: ignore[misc]
    """Answers A questions from a table that is asked anew each time."""

    def __init__(self, table: Callable[[], Mapping[str, str]]) -> None:
        self._table = table

    def resolve(self, request, handler):  # type: ignore[no-untyped-def]
        """dnslib's hook: NXDOMAIN for a name that is not in the table."""
        reply = request.reply()
        name = str(request.q.qname).rstrip(".").lower()
        ip = self._table().get(name)
        if ip is None:
            reply.header.rcode = RCODE.NXDOMAIN
        elif request.q.qtype in (QTYPE.A, QTYPE.ANY):
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(ip), ttl=TTL_SECONDS))
        return reply


class Nameserver:
    """A UDP server in threads of its own. `address` is "ip:port"."""

    def __init__(self, table: Callable[[], Mapping[str, str]]) -> None:
        self._server = DNSServer(_Names(table), address="127.0.0.1", port=0, logger=DNSLogger(log="", prefix=False))
        ip, port = self._server.server.server_address[:2]
        self.address = f"{ip}:{port}"
        self._server.start_thread()

    def stop(self) -> None:
        """End it."""
        self._server.stop()
        self._server.server.server_close()
