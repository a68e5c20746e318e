"""A small HTTP load generator: kept connections, one request at a time on each, closed or open loop.

Owns: sending and timing. It reads just enough of HTTP/1.1 to find the end of an answer with a Content-Length,
because a full client would use more CPU than the server it is to measure.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from bench.bodies import Requests
from dunwell_kit.clock import monotonic
from dunwell_kit.testing import wait_until

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
Answered = Callable[[int, bytes], None]


class Refused(RuntimeError):
    """The server answered something else than 200, or hung up."""


class _Line(asyncio.Protocol):
    """One kept connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answered: Answered | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self, request: bytes, answered: Answered) -> None:
        assert self._transport is not None
        self._answered = answered
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or length is None or len(rest) < int(length[1]) or self._answered is None:
            return
        self._buffer = b""
        answered, self._answered = self._answered, None
        answered(int(head[9:12]), rest)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None:
            self._answered(0, str(exc or "the server hung up").encode())


@dataclass(slots=True)
class Tally:
    """What one run of requests gave.

    Args:
        accepted: Event ids that were answered with 200.
        in_time: How many of them before the slice was over.
        refused: First answer that was not 200, or empty.
    """

    accepted: list[str] = field(default_factory=list)
    in_time: int = 0
    refused: str = ""

    def count(self, event_id: str, status: int, body: bytes, in_time: bool) -> None:
        """Take one answer."""
        if status == 200:
            self.accepted.append(event_id)
            self.in_time += in_time
        else:
            self.refused = self.refused or f"{status} {body[:300]!r}"

    def check(self) -> None:
        """Raise Refused when any answer was not 200."""
        if self.refused:
            raise Refused(self.refused)


class Load:
    """Posts webhooks to one address."""

    def __init__(self, port: int, path: str, connections: int) -> None:
        self._requests = Requests(f"127.0.0.1:{port}", path)
        self._port, self._connections = port, connections

    @asynccontextmanager
    async def _lines(self) -> AsyncIterator[list[_Line]]:
        # Fresh for each slice: the server hangs up on those that were idle while the other side was measured.
        loop = asyncio.get_running_loop()
        opened = [await loop.create_connection(_Line, "127.0.0.1", self._port) for _ in range(self._connections)]
        try:
            yield [line for _, line in opened]
        finally:
            for transport, _ in opened:
                transport.close()

    async def closed_loop(self, seconds: float = float("inf"), most: int = 1 << 31) -> Tally:
        """Keep every connection busy for a time or a number of requests; what is under way is awaited."""
        tally = Tally()
        async with self._lines() as lines:
            over = asyncio.get_running_loop().create_future()
            until, busy, left = monotonic() + seconds, len(lines), most

            def turn(line: _Line) -> None:
                nonlocal busy, left
                if monotonic() >= until or left <= 0 or tally.refused:
                    busy -= 1
                    if not busy:
                        over.set_result(None)
                    return
                left -= 1
                event_id, request = next(self._requests)

                def answered(status: int, body: bytes) -> None:
                    tally.count(event_id, status, body, monotonic() <= until)
                    turn(line)

                line.send(request, answered)

            for line in lines:
                turn(line)
            await over
        tally.check()
        return tally

    async def open_loop(self, gaps: Sequence[float], accepted: Callable[[float, float, bytes], None]) -> None:
        """Send one request after each gap, whether or not earlier ones were answered.

        Args:
            gaps: Seconds between the instants at which requests are due.
            accepted: Told (due at, answered at, body) of each 200, on the monotonic clock.
        """
        tally = Tally()
        async with self._lines() as lines:
            idle, due = list(lines), monotonic()

            def send(at: float) -> None:
                if not idle:
                    raise Refused(f"all {len(lines)} connections wait for an answer: the rate is too high")
                line = idle.pop()
                event_id, request = next(self._requests)

                def answered(status: int, body: bytes) -> None:
                    idle.append(line)
                    tally.count(event_id, status, body, True)
                    if status == 200:
                        accepted(at, monotonic(), body)

                line.send(request, answered)

            for gap in gaps:
                due += gap
                await asyncio.sleep(max(0.0, due - monotonic()))
                send(due)
            await wait_until(lambda: len(idle) == len(lines))
        tally.check()
