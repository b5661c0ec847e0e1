"""When the next call may be sent: so many requests and tokens a minute, and how long to wait after a fault.

Calls are spread evenly rather than sent in bursts. Knows nothing of what is sent.
"""

from __future__ import annotations

import asyncio
import random
import time
from email.utils import parsedate_to_datetime

LONGEST_DELAY = 60.0


class Pace:
    """Lets calls go one after the other, in the order in which they ask."""

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._per_request = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._per_token = 60.0 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = self._next_token = self._held_until = 0.0
        self._queue = asyncio.Lock()

    async def turn(self, tokens: int) -> None:
        """Wait until a call of so many tokens may be sent."""
        async with self._queue:
            while (wait := max(self._next_request, self._next_token, self._held_until) - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            now = time.monotonic()
            self._next_request = now + self._per_request
            self._next_token = max(self._next_token, now) + self._per_token * tokens

    def give_back(self, tokens: int) -> None:
        """A call took so many tokens fewer than it asked for."""
        self._next_token -= self._per_token * tokens

    def hold(self, seconds: float) -> None:
        """Let no call go for so long: the endpoint asked for it."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)


def delay(tries: int, base: float, name: str) -> float:
    """Seconds before the next try after `tries` of them: doubled each time, up to a minute, less up to half by chance.

    Chance is seeded with the call's name, so that calls that failed together do not come back together.
    """
    share = random.Random(f"{name}:{tries}").uniform(0.5, 1.0)
    return float(min(LONGEST_DELAY, base * 2 ** (tries - 1)) * share)


def retry_after(value: str | None, now: float | None = None) -> float:
    """Seconds that a Retry-After header asks for: a number or a date (RFC 9110); 0 when it says neither.

    `now` is the time in seconds since the epoch, by default the clock's.
    """
    if not value:
        return 0.0
    try:
        return max(0.0, min(float(value), 1e9)) if value.strip().lower() != "nan" else 0.0
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - (time.time() if now is None else now))
    except (ValueError, TypeError):
        return 0.0
