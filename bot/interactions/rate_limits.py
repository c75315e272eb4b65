"""How often a person may ask, and how often a shard may identify."""

import time
from collections import defaultdict
from collections.abc import Callable

from cachetools import TTLCache

from bot.errors import BotError

REMEMBERED = 10_000  # people

# For IDENTIFYs. Discord resets the token of a bot that sends 1,000 in a day.
HOUR_S = 3600.0
PAUSE_S = 5.0  # Discord's minimum between two IDENTIFYs
FREE = 6  # IDENTIFYs that need no longer pause
LONGEST_PAUSE_S = 300.0


class Cooldown:
    """Lets each person through once in `seconds`.

    discord.py's own cooldowns belong to one command each, so buttons could not share them; and
    they use the wall clock, which may be set back."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._seconds = seconds
        self._clock = clock
        self._ends: TTLCache[int, float] = TTLCache(REMEMBERED, seconds, clock)

    def check(self, person: int) -> None:
        """Raises BotError, with the seconds left, if `person` was let through a moment ago."""
        now = self._clock()
        ends = self._ends.get(person, now)
        if ends > now:
            left_s = max(ends - now, 0.1)
            raise BotError(
                f"One at a time, please: try again in {left_s:.1f} seconds.", kind="cooldown"
            )
        self._ends[person] = now + self._seconds


class IdentifyPace:
    """Rate-limits IDENTIFYs per shard: six an hour run freely, then the pauses double.

    With n shards, the longest pause and the hour are n times as long. So however many shards the
    token has, all of them together stay at about 300 IDENTIFYs a day, plus one to two dozen each
    at the start."""

    def __init__(self, shards: int, clock: Callable[[], float] = time.monotonic):
        self._longest_pause_s = LONGEST_PAUSE_S * shards
        self._remembered_s = HOUR_S * shards
        self._clock = clock
        self._identified: defaultdict[int, list[float]] = defaultdict(list)  # times, by shard

    def wait_s(self, shard: int) -> float:
        """Seconds until `shard` may send its next IDENTIFY."""
        now = self._clock()
        recent = [at for at in self._identified[shard] if now - at < self._remembered_s]
        self._identified[shard] = recent
        if not recent:
            return 0.0
        pause_s = min(PAUSE_S * 2 ** max(0, len(recent) - FREE), self._longest_pause_s)
        return max(0.0, recent[-1] + pause_s - now)

    def begin(self, shard: int) -> None:
        """Note that `shard` sends an IDENTIFY now."""
        self._identified[shard].append(self._clock())
