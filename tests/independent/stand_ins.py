"""A proxy between the product and an emulator: it logs every call, and answers for what the emulator lacks.

Only what is listed in `limits.py` is answered here; all the rest passes unchanged.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

READS = ("Describe", "Get", "List", "Head", "BatchGet", "Select", "Filter", "Simulate", "Lookup")
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """`Action` of the query protocol, the last part of X-Amz-Target, else method and path."""
        lower = {name.lower(): value for name, value in self.headers.items()}
        target = lower.get("x-amz-target")
        if target:
            return target.rsplit(".", maxsplit=1)[-1]
        if "json" not in lower.get("content-type", "") and (action := self.form.get("Action")):
            return action
        return f"{self.method} {urlsplit(self.path).path}"

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode("utf-8", "replace")).items()}

    @property
    def reads(self) -> bool:
        """Whether it can change nothing, by the name of the operation or by the method (S3, Route 53)."""
        name, _, path = self.operation.partition(" ")
        if not path:
            return name.startswith(READS)
        # ListTagsForResources is the one read of Route 53 that is a POST.
        return name in ("GET", "HEAD") or path in ("/2013-04-01/tags/hostedzone", "/2013-04-01/tags/healthcheck")


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()


Send = Callable[[Request], Response]
StandIn = Callable[[Request, Send], Response | None]


@dataclass
class Proxy:
    url: str = ""
    calls: list[Request] = field(default_factory=list)

    def writes(self) -> list[str]:
        """The operations since the last `clear` that may have changed something."""
        return [call.operation for call in self.calls if not call.reads]

    def clear(self) -> None:
        self.calls.clear()


@contextmanager
def proxy(upstream: str, stand_ins: Sequence[StandIn]) -> Iterator[Proxy]:
    """Serve on a free loopback port in front of `upstream`."""
    served, where = Proxy(), urlsplit(upstream)

    def send(request: Request) -> Response:
        connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=120)
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
            connection.request(request.method, request.path, request.body or None, headers)
            answer = connection.getresponse()
            return Response(answer.status, answer.read(), answer.getheaders())
        finally:
            connection.close()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers.items()), body)
            served.calls.append(request)
            given = (stand_in(request, send) for stand_in in stand_ins)
            response = next((found for found in given if found is not None), None) or send(request)
            self.send_response_only(response.status)
            for name, value in response.headers:
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            length = next((v for n, v in response.headers if n.lower() == "content-length"), None)
            is_head = self.command == "HEAD"
            self.send_header("Content-Length", str(length) if is_head and length else str(len(response.body)))
            self.end_headers()
            if not is_head:
                # The product may have given up waiting, as it does with AWS.
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(response.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
