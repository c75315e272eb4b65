"""Prompt -> window -> engine -> sampling -> text, for one prompt or many at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from charrnn.engine import Lanes
from charrnn.errors import OptionError
from charrnn.sampling import Sampler, Sampling
from charrnn.store import Model
from charrnn.verbatim import GuardedLanes, VerbatimGuard

MAX_LENGTH = 1_000_000
MAX_RNG_SEED = 2**63 - 1


@dataclass(frozen=True)
class Prompt:
    """What to go on from, and how. The same prompt gives the same text, whoever else asks."""

    seed: str
    length: int = 500  # characters (code points) to write
    sampling: Sampling = field(default_factory=Sampling)
    rng_seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.length <= MAX_LENGTH:
            raise OptionError(f"The length must be 1 to {MAX_LENGTH:,} characters.")
        if not 0 <= self.rng_seed <= MAX_RNG_SEED:
            raise OptionError(f"The random seed must be 0 to {MAX_RNG_SEED}.")


@dataclass(frozen=True)
class Generated:
    """`length` characters, and the distinct characters of the seed that the model cannot say."""

    text: str
    dropped: str


def generate(
    model: Model, prompts: Sequence[Prompt], guard: VerbatimGuard | None = None
) -> list[Generated]:
    """What `model` writes after each prompt. Each text is, to the bit, what its prompt would give
    alone. With a `guard`, seed and text together copy no more from its source than it allows
    (what the seed copies by itself is the asker's). Raises nothing on account of a seed, whatever
    is in it."""
    if not prompts:
        return []
    seeds = [model.vocabulary.encode(prompt.seed) for prompt in prompts]
    length = max(prompt.length for prompt in prompts)
    uniforms = np.zeros((len(prompts), length))
    for lane, prompt in enumerate(prompts):
        rng = np.random.default_rng(prompt.rng_seed)
        uniforms[lane, : prompt.length] = rng.random(prompt.length)
    sampler = Sampler([prompt.sampling for prompt in prompts], len(model.vocabulary))
    ids = [seed.ids for seed in seeds]
    stateful = model.engine.spec.stateful
    reader = _primed_lanes(model, ids) if stateful else _Sliding(model, ids, length)
    written = _write(reader, sampler, uniforms, guard.lanes(ids) if guard else None)
    return [
        Generated(model.vocabulary.decode(written[lane, : prompt.length]), seeds[lane].dropped)
        for lane, prompt in enumerate(prompts)
    ]


def _write(
    reader: "Lanes | _Sliding",
    sampler: Sampler,
    uniforms: np.ndarray,
    guarded: GuardedLanes | None,
) -> np.ndarray:
    """What follows what `reader` has read, by uniform numbers `(B, N)`: ids `(B, N)`."""
    written = np.empty(uniforms.shape, np.int32)
    for n in range(uniforms.shape[1]):
        if n > 0:
            reader.read(written[:, n - 1])
        if guarded:
            guarded.forbid(reader.logits)
        written[:, n] = sampler(reader.logits, uniforms[:, n])
        if guarded:
            guarded.wrote(written[:, n])
    return written


def _primed_lanes(model: Model, seeds: Sequence[np.ndarray]) -> Lanes:
    """Lanes that have read the windows which the seeds, ids `(T,)` each, end."""
    window = model.engine.spec.window
    seeds = [seed[-window:] for seed in seeds]
    primed = [model.primed(window - len(seed)) for seed in seeds]
    logits, state = (np.stack(arrays) for arrays in zip(*primed, strict=True))
    # The seeds end together, so a short one begins late.
    left = np.array([len(seed) for seed in seeds])
    while (longest := left.max()) > 0:
        lanes = (left == longest).nonzero()[0]
        ids = np.array([seeds[lane][-longest] for lane in lanes], np.int32)
        logits[lanes], state[lanes] = model.engine.step(ids, state[lanes])
        left[lanes] -= 1
    return model.engine.lanes(logits, state)


class _Sliding:
    """Predicts from exactly the last T characters, from zero state, as the tutorial's loop does,
    without reading T characters for each: up to T lanes a text are in flight, each started one
    character after the other. The oldest has read T characters, predicts, and is done."""

    def __init__(self, model: Model, seeds: Sequence[np.ndarray], length: int):
        """Reads the windows that the seeds end, ids `(T,)` each, to predict `length` times."""
        self._engine = model.engine
        self._texts = len(seeds)
        self._left = length  # lanes to start
        self._state = model.engine.zero_state(0)  # of the oldest lane of each text first
        opening = model.vocabulary.encode(model.opening).ids
        window = model.engine.spec.window
        windows = np.stack([np.concatenate([opening, seed])[-window:] for seed in seeds])
        for ids in windows.T:
            self._step(ids)

    def read(self, ids: np.ndarray) -> None:
        """As `Lanes.read`."""
        self._state = self._state[self._texts :]
        self._step(ids)

    def _step(self, ids: np.ndarray) -> None:
        if self._left > 0:
            self._left -= 1
            youngest = self._engine.zero_state(self._texts)
            self._state = np.concatenate([self._state, youngest])
        every = np.tile(ids, len(self._state) // self._texts)
        logits, self._state = self._engine.step(every, self._state)
        self.logits = logits[: self._texts]
