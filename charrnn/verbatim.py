"""What a text copies from another: finding it, and keeping a model from doing it."""

import io
import tokenize
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from charrnn.errors import ModelError, OptionError

MAX_LONGEST = 10_000  # characters that may be copied in a row; a lane keeps so many in mind

# Added to the logit of a character that must not come; far more than any two logits differ by.
_FORBIDDEN = np.float32(-1e5)
_BASE = 0x9E3779B97F4A7C15  # odd, so that every character counts in a product modulo 2**64
_WORD = 2**64
_LIMITS, _HASHES, _IDS = np.dtype(np.int64), np.dtype(np.uint64), np.dtype(np.int32)
_ARRAYS = {"limits": _LIMITS, "runs": _HASHES, "followers": _IDS, "blocks": _HASHES}

# What zipfile and NumPy raise over an archive that is damaged.
_REFUSALS = (
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
)


class VerbatimGuard:
    """Keeps generation from copying more than `longest` characters in a row from a text, so long
    as the model knows any character that does not follow there.

    >>> import numpy as np
    >>> source = np.array([0, 1, 2, 3], np.int32)
    >>> lanes = VerbatimGuard(source, longest=2, characters=5).lanes([np.array([4, 0, 1])])
    >>> steps, bias = lanes.ahead()  # 0, 1 was written: 2 must not follow
    >>> steps, int(bias.argmin())
    (1, 2)
    """

    def __init__(self, source: np.ndarray, longest: int, characters: int):
        """`source`: ids int32 `(T,)` of a vocabulary of `characters`. Raises OptionError."""
        if not 1 <= longest <= MAX_LONGEST:
            raise OptionError(
                f"The longest run that may be copied must be 1 to {MAX_LONGEST:,} characters."
            )
        # One value more than characters: of what stands before the beginning of a text.
        values = _values(characters + 1)
        runs = _hashes(values[source[:-1]], longest)
        order = runs.argsort(kind="stable")
        blocks = np.sort(_hashes(values[source], _block(longest)))
        self._set(longest, characters, runs[order], source[longest:][order], blocks)

    def _set(
        self,
        longest: int,
        characters: int,
        runs: np.ndarray,
        followers: np.ndarray,
        blocks: np.ndarray,
    ) -> None:
        self.longest = longest
        self.characters = characters
        self.values = _values(characters + 1)
        # Each run of `longest` characters in the source, and the character that follows it.
        self._runs, self._followers = runs, followers
        # A run of `longest` characters holds a whole block of these, wherever blocks begin.
        self.block = _block(longest)
        self._blocks = blocks

    def save(self, path: Path) -> None:
        """Write it as a NumPy archive: hashes of what the source holds, not its text."""
        with path.open("wb") as file:
            np.savez(
                file,
                limits=np.array([self.longest, self.characters], _LIMITS),
                runs=self._runs,
                followers=self._followers,
                blocks=self._blocks,
            )

    @classmethod
    def load(cls, path: Path, characters: int) -> "VerbatimGuard":
        """What `save` wrote for a vocabulary of `characters`. Raises ModelError when `path` holds
        anything else."""
        try:
            limits, runs, followers, blocks = _read_arrays(path)
            longest, found = map(int, limits)
            if not 1 <= longest <= MAX_LONGEST or len(runs) != len(followers):
                raise ValueError("the arrays do not fit each other")
        except _REFUSALS as error:
            raise ModelError(f"{path} cannot be read: it is no archive of a guard.") from error
        least, most = followers.min(initial=0), followers.max(initial=0)
        if found != characters or least < 0 or most >= characters:
            raise ModelError(f"{path} belongs to another model.")
        guard = cls.__new__(cls)
        guard._set(longest, characters, runs, followers, blocks)
        return guard

    def lanes(self, written: Sequence[np.ndarray]) -> "GuardedLanes":
        """Guard texts of which `written`, ids int32 `(T,)` each, stands there already."""
        return GuardedLanes(self, written)

    def suspects(self, blocks: np.ndarray) -> np.ndarray:
        """Which of the blocks, ids `(block, B)`, stand in the source: int `(S,)`."""
        return _contained(_hash_columns(self.values[blocks]), self._blocks).nonzero()[0]

    def followers(self, run: np.ndarray) -> np.ndarray:
        """The ids that follow a run, ids `(longest,)`, in the source."""
        hashed = _hash_columns(self.values[run[:, np.newaxis]])
        [first], [end] = (np.searchsorted(self._runs, hashed, side) for side in ("left", "right"))
        return np.unique(self._followers[first:end])


def _read_arrays(path: Path) -> list[np.ndarray]:
    """The arrays `(N,)` in an archive that `save` wrote: as they are, so that they take no more
    memory than the file, whatever is said of their sizes; and nothing is unpickled. Raises one of
    _REFUSALS."""
    arrays = []
    with zipfile.ZipFile(path) as archive:
        for name, dtype in _ARRAYS.items():
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed")
            file = io.BytesIO(archive.read(member))
            np.lib.format.read_magic(file)
            shape, _, found = np.lib.format.read_array_header_1_0(file)
            array = np.frombuffer(file.read(), dtype)
            if found != dtype or shape != array.shape:
                raise ValueError(f"{name} is another array")
            arrays.append(array)
    return arrays


class GuardedLanes:
    """Texts in the making. Only where the last block stands in the source is every step watched:
    any run that is too long has a block in it that was looked at."""

    def __init__(self, guard: VerbatimGuard, written: Sequence[np.ndarray]):
        self._guard = guard
        nothing = guard.characters
        recent = np.full((guard.longest, len(written)), nothing, np.int32)
        for lane, ids in enumerate(written):
            tail = ids[-guard.longest :]
            recent[guard.longest - len(tail) :, lane] = tail
        self._written = list(recent)
        self._suspects = np.zeros(0, int)

    def ahead(self) -> tuple[int, np.ndarray | None]:
        """How many characters may now be written before `wrote` is told of them, and what to add
        to their logits, float32 `(B, V)`: what would copy a character too many is impossible."""
        guard = self._guard
        if (len(self._written) - guard.longest) % guard.block == 0:
            self._suspects = guard.suspects(np.stack(self._written[-guard.block :]))
        if not len(self._suspects):
            return guard.block, None
        bias = np.zeros((len(self._written[-1]), guard.characters), np.float32)
        for lane in self._suspects:
            run = np.array([ids[lane] for ids in self._written[-guard.longest :]])
            bias[lane, guard.followers(run)] = _FORBIDDEN
        return 1, bias

    def wrote(self, ids: np.ndarray) -> None:
        """The texts go on by N characters each, ids int32 `(N, B)`."""
        self._written.extend(ids)


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


def _hash_columns(values: np.ndarray) -> np.ndarray:
    """What `_hashes` gives for each column of values, uint64 `(length, B)` -> `(B,)`."""
    hashed = np.zeros(values.shape[1], np.uint64)
    for row in values:
        hashed = hashed * np.uint64(_BASE) + row
    return hashed
