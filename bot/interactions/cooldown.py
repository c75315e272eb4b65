"""One request a person in so many seconds."""

import time
from collections.abc import Callable

from bot.errors import CooldownError

# Beyond this, people whose cooldown is over are forgotten.
REMEMBERED = 10_000


class Cooldown:
    """Lets each person through once in `seconds`."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._seconds = seconds
        self._clock = clock
        self._until: dict[int, float] = {}

    def check(self, person: int) -> None:
        """Raises CooldownError, with the seconds left, when `person` asked a moment ago."""
        now = self._clock()
        wait_s = self._until.get(person, now) - now
        if wait_s > 0:
            raise CooldownError(wait_s)
        if len(self._until) >= REMEMBERED:
            self._until = {who: until for who, until in self._until.items() if until > now}
        self._until[person] = now + self._seconds
