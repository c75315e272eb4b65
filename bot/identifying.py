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
    comes and goes needs them; more only at growing distances, some 300 in a day."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._begun: defaultdict[int, list[float]] = defaultdict(list)  # within an hour, by shard

    def wait_s(self, shard: int) -> float:
        """Seconds until `shard` may begin its next session."""
        now = self._clock()
        begun = self._begun[shard] = [at for at in self._begun[shard] if now - at < HOUR_S]
        if not begun:
            return 0.0
        pause_s = min(PAUSE_S * 2 ** max(0, len(begun) - AT_ONCE), LONGEST_PAUSE_S)
        return max(0.0, begun[-1] + pause_s - now)

    def begin(self, shard: int) -> None:
        """`shard` begins one now."""
        self._begun[shard].append(self._clock())
