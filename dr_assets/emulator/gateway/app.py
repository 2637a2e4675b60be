"""WSGI application in front of moto: control API, fault injection, call log, one lock around all backends.

Nothing here sleeps while it holds the lock.
"""

import contextlib
import io
import json
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import DomainDispatcherApplication

from dr_assets.emulator import answers, dark_regions, services
from dr_assets.emulator.clock import clock
from dr_assets.emulator.gateway import long_poll
from dr_assets.emulator.gateway.faults import Fault
from dr_assets.emulator.gateway.wire import Answer, Call, error_answer, error_code, identify
from dr_assets.emulator.permissions import state

CALLS_KEPT = 200_000
DARK_CAP_SECONDS = 60.0
StartResponse = Callable[..., Any]


class DatabaseControl(Protocol):
    """Faults and state of the databases behind the API (see `rds.databases.PairDriver`)."""

    def control(self, data: dict[str, Any]) -> dict[str, Any]:
        """Apply one fault or repair; ValueError when it is not known."""

    def describe(self) -> dict[str, Any]:
        """The state of the databases."""


class Gateway:
    """WSGI application. Threads may call it at the same time.

    Attributes:
        databases: the driver of the PostgreSQL pair, `None` where the server runs without one.
    """

    databases: DatabaseControl | None = None

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(services.create_app)
        # moto's backends are plain dicts and lists without locks of their own.
        self._lock = threading.Lock()
        self._log_lock = threading.Lock()
        self._calls: deque[dict[str, object]] = deque(maxlen=CALLS_KEPT)
        self._count = 0
        self._faults: list[Fault] = []
        self._stopping = threading.Event()
        dark_regions.use(self.region_dark)
        state.use(services.install)
        answers.reset()

    # -- WSGI ----------------------------------------------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        body = _read_body(environ)
        path = environ.get("PATH_INFO", "/")
        if path.startswith("/_dr/"):
            answer = self._control(environ["REQUEST_METHOD"], path[len("/_dr/") :], environ, body)
        elif path.startswith("/moto-api"):
            answer = self._dispatch(environ, body)
        else:
            answer = self._aws(environ, body)
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = "Unknown"
        start_response(f"{answer.status} {phrase}", answer.headers)
        return [answer.body]

    def _aws(self, environ: dict[str, Any], body: bytes) -> Answer:
        call = identify(environ, body)
        record = self._record(call)
        fault = self._fault_for(call)
        if fault is not None and fault.mode == "dark":
            record.update(status=0, error_code="dark")
            self._hold(environ, fault)
        if fault is not None and fault.mode == "slow":
            self._stopping.wait(fault.seconds)
        answer = fault.answer(call) if fault is not None else None
        if fault is None or not fault.refuses:
            body = body if fault is None else fault.request(body, call)
            environ["CONTENT_LENGTH"] = str(len(body))
            refused = self._authorize(call, environ, body, record)
            executed = refused or self._execute(call, environ, body)
            answer = refused or answer or executed
        if fault is not None and fault.mode == "lost-after":
            record.update(status=0, error_code="lost")
            _drop(environ)
        assert answer is not None
        names = {name.lower() for name, _ in answer.headers}
        if "x-amzn-requestid" not in names:
            answer.headers.append(("x-amzn-RequestId", call.request_id))
        record.update(status=answer.status, error_code=error_code(answer.status, answer.headers, answer.body))
        return answer

    def _authorize(self, call: Call, environ: dict[str, Any], body: bytes, record: dict[str, object]) -> Answer | None:
        """AWS's refusal where the caller lacks a permission; what was checked goes into the call log."""
        from dr_assets.emulator.authorization import authorize

        try:
            with self._lock:
                decision = authorize(call.service, call.operation, call.region, call.access_key, environ, body)
        except Exception as error:
            traceback.print_exc()
            message = f"The embedded AWS could not authorize the call: {type(error).__name__}: {error}"
            return error_answer(call, 500, "InternalFailure", message)
        denied = decision.refusal
        record.update(principal=decision.principal, denied=denied is not None, checks=decision.checks)
        if denied is None:
            return None
        answer = error_answer(call, denied.status, denied.code, denied.message)
        return replace(answer, body=b"") if environ["REQUEST_METHOD"] == "HEAD" else answer

    def _execute(self, call: Call, environ: dict[str, Any], body: bytes) -> Answer:
        poll = long_poll.short_poll(call, body)
        if poll is None:
            return self._dispatch(environ, body, call)
        seconds, short_body = poll
        deadline = time.monotonic() + seconds
        environ["CONTENT_LENGTH"] = str(len(short_body))
        while True:
            answer = self._dispatch(environ, short_body, call)
            left = deadline - time.monotonic()
            if left <= 0 or not long_poll.is_empty(answer) or self._stopping.wait(min(0.05, left)):
                return answer

    def _dispatch(self, environ: dict[str, Any], body: bytes, call: Call | None = None) -> Answer:
        environ = dict(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], None]:
            started[:] = [int(status.split(" ", 1)[0]), list(headers)]
            return lambda _data: None

        try:
            with self._lock:
                clock.request += 1
                chunks = self._moto(environ, start)
                content = b"".join(chunks)
                if hasattr(chunks, "close"):
                    chunks.close()
        except NotImplementedError as error:
            name = f"{call.service}:{call.operation}" if call else environ.get("PATH_INFO", "")
            message = f"The embedded AWS does not implement {name} ({error})"
            sys.stderr.write(message + "\n")
            return error_answer(call or identify(environ, body), 501, "NotImplemented", message)
        except Exception as error:
            traceback.print_exc()
            message = f"The embedded AWS failed: {type(error).__name__}: {error}"
            return error_answer(call or identify(environ, body), 500, "InternalFailure", message)
        status, headers = started
        if call and status == 404 and not content and call.protocol not in ("rest-xml", "rest-json"):
            message = f"The embedded AWS does not know {call.service}:{call.operation}"
            return error_answer(call, 501, "NotImplemented", message)
        return Answer(status, headers, content)

    # -- call log ------------------------------------------------------------------------------------------------------

    def _record(self, call: Call) -> dict[str, object]:
        record: dict[str, object] = {
            "n": 0,
            "at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "region": call.region,
            "service": call.service,
            "operation": call.operation,
            "mutating": call.mutating,
            "status": None,
            "error_code": None,
            "access_key": call.access_key,
            "principal": None,
            "denied": False,
            "checks": [],
        }
        with self._log_lock:
            self._count += 1
            record["n"] = self._count
            self._calls.append(record)
        return record

    # -- faults --------------------------------------------------------------------------------------------------------

    def _fault_for(self, call: Call) -> Fault | None:
        with self._log_lock:
            return next((fault for fault in self._faults if fault.hits(call)), None)

    def _hold(self, environ: dict[str, Any], fault: Fault) -> None:
        """Never answer: hold the connection until the client leaves, the fault ends, the cap or shutdown; then drop it."""
        connection = environ.get("werkzeug.socket")
        deadline = time.monotonic() + min(fault.seconds or DARK_CAP_SECONDS, DARK_CAP_SECONDS)
        while time.monotonic() < deadline and fault in self._faults and not self._stopping.wait(0.05):
            if connection is not None and _closed(connection):
                break
        _drop(environ)

    # -- control API ---------------------------------------------------------------------------------------------------

    def _control(self, method: str, route: str, environ: dict[str, Any], body: bytes) -> Answer:
        try:
            data = json.loads(body) if body else {}
            result = self._route(method, route.strip("/"), parse_qs(environ.get("QUERY_STRING", "")), data)
        except (ValueError, KeyError, TypeError) as error:
            return _json(400, {"error": str(error)})
        return _json(404, {"error": f"no {method} /_dr/{route}"}) if result is None else _json(200, result)

    def _route(self, method: str, route: str, query: dict[str, list[str]], data: dict[str, Any]) -> object | None:
        match method, route:
            case "GET", "calls":
                since = int(query.get("since", ["0"])[0])
                with self._log_lock:
                    return [dict(record) for record in self._calls if int(str(record["n"])) > since]
            case "DELETE", "calls":
                with self._log_lock:
                    self._calls.clear()
                return {}
            case "GET", "faults":
                return [fault.describe() for fault in self._faults]
            case "POST", "faults":
                fault = Fault.parse(data)
                with self._log_lock:
                    self._faults.append(fault)
                return {"id": fault.id}
            case "DELETE", "faults":
                with self._log_lock:
                    self._faults = []
                return {}
            case "POST", "settle":
                seconds = float(data["seconds"])
                if seconds < 0:
                    raise ValueError("seconds must not be negative")
                clock.settle_seconds = seconds
                return {"seconds": seconds}
            case "POST", "calendar":
                if float(data["days"]) < 0:
                    raise ValueError("days must not be negative")
                with self._lock:
                    clock.days += float(data["days"])
                return {"days": clock.days}
            case "GET", "answers":
                return answers.change({})
            case "POST", "answers":
                with self._lock:
                    return answers.change(data)
            case "GET", "alarms":
                return self._alarms({})
            case "POST", "alarms":
                return self._alarms(data)
            case "POST", "reset":
                self.reset()
                return {}
            case "GET", "database":
                return self._databases().describe()
            case "POST", "database":
                return self._databases().control(data)
            case "GET", "health":
                return {"settle_seconds": clock.settle_seconds, "calls": self._count}
        return None

    def _alarms(self, data: dict[str, Any]) -> dict[str, Any]:
        """Set the `pace` of alarms and health checks, then `evaluate` all of them if asked. ValueError for a bad value."""
        if unknown := set(data) - {"pace", "evaluate"}:
            raise ValueError(f"unknown keys {sorted(unknown)}; known are ['evaluate', 'pace']")
        with self._lock:
            clock.request += 1
            if data.get("pace") is not None:
                services.set_pace(float(data["pace"]))
            if data.get("evaluate"):
                services.pass_time(everything=True)
            return {"pace": clock.pace}

    def _databases(self) -> DatabaseControl:
        if self.databases is None:
            raise ValueError("This server has no databases. Start it with --databases.")
        return self.databases

    def reset(self) -> None:
        """Forget every resource, call and fault, the pace and the answers. The settle time stays; call numbers go on."""
        with self._lock:
            services.reset()
            answers.reset()
        with self._log_lock:
            self._calls.clear()
            self._faults = []

    def within(self, do: Callable[[], Any]) -> Any:
        """Run `do` as a request would: under the lock, and after due work (`services.settle`)."""
        with self._lock:
            clock.request += 1
            services.settle()
            return do()

    def region_dark(self, region: str) -> bool:
        """Whether nothing in that region answers."""
        with self._log_lock:
            return any(
                f.mode == "dark" and f.region == region and not f.service and not f.operation for f in self._faults
            )

    def warm_up(self) -> None:
        """Import the services that every stack uses, so that the first calls need not wait for it."""
        for service in (name for name, entry in services.TABLE.items() if entry.warm):
            if self._stopping.is_set():
                return
            # Not under the gateway's lock: a request meanwhile waits for its own service only.
            app = services.create_app(service)
            with self._moto.lock:
                self._moto.app_instances.setdefault(service, app)

    def stop(self) -> None:
        """Release the calls that are held."""
        self._stopping.set()


def _drop(environ: dict[str, Any]) -> NoReturn:
    """Close the connection without an answer: werkzeug does so when the application raises a connection error."""
    connection = environ.get("werkzeug.socket")
    if connection is not None:
        with contextlib.suppress(OSError):  # it may be gone already
            connection.shutdown(2)
    raise ConnectionAbortedError("dropped without an answer")


def _json(status: int, data: object) -> Answer:
    return Answer(status, [("Content-Type", "application/json")], json.dumps(data).encode())


def _read_body(environ: dict[str, Any]) -> bytes:
    """The whole body: boto3 sends a length, other clients may send chunks (werkzeug has decoded those)."""
    stream = environ["wsgi.input"]
    if environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        body: bytes = stream.read()
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING")
        environ.pop("wsgi.input_terminated", None)
        return body
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return bytes(stream.read(length)) if length else b""


def _closed(connection: Any) -> bool:
    """Whether the peer has closed: a readable socket without data."""
    import select
    import socket

    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True
