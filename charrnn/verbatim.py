"""Find what a text copies from another, and keep a model from copying."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from charrnn.errors import ModelError, OptionError

MAX_LONGEST = 10_000  # characters; each lane remembers this many

_FORBIDDEN = np.float32(-1e5)  # added to a logit; far more than any two logits differ by
_BASE = 0x9E3779B97F4A7C15  # odd, so that every character counts in a product modulo 2**64
_WORD = 2**64
_ARRAYS = ("runs", "followers", "blocks")


@dataclass(frozen=True, eq=False)
class VerbatimGuard:
    """Keeps a model from copying more than `longest` characters in a row from a source text, as
    long as the model knows a character that does not follow there.

    >>> import numpy as np
    >>> source = np.array([0, 1, 2, 3], np.int32)
    >>> lanes = VerbatimGuard.of(source, longest=2, characters=5).lanes([np.array([4, 0, 1])])
    >>> steps, bias = lanes.next_steps()  # the text ends in 0, 1, so 2 must not follow
    >>> steps, int(bias.argmin())
    (1, 2)
    """

    longest: int
    characters: int  # V
    runs: np.ndarray  # uint64 (N,), sorted: hashes of all runs of `longest` characters
    followers: np.ndarray  # int32 (N,): the character after each run
    # uint64 (M,), sorted: hashes of all runs of `block` characters. A run of `longest` characters
    # contains a whole block, wherever blocks begin.
    blocks: np.ndarray

    @classmethod
    def of(cls, source: np.ndarray, longest: int, characters: int) -> "VerbatimGuard":
        """Guard the text `source`, ids int32 `(T,)` of a vocabulary of `characters`. Raises
        OptionError when `longest` is out of range."""
        if not 1 <= longest <= MAX_LONGEST:
            raise OptionError(
                f"The longest run that may be copied must be 1 to {MAX_LONGEST:,} characters."
            )
        values = _values(characters + 1)
        runs = _hashes(values[source[:-1]], longest)
        order = runs.argsort(kind="stable")
        blocks = np.sort(_hashes(values[source], _block(longest)))
        return cls(longest, characters, runs[order], source[longest:][order], blocks)

    def save(self, path: Path) -> None:
        """Write a NumPy archive. It contains hashes, not the source text."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez(path, limits=np.array([self.longest, self.characters]), **arrays)

    @classmethod
    def load(cls, path: Path, characters: int) -> "VerbatimGuard":
        """Read what `save` wrote, for a vocabulary of `characters`. Raises ModelError when it is
        damaged."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                longest, saved_for = map(int, arrays["limits"])
                if not 1 <= longest <= MAX_LONGEST or saved_for != characters:
                    raise ValueError("a limit is out of range")
                runs, followers, blocks = (arrays[name] for name in _ARRAYS)
        except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
            raise ModelError(f"{path} is damaged.") from error
        return cls(longest, characters, runs, followers, blocks)

    @property
    def block(self) -> int:
        return _block(self.longest)

    @cached_property
    def _values(self) -> np.ndarray:
        # One more than there are characters: for what stands before the beginning of a text.
        return _values(self.characters + 1)

    def lanes(self, texts: Sequence[np.ndarray]) -> "GuardedLanes":
        """Guard lanes that continue these texts, ids int32 `(T,)` each."""
        return GuardedLanes(self, texts)

    def suspects(self, blocks: np.ndarray) -> np.ndarray:
        """The lanes whose block occurs in the source: ids `(block, B)` -> int `(lanes,)`."""
        return _contained(_hash_columns(self._values[blocks]), self.blocks).nonzero()[0]

    def followers_of(self, run: np.ndarray) -> np.ndarray:
        """The ids that follow a run, ids `(longest,)`, in the source."""
        hashed = _hash_columns(self._values[run[:, np.newaxis]])
        [first], [end] = (np.searchsorted(self.runs, hashed, side) for side in ("left", "right"))
        return np.unique(self.followers[first:end])


class GuardedLanes:
    """Texts being written under a guard. A run that is too long contains a whole block, so single
    steps are only needed in lanes whose last block occurs in the source."""

    def __init__(self, guard: VerbatimGuard, texts: Sequence[np.ndarray]):
        self._guard = guard
        before = guard.characters  # the id of what stands before the beginning of a text
        recent = np.full((guard.longest, len(texts)), before, np.int32)
        for lane, ids in enumerate(texts):
            tail = ids[-guard.longest :]
            recent[guard.longest - len(tail) :, lane] = tail
        self._recent = deque(recent, maxlen=guard.longest)  # steps, (B,) each
        self._written = 0
        self._suspects = np.zeros(0, int)

    def next_steps(self) -> tuple[int, np.ndarray | None]:
        """How many characters may be written before the next `append`, and what to add to their
        logits, float32 `(B, V)`, so that no lane copies too much."""
        guard = self._guard
        if self._written % guard.block == 0:
            self._suspects = guard.suspects(np.stack(self._recent)[-guard.block :])
        if not len(self._suspects):
            return guard.block, None
        bias = np.zeros((len(self._recent[-1]), guard.characters), np.float32)
        for lane in self._suspects:
            run = np.array([ids[lane] for ids in self._recent])
            bias[lane, guard.followers_of(run)] = _FORBIDDEN
        return 1, bias

    def append(self, ids: np.ndarray) -> None:
        """Add what the lanes have written, ids int32 `(N, B)`."""
        self._recent.extend(ids)
        self._written += len(ids)


def longest_copy(texts: Sequence[np.ndarray], source: np.ndarray) -> tuple[int, np.ndarray]:
    """The longest run that occurs in one of `texts` and in `source`, ids int32 `(T,)` each: its
    length, and its ids. `texts` must not be empty."""
    values = _values(1 + max(int(ids.max(initial=0)) for ids in (*texts, source)))
    best = np.zeros(0, np.int32)
    least, most = 1, max(len(ids) for ids in texts)  # binary search for the length
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
    """The first run of `ids` whose hash is among the sorted `runs`."""
    found = _contained(_hashes(values[ids], length), runs).nonzero()[0]
    return ids[found[0] : found[0] + length] if len(found) else None


def _contained(hashes: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Whether each of `hashes` is in the sorted `among`."""
    if not len(among):
        return np.zeros(len(hashes), bool)
    places = np.minimum(among.searchsorted(hashes), len(among) - 1)
    return among[places] == hashes


def _block(longest: int) -> int:
    return (longest + 1) // 2


def _values(characters: int) -> np.ndarray:
    """A fixed random number for each character, uint64 `(characters,)`."""
    return np.random.default_rng(0).integers(_WORD, size=characters, dtype=np.uint64)


def _hashes(values: np.ndarray, length: int) -> np.ndarray:
    """A polynomial hash, modulo 2**64, of each run of `length` characters: uint64 `(T,)` ->
    `(T - length + 1,)`. Two different runs have equal hashes with a probability of about 2**-64."""
    if length > len(values):
        return np.zeros(0, np.uint64)
    hashes, size = values, 1
    for bit in bin(length)[3:]:  # double the runs, and add one character where the bit is set
        hashes = hashes[:-size] * np.uint64(pow(_BASE, size, _WORD)) + hashes[size:]
        size *= 2
        if bit == "1":
            hashes = hashes[:-1] * np.uint64(_BASE) + values[size:]
            size += 1
    return hashes


def _hash_columns(values: np.ndarray) -> np.ndarray:
    """The same hash of each column: uint64 `(length, B)` -> `(B,)`."""
    hashed = np.zeros(values.shape[1], np.uint64)
    for row in values:
        hashed = hashed * np.uint64(_BASE) + row
    return hashed
