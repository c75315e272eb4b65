"""How long batches take, learned from those that were written."""

from collections import deque
from itertools import combinations
from statistics import median
from typing import Any

from cachetools import LRUCache

from bot.inference.turns import Batch
from bot.models.reference import ModelReference

# One text takes about three times as long as each further text adds: with AVX2, 1 text took 0.10 s,
# 8 took 0.36 s and 32 took 1.26 s; with VNNI, 4 took 0.07 s and 64 took 0.73 s. So batches of one
# size give an estimate for all sizes, by a line through this point, too.
ORIGIN = (-2, 0.0)
FURTHER_TEXT_S = 0.03  # assumed until a batch has been measured
RECENT = 6  # batches that count
ENOUGH = 3  # batches of a model, to learn from these alone; the first may load the model
MODELS = 1000  # remembered


class BatchTimes:
    """Learns how long batches take, for each model."""

    def __init__(self) -> None:
        self._models: LRUCache[ModelReference, _Line] = LRUCache(MODELS)
        self._all = _Line()

    def add(self, batch: Batch[Any], seconds: float) -> None:
        """Learn that `batch` took this long."""
        for line in self._models.setdefault(batch.model, _Line()), self._all:
            line.add(len(batch.requests), seconds)

    def expected_s(self, batch: Batch[Any]) -> float:
        line = self._models.get(batch.model)
        if line is None or len(line.points) < ENOUGH:
            line = self._all
        return line.start + line.slope * len(batch.requests)


class _Line:
    """Seconds by number of texts: the Theil-Sen estimate, which a few outliers do not change."""

    def __init__(self) -> None:
        self.points: deque[tuple[int, float]] = deque(maxlen=RECENT)
        self.slope = FURTHER_TEXT_S
        self.start = 2 * FURTHER_TEXT_S

    def add(self, texts: int, seconds: float) -> None:
        self.points.append((texts, seconds))
        points = [ORIGIN, *self.points]
        slopes = [(s - t) / (n - m) for (n, s), (m, t) in combinations(points, 2) if n != m]
        self.slope = max(0.0, median(slopes))
        self.start = median(s - self.slope * n for n, s in points)
