"""One request per person in so many seconds."""

import time
from collections.abc import Callable

from cachetools import TTLCache

from bot.errors import CooldownError

REMEMBERED = 10_000  # people


class Cooldown:
    """Lets each person through once in `seconds`.

    discord.py's own cooldowns use the wall clock, which may be set back, and none of them covers
    both commands and buttons."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._seconds = seconds
        self._clock = clock
        self._ends: TTLCache[int, float] = TTLCache(REMEMBERED, seconds, clock)

    def check(self, person: int) -> None:
        """Raises CooldownError, with the seconds left, if `person` was let through a moment ago."""
        now = self._clock()
        ends = self._ends.get(person, now)
        if ends > now:
            raise CooldownError(ends - now)
        self._ends[person] = now + self._seconds
