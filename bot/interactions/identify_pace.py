"""When a shard may begin a session: Discord takes a token back that begins 1,000 in a day."""

import time
from collections import defaultdict
from collections.abc import Callable

HOUR_S = 3600.0
PAUSE_S = 5.0  # that Discord asks for between two
AT_ONCE = 6  # in an hour, before the pauses grow
LONGEST_PAUSE_S = 300.0


class IdentifyPace:
    """Spaces the sessions that each shard begins: a few soon after each other, as a network that
    comes and goes needs them; more only at growing distances. These grow, and are remembered, the
    longer the more `shards` the token has, in whatever processes: all of them begin some 300
    sessions in a day, and one to two dozen each before that."""

    def __init__(self, shards: int, clock: Callable[[], float] = time.monotonic):
        self._longest_pause_s = LONGEST_PAUSE_S * shards
        self._remembered_s = HOUR_S * shards
        self._clock = clock
        self._begun: defaultdict[int, list[float]] = defaultdict(list)  # by shard

    def wait_s(self, shard: int) -> float:
        """Seconds until `shard` may begin its next session."""
        now = self._clock()
        begun = [at for at in self._begun[shard] if now - at < self._remembered_s]
        self._begun[shard] = begun
        if not begun:
            return 0.0
        pause_s = min(PAUSE_S * 2 ** max(0, len(begun) - AT_ONCE), self._longest_pause_s)
        return max(0.0, begun[-1] + pause_s - now)

    def begin(self, shard: int) -> None:
        """`shard` begins one now."""
        self._begun[shard].append(self._clock())
