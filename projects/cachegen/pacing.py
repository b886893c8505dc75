"""A sender held to the rate of an emulated link: a token bucket whose rate may change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from projects.cachegen.link import Link


class Pacer:
    """Makes senders wait as if all of them shared one link.

    Parameters
    ----------
    link : Link
        Time 0 is the first transfer.
    burst_seconds : float
        Depth of the bucket: what an idle link may catch up on. Without it every late wake-up of
        the sender would be lost rate.
    clock, sleep : callable
        For tests.
    """

    def __init__(
        self,
        link: Link,
        *,
        burst_seconds: float = 0.02,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.link, self.burst_seconds = link, burst_seconds
        self._clock, self._sleep = clock, sleep
        self._begin: float | None = None
        self._busy_until = 0.0

    async def __call__(self, size: int) -> None:
        """Wait until ``size`` more bytes have passed the link."""
        if self._begin is None:
            self._begin = self._clock()
        now = self._clock() - self._begin
        begin = max(self._busy_until, now - self.burst_seconds)
        self._busy_until = self.link.finish(begin, size)
        await self._sleep(max(0.0, self._busy_until - now))
