"""HTTP request handler of the embedded AWS: moto's own, without an access log line per call (the call log has them)."""

from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler


class QuietHandler(MotoRequestHandler):
    """Logs nothing per request and swallows connections that a client or a fault has dropped."""

    # Nagle's algorithm and delayed acknowledgements would cost 40 ms a call.
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:
        """Requests are in the call log, failures are printed by the gateway."""

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        """Without an answer; also close the keep-alive loop."""
        self.close_connection = True
