"""The network between the two servers: a TCP relay that can delay, hold back and drop bytes in flight.

Delaying replay instead (`recovery_min_apply_delay`) would lose nothing: the WAL has arrived by then.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

CHUNK = 65536
CHUNKS = 1024  # that many may be under way on one connection; then the sender has to wait, as with full buffers


class Transport:
    """Relays with their own event loop in a thread of its own. Faults hold for all of them, from one moment on.

    A delay holds for what comes from the upstream (the WAL); a partition for both directions. Connections stay open through
    both, and new ones are accepted and then get no answer, as when packets are lost.
    """

    def __init__(self) -> None:
        self._delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="transport", daemon=True)
        self._thread.start()

    def relay(self, upstream: tuple[str, int]) -> tuple[str, int]:
        """Listen, and answer the address: who connects to it talks to `upstream`."""
        return self._do(self._listen(upstream))

    @property
    def partitioned(self) -> bool:
        """Whether nothing passes now."""
        return not self._open.is_set()

    def partition(self) -> None:
        """Pass nothing from now on, in either direction."""
        self._do(self._apply(False, self._delay))

    def delay(self, seconds: float) -> None:
        """Deliver what the upstream sends so many seconds later, including what is in flight."""
        self._do(self._apply(not self.partitioned, max(0.0, seconds)))

    def heal(self) -> None:
        """No partition and no delay; what was held back arrives."""
        self._do(self._apply(True, 0.0))

    def drop(self) -> None:
        """Break all connections; what was in flight is gone."""
        self._do(self._drop())

    def stop(self) -> None:
        """Close everything and end the thread. Idempotent."""
        if self._thread.is_alive():
            with contextlib.suppress(concurrent.futures.TimeoutError):
                self._do(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
        if not self._loop.is_running() and not self._loop.is_closed():
            self._loop.close()

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _apply(self, passing: bool, delay: float) -> None:
        self._delay = delay
        if passing:
            self._open.set()
        else:
            self._open.clear()

    async def _listen(self, upstream: tuple[str, int]) -> tuple[str, int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(upstream, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._servers.append(server)
        ip, port = server.sockets[0].getsockname()[:2]
        return ip, port

    async def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        await self._end(self._tasks)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        await self._drop()

    @staticmethod
    async def _end(tasks: set[asyncio.Task[None]]) -> None:
        ended = list(tasks)
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    async def _serve(
        self, upstream: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        there: asyncio.StreamWriter | None = None
        directions: set[asyncio.Task[None]] = set()
        try:
            await self._open.wait()
            from_there, there = await asyncio.open_connection(*upstream)
            self._writers.add(there)
            directions = {
                asyncio.ensure_future(self._pass(reader, there, late=False)),
                asyncio.ensure_future(self._pass(from_there, writer, late=True)),
            }
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            for end in (writer, there):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()
            await self._end(directions)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: bool) -> None:
        """Relay one direction. Reading goes on while earlier chunks wait: a delay is not a smaller bandwidth."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=CHUNKS)
        delivery = asyncio.ensure_future(self._deliver(queue, writer, late))
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(CHUNK):
                    await queue.put((self._loop.time(), data))
            await queue.put((self._loop.time(), b""))  # the end, too, takes its time to arrive
            await delivery
        finally:
            delivery.cancel()

    async def _deliver(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, late: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                sent, data = await queue.get()
                # In small steps: a delay that is ended or prolonged holds for what is under way.
                while late and (left := sent + self._delay - self._loop.time()) > 0:
                    await asyncio.sleep(min(left, 0.05))
                await self._open.wait()
                if not data:
                    return
                writer.write(data)
                await writer.drain()
