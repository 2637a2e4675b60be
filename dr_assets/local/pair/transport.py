"""The wire between the two servers, as a TCP relay whose faults are real: bytes delayed, held back, dropped in flight.

Standard library only. Delaying replay instead (`recovery_min_apply_delay`) would lose nothing: the WAL has arrived by then.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

CHUNK = 65536


class Relay:
    """Listens on a loopback port and relays to `upstream`. Faults hold for what comes from the upstream (the WAL).

    Attributes:
        upstream: (ip, port); may be changed at any time, for the connections to come.
        delay: seconds by which each chunk is late.
        partitioned: while true nothing passes, in either direction; connections stay open, as in a real partition.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.delay = 0.0
        self.partitioned = False
        self.address = ("127.0.0.1", 0)
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)

    def start(self) -> None:
        """Listen; `address` is known afterwards."""
        self._thread.start()
        self._do(self._listen())

    def stop(self) -> None:
        """Close every connection and end the thread."""
        if self._thread.is_alive():
            self._do(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
        if not self._loop.is_running():
            self._loop.close()

    def drop(self) -> None:
        """Close all connections; what was in flight is gone."""
        self._do(self._drop())

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, *self.address)
        self.address = self._server.sockets[0].getsockname()[:2]

    async def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _close(self) -> None:
        if self._server:
            self._server.close()
        await self._drop()
        for task in asyncio.all_tasks(self._loop) - {asyncio.current_task(self._loop)}:
            task.cancel()
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            await self._open_road()
            from_there, there = await asyncio.open_connection(*self.upstream)
            self._writers.add(there)
            tasks = {
                asyncio.ensure_future(self._pass(reader, there, late=False)),
                asyncio.ensure_future(self._pass(from_there, writer, late=True)),
            }
            _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, there):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: bool) -> None:
        """Relay one direction. Reading goes on while earlier chunks wait: a delay is not a smaller bandwidth."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=4096)

        async def deliver() -> None:
            while True:
                at, data = await queue.get()
                await asyncio.sleep(max(0.0, at - self._loop.time()))
                await self._open_road()
                if not data:
                    return
                writer.write(data)
                await writer.drain()

        delivery = asyncio.ensure_future(deliver())
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(CHUNK):
                    await queue.put((self._loop.time() + (self.delay if late else 0.0), data))
            await queue.put((self._loop.time(), b""))
            with contextlib.suppress(OSError):
                await delivery
        finally:
            delivery.cancel()

    async def _open_road(self) -> None:
        while self.partitioned:
            await asyncio.sleep(0.005)
