"""Start and stop the embedded AWS from Python (`EmbeddedAws`), and a client of its control API (`Control`).

Uses only the standard library, so that callers need not import moto.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

START_SECONDS = 60.0
ACCOUNT_ID = "123456789012"


class Control:
    """Client of the control API (`/_dr/...`) of one embedded AWS."""

    def __init__(self, endpoint_url: str) -> None:
        self._base = endpoint_url.rstrip("/") + "/_dr/"

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """The API calls after number `since`, in order of arrival.

        Keys: n, at (UTC, ISO 8601), region, service, operation, mutating, status, error_code, access_key, principal (ARN of
        the user or role session), denied (refused for want of a permission), checks (the permissions that the call needed:
        action, resource, allowed). `status` is `None` while a call is being answered and 0 when it never was. The account's
        root has no principal, and no checks but those of resource policies that could refuse it.
        """
        result: list[dict[str, Any]] = self._request("GET", f"calls?since={since}")
        return result

    def clear_calls(self) -> None:
        """Empty the call log. Numbers go on."""
        self._request("DELETE", "calls")

    def fault(
        self,
        mode: str,
        *,
        region: str | None = None,
        service: str | None = None,
        operation: str | None = None,
        rate: float = 1.0,
        times: int | None = None,
        seconds: float = 0.0,
        seed: int = 0,
        code: str | None = None,
        message: str | None = None,
        status: int | None = None,
        parameter: str | None = None,
    ) -> str:
        """Add a fault (see `faults.Fault` for modes and fields) and return its id. The first fault that hits a call wins."""
        data = {
            "mode": mode,
            "region": region,
            "service": service,
            "operation": operation,
            "rate": rate,
            "times": times,
            "seconds": seconds,
            "seed": seed,
            "code": code,
            "message": message,
            "status": status,
            "parameter": parameter,
        }
        return str(self._request("POST", "faults", data)["id"])

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force."""
        result: list[dict[str, Any]] = self._request("GET", "faults")
        return result

    def clear_faults(self) -> None:
        """End every fault. Calls that are being held are dropped, unanswered."""
        self._request("DELETE", "faults")

    def settle(self, seconds: float) -> None:
        """Set how long in-between statuses last (seconds)."""
        self._request("POST", "settle", {"seconds": seconds})

    def alarms(self, pace: float | None = None, evaluate: bool = False) -> dict[str, Any]:
        """Pace of alarms, health checks and AWS's own metrics: how many times faster than at AWS their minutes pass.

        Args:
            pace: set it (1 to 600) first. With 60, periods of a minute take a second.
            evaluate: then evaluate every alarm and every health check, whether or not it is due.
        """
        data = {**({} if pace is None else {"pace": pace}), **({"evaluate": True} if evaluate else {})}
        result: dict[str, Any] = self._request("POST" if data else "GET", "alarms", data or None)
        return result

    def pass_days(self, days: float) -> None:
        """Move the calendar forward: keys and secrets whose waiting period ends in that time are destroyed."""
        self._request("POST", "calendar", {"days": days})

    def answers(self, **values: Any) -> dict[str, Any]:
        """Set how AWS answers where that is not documented (see `emulator.answers`); returns all settings."""
        result: dict[str, Any] = self._request("POST" if values else "GET", "answers", values or None)
        return result

    def database(self, action: str | None = None, **more: Any) -> dict[str, Any]:
        """State of the PostgreSQL pair; with `action` a fault or a repair first (see `databases.PairDriver.control`)."""
        result: dict[str, Any] = self._request(
            "POST" if action else "GET", "database", {"action": action, **more} if action else None
        )
        return result

    def reset(self) -> None:
        """Forget every resource, call and fault, the pace, the calendar and the answers."""
        self._request("POST", "reset", {})

    def _request(self, method: str, route: str, data: object = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self._base + route, data=body, method=method)  # noqa: S310 (http, loopback)
        # A proxy in the environment must not see loopback traffic.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error).get("error", str(error))) from None


class EmbeddedAws:
    """A private AWS in a subprocess, ended with its owner whatever happens to the owner.

    Use as a context manager, or `start()` and `stop()`. With `databases` a real PostgreSQL pair runs behind the global
    cluster, a nameserver answers for its endpoints, and `ca_file` verifies its certificates.
    """

    def __init__(self, settle_seconds: float = 0.0, databases: bool = False) -> None:
        self._settle_seconds, self._databases = settle_seconds, databases
        self.nameserver: str | None = None
        self.ca_file: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self.endpoint_url = ""

    def start(self) -> "EmbeddedAws":
        """Start the server and wait until its port answers. RuntimeError with the end of its log when it does not."""
        self._directory = tempfile.TemporaryDirectory(prefix="dr-aws-", ignore_cleanup_errors=True)
        ready = Path(self._directory.name) / "ready.json"
        log = Path(self._directory.name) / "stderr.txt"
        command = [sys.executable, "-m", "dr_assets.emulator.gateway.server", "--port", "0", "--owner-stdin"]
        command += ["--ready-file", str(ready), "--settle-seconds", str(self._settle_seconds)]
        command += ["--owned-folder", self._directory.name]
        command += ["--databases"] if self._databases else []
        package_parent = str(Path(__file__).resolve().parents[2])
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")]))
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr, env=env
            )
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-4000:]
                self.stop()
                raise RuntimeError(f"The embedded AWS did not start. The end of its log:\n{tail}")
            time.sleep(0.01)
        started = json.loads(ready.read_text())
        self.endpoint_url, self.nameserver = started["aws_endpoint_url"], started.get("nameserver")
        self.ca_file = started.get("ca_file")
        return self

    def stop(self) -> None:
        """End the server and wait for it."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin:
                process.stdin.close()
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    @property
    def alive(self) -> bool:
        """Whether the server's process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def control(self) -> Control:
        """Client of the control API."""
        return Control(self.endpoint_url)

    @property
    def stderr(self) -> str:
        """The server's log so far: failures and what it does not implement."""
        return (
            "" if self._directory is None else (Path(self._directory.name) / "stderr.txt").read_text(errors="replace")
        )

    def env(self) -> dict[str, str]:
        """Environment for product code: endpoint, throw-away credentials, region.

        S3 needs no path-style setting: botocore addresses buckets by path when the endpoint is an IP address.
        """
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "AKIADRASSETSLOCAL000",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "DR_PARAMETER_GROUP_SECONDS": "0",
            **({"DR_NAMESERVER": self.nameserver} if self.nameserver else {}),
            **({"DR_TLS_CA": self.ca_file} if self.ca_file else {}),
        }

    def __enter__(self) -> "EmbeddedAws":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
