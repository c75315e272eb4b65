"""What a text copies from another: finding it, and keeping a model from doing it."""

from collections.abc import Sequence

import numpy as np

from charrnn.errors import OptionError

# Taken off the logit of a character that must not come; far more than any two logits differ by.
_FORBIDDEN = np.float32(1e5)
_BASE = 0x9E3779B97F4A7C15  # odd, so that every character counts in a product modulo 2**64
_WORD = 2**64


class VerbatimGuard:
    """Keeps generation from copying more than `longest` characters in a row from a text, so long
    as the model knows any character that does not follow there.

    >>> import numpy as np
    >>> source = np.array([0, 1, 2, 3], np.int32)
    >>> lanes = VerbatimGuard(source, longest=2, characters=5).lanes([np.array([4, 0, 1])])
    >>> logits = lanes.forbid(np.zeros((1, 5), np.float32))  # 0, 1 was written: 2 must not follow
    >>> int(logits.argmin())
    2
    """

    def __init__(self, source: np.ndarray, longest: int, characters: int):
        """`source`: ids int32 `(T,)` of a vocabulary of `characters`. Raises OptionError."""
        if longest < 1:
            raise OptionError("The longest run that may be copied must be at least 1 character.")
        self.longest = longest
        # One value more than characters: of what stands before the beginning of a text.
        self._values = _values(characters + 1)
        hashes = _hashes(self._values[source[:-1]], longest)
        order = hashes.argsort(kind="stable")
        # Each run of `longest` characters in the source, and the character that follows it.
        self._runs, self._followers = hashes[order], source[longest:][order]

    def lanes(self, written: Sequence[np.ndarray]) -> "GuardedLanes":
        """Guard texts of which `written`, ids int32 `(T,)` each, stands there already."""
        return GuardedLanes(self, written)

    def followers(self, run: np.uint64) -> np.ndarray:
        """The ids that follow a run in the source."""
        first, end = (np.searchsorted(self._runs, run, side) for side in ("left", "right"))
        return self._followers[first:end]

    def contain(self, runs: np.ndarray) -> np.ndarray:
        """Whether each run, uint64 `(B,)`, is in the source."""
        if not len(self._runs):
            return np.zeros(len(runs), bool)
        places = np.minimum(self._runs.searchsorted(runs), len(self._runs) - 1)
        return self._runs[places] == runs


class GuardedLanes:
    """Texts in the making, each with the hash of its last `longest` characters."""

    def __init__(self, guard: VerbatimGuard, written: Sequence[np.ndarray]):
        self._guard = guard
        nothing = len(guard._values) - 1
        self._recent = np.full((guard.longest, len(written)), nothing, np.int32)  # a ring
        self._count = 0
        # What a character adds when it comes, and takes away when it is `longest` ago.
        self._coming = guard._values
        self._going = guard._values * np.uint64(pow(_BASE, guard.longest, _WORD))
        start = _hashes(guard._values[self._recent[:, 0]], guard.longest)
        self._runs = np.repeat(start, len(written))
        tails = [ids[-guard.longest :] for ids in written]
        for step in range(-guard.longest, 0):
            self.wrote(np.array([t[step] if len(t) >= -step else nothing for t in tails], np.int32))

    def forbid(self, logits: np.ndarray) -> np.ndarray:
        """logits `(B, V)` with what would copy a character too many made impossible, in place."""
        for lane in self._guard.contain(self._runs).nonzero()[0]:
            logits[lane, np.unique(self._guard.followers(self._runs[lane]))] -= _FORBIDDEN
        return logits

    def wrote(self, ids: np.ndarray) -> None:
        """Each text goes on by a character, ids int32 `(B,)`."""
        oldest = self._recent[self._count % len(self._recent)]
        self._runs *= np.uint64(_BASE)
        self._runs += self._coming[ids]
        self._runs -= self._going[oldest]
        oldest[:] = ids
        self._count += 1


def longest_copy(texts: Sequence[np.ndarray], source: np.ndarray) -> tuple[int, np.ndarray]:
    """The longest run of characters that stands both in one of `texts` and in `source`, ids int32
    `(T,)` each: its length, and the run. There must be at least one text."""
    values = _values(1 + max(int(ids.max(initial=0)) for ids in (*texts, source)))
    best = np.zeros(0, np.int32)
    least, most = 1, max(len(ids) for ids in texts)  # the length of the longest lies within
    while least <= most:
        length = (least + most) // 2
        runs = np.sort(_hashes(values[source], length))
        copied = (_copied(ids, values, runs, length) for ids in texts)
        found = next((run for run in copied if run is not None), None)
        if found is None:
            most = length - 1
        else:
            best, least = found, length + 1
    return len(best), best


def _copied(
    ids: np.ndarray, values: np.ndarray, runs: np.ndarray, length: int
) -> np.ndarray | None:
    """A run of `ids` that is among the sorted `runs` of the source."""
    mine = _hashes(values[ids], length)
    if not len(runs) or not len(mine):
        return None
    places = np.minimum(runs.searchsorted(mine), len(runs) - 1)
    found = (runs[places] == mine).nonzero()[0]
    return ids[found[0] : found[0] + length] if len(found) else None


def _values(characters: int) -> np.ndarray:
    """A number for each character, uint64, the same ones always."""
    return np.random.default_rng(0).integers(_WORD, size=characters, dtype=np.uint64)


def _hashes(values: np.ndarray, length: int) -> np.ndarray:
    """A polynomial hash, modulo 2**64, of each run of `length` characters: uint64 `(T,)` ->
    `(T - length + 1,)`. Two runs that differ share one with a probability of about 2**-64."""
    if length > len(values):
        return np.zeros(0, np.uint64)
    hashes, size = values, 1
    for bit in bin(length)[3:]:  # twice as long, and perhaps one more, until it is `length`
        hashes = hashes[:-size] * np.uint64(pow(_BASE, size, _WORD)) + hashes[size:]
        size *= 2
        if bit == "1":
            hashes = hashes[:-1] * np.uint64(_BASE) + values[size:]
            size += 1
    return hashes
