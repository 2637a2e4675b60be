"""A nameserver on loopback: the endpoints of the embedded RDS, and the records of the hosted zones.

Cluster, reader and global writer endpoints keep their names; the global writer endpoint follows
the writer, as at AWS; a dark region's names still resolve, as DNS does. Failover records of a zone follow their health checks.
"""

from collections.abc import Callable, Mapping
from typing import Any

from dnslib import CNAME, QTYPE, RCODE, RR, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from dr_assets.emulator.answers import answers

Records = Callable[[str, str], Any]


class _Names(BaseResolver):  # type: ignore[misc]
    """Answers from a table of addresses and from the zones, both asked anew each time."""

    def __init__(self, table: Callable[[], Mapping[str, str]], records: Records) -> None:
        self._table, self._records = table, records

    def resolve(self, request, handler):  # type: ignore[no-untyped-def]
        """dnslib's hook: NXDOMAIN for an unknown name."""
        reply = request.reply()
        name = str(request.q.qname).rstrip(".").lower()
        kind = QTYPE[request.q.qtype]
        table = self._table()
        record = None if name in table else self._records(name, "A" if kind == "ANY" else kind)
        if record is not None:
            data = {"CNAME": CNAME, "A": A}.get(record.type)
            if data is not None:
                for value in record.values:
                    rdata = data(value.rstrip("."))
                    reply.add_answer(RR(request.q.qname, getattr(QTYPE, record.type), rdata=rdata, ttl=record.ttl))
            if record.type != "CNAME" or kind == "CNAME":
                return reply
            # As a resolver does: the address of the target comes along where it is known here.
            name = record.values[0].rstrip(".").lower()
        ip = table.get(name)
        if ip is None:
            if record is None:
                reply.header.rcode = RCODE.NXDOMAIN
        elif kind in ("A", "ANY"):
            ttl = answers().endpoint_ttl_seconds
            reply.add_answer(RR(name if record else request.q.qname, QTYPE.A, rdata=A(ip), ttl=ttl))
        return reply


class Nameserver:
    """A UDP server in threads of its own. `address` is "ip:port".

    Args:
        table: host name -> IP address, of the endpoints; asked at every question.
        records: (name, type) -> the hosted zones' answer (`health.Answer`), or `None`.
    """

    def __init__(self, table: Callable[[], Mapping[str, str]], records: Records = lambda _name, _kind: None) -> None:
        resolver = _Names(table, records)
        self._server = DNSServer(resolver, address="127.0.0.1", port=0, logger=DNSLogger(log="", prefix=False))
        ip, port = self._server.server.server_address[:2]
        self.address = f"{ip}:{port}"
        self._server.start_thread()

    def stop(self) -> None:
        """End it."""
        self._server.stop()
        self._server.server.server_close()
