"""TLS in front of one PostgreSQL server, in a process of its own: the wheel's PostgreSQL is built without OpenSSL.

`python tls_proxy.py IP PORT SERVER_IP SERVER_PORT FOLDER`, run by its path with the standard library alone. It belongs to its
server: it listens once that takes connections, is killed and frozen with it, and ends when its standard input does. FOLDER holds
`server.pem` (certificate and key, read anew when it changes); a file `force_ssl` in it refuses clients without TLS.

Source: PostgreSQL's documentation, "Message Flow: SSL Session Encryption" and "Message Formats" (SSLRequest, GSSENCRequest,
CancelRequest, StartupMessage, ErrorResponse). rds.force_ssl=1 makes pg_hba.conf refuse: FATAL, 28000, `no pg_hba.conf entry …
no encryption` (pgbouncer#812, DataDog/datadog-agent#13318 for the older `SSL off`).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
LONGEST_STARTUP = 10_000  # MAX_STARTUP_PACKET_LENGTH
CERTIFICATE, FORCE = "server.pem", "force_ssl"
POLL_SECONDS = 0.005
DRAIN_SECONDS = 0.3


class Certificate:
    """The server's certificate as a TLS context, made anew when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = 0
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        changed = self._path.stat().st_mtime_ns
        if self._context is None or changed != self._changed:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.num_tickets = 0  # as PostgreSQL: sessions are not resumed
            context.load_cert_chain(self._path)
            self._context, self._changed = context, changed
        return self._context


class End(asyncio.Protocol):
    """One end of a relayed connection: what it receives goes to its peer, which slows it down when it is full."""

    transport: asyncio.Transport
    peer: End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.peer:
            self.peer.transport.write(data)

    def pause_writing(self) -> None:
        if self.peer:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer:
            self.peer.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer:
            self.peer.transport.close()


class Client(End):
    """A client's end: the packets before the session are answered here."""

    def __init__(self, server: tuple[str, int], folder: Path, certificate: Certificate, open_ends: set[Client]) -> None:
        self._server, self._folder, self._certificate, self._open = server, folder, certificate, open_ends
        self._packet = b""
        self._encrypted = self._handshaking = False
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._open.discard(self)

    def data_received(self, data: bytes) -> None:
        if self.peer:
            self.peer.transport.write(data)
            return
        self._packet += data
        if not self._handshaking:
            self._answer()

    def _answer(self) -> None:
        if len(self._packet) < 8:
            return
        length, code = struct.unpack("!II", self._packet[:8])
        if code in (SSL_REQUEST, GSS_REQUEST):
            # More than the request: someone on the way put in what would count as sent encrypted (CVE-2021-23214).
            if len(self._packet) > 8 or self._encrypted:
                self.transport.abort()
            elif code == GSS_REQUEST:
                self._packet = b""
                self.transport.write(b"N")
            else:
                self._begin(self._encrypt())
        elif not 8 <= length <= LONGEST_STARTUP:
            self.transport.abort()
        elif len(self._packet) >= length:
            if code != CANCEL_REQUEST and not self._encrypted and (self._folder / FORCE).exists():
                self.transport.write(self._refusal(self._packet[8:length]))
                self.transport.close()
            else:
                self._begin(self._connect())

    def _begin(self, what: Coroutine[Any, Any, None]) -> None:
        self.transport.pause_reading()
        task = asyncio.ensure_future(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _encrypt(self) -> None:
        self._packet, self._encrypted, self._handshaking = b"", True, True
        loop = asyncio.get_running_loop()
        self.transport.write(b"S")
        try:
            # It reads again by itself: what the client sends first is its handshake.
            made = await loop.start_tls(self.transport, self, self._certificate.context(), server_side=True)
        except (OSError, ssl.SSLError):
            self.transport.abort()
            return
        assert made is not None
        # What the client sent right behind its handshake has arrived by now.
        self.transport, self._handshaking = made, False
        self._answer()

    async def _connect(self) -> None:
        try:
            _, end = await asyncio.get_running_loop().create_connection(End, *self._server)
        except OSError:
            self.transport.abort()
            return
        if self.transport.is_closing():
            end.transport.abort()
            return
        end.peer, self.peer = self, end
        end.transport.write(self._packet)
        self._packet = b""
        self.transport.resume_reading()

    def _refusal(self, settings: bytes) -> bytes:
        texts = [text.decode(errors="replace") for text in settings.split(b"\0")]
        given = dict(zip(texts[::2], texts[1::2], strict=False))
        host = self.transport.get_extra_info("peername")[0]
        user = given.get("user", "")
        message = f'no pg_hba.conf entry for host "{host}", user "{user}", database "{given.get("database", user)}", no encryption'
        fields = {"S": "FATAL", "V": "FATAL", "C": "28000", "M": message}
        body = b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0"
        return b"E" + struct.pack("!I", len(body) + 4) + body


async def serve(public: tuple[str, int], server: tuple[str, int], folder: Path) -> None:
    """Relay until standard input ends; then let the connections end by themselves for a moment."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def end_with_owner() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, end_with_owner)
    while not ended.is_set():
        with socket.socket() as probe:
            if probe.connect_ex(server) == 0:
                break
        await asyncio.sleep(POLL_SECONDS)
    certificate, open_ends = Certificate(folder / CERTIFICATE), set[Client]()
    listening = None
    while not ended.is_set() and listening is None:
        try:
            listening = await loop.create_server(
                lambda: Client(server, folder, certificate, open_ends), *public, backlog=512, reuse_address=True
            )
        except OSError:  # outside Linux nothing holds the address while the server is down
            await asyncio.sleep(POLL_SECONDS * 20)
    await ended.wait()
    if listening:
        listening.close()
    drained = loop.time() + DRAIN_SECONDS
    while open_ends and loop.time() < drained:
        await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    ip, port, server_ip, server_port, where = sys.argv[1:]
    asyncio.run(serve((ip, int(port)), (server_ip, int(server_port)), Path(where)))
