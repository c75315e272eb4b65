"""Prompt -> window -> engine -> sampling -> text, for one prompt or many at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np

from charrnn.errors import OptionError
from charrnn.sampling import LaneSampling, Sampling
from charrnn.store import Model
from charrnn.verbatim import VerbatimGuard

MAX_LENGTH = 1_000_000
MAX_RNG_SEED = 2**63 - 1
STEPS_AT_ONCE = 1000  # between two of which Ctrl-C is heard


@dataclass(frozen=True)
class Prompt:
    """What to go on from, and how. The same prompt gives the same text, whoever else asks."""

    seed: str
    length: int = 500  # characters (code points) to write
    sampling: Sampling = field(default_factory=Sampling)
    rng_seed: int = 0

    def __post_init__(self) -> None:
        if not (isinstance(self.length, Integral) and 1 <= self.length <= MAX_LENGTH):
            raise OptionError(f"The length must be 1 to {MAX_LENGTH:,} characters.")
        if not (isinstance(self.rng_seed, Integral) and 0 <= self.rng_seed <= MAX_RNG_SEED):
            raise OptionError(f"The random seed must be a whole number, 0 to {MAX_RNG_SEED}.")


@dataclass(frozen=True)
class Generated:
    """`length` characters, and the distinct characters of the seed that the model cannot say."""

    text: str
    dropped: str


def generate(
    model: Model, prompts: Sequence[Prompt], guard: VerbatimGuard | None = None
) -> list[Generated]:
    """What `model` writes after each prompt. Each text is, to the bit, what its prompt would give
    alone. With a `guard`, and a model may have one of its own, seed and text together copy no more
    from its source than it allows (what the seed copies by itself is the asker's). Raises nothing
    on account of a seed, whatever is in it."""
    if not prompts:
        return []
    seeds = [model.vocabulary.encode(prompt.seed) for prompt in prompts]
    seed_ids = [seed.ids for seed in seeds]
    length = max(prompt.length for prompt in prompts)
    uniform = np.zeros((length, len(prompts)), np.float32)
    for lane, prompt in enumerate(prompts):
        rng = np.random.default_rng(prompt.rng_seed)
        uniform[: prompt.length, lane] = rng.random(prompt.length, np.float32)
    sampling = LaneSampling.of([prompt.sampling for prompt in prompts], len(model.vocabulary))
    guard = guard or model.guard
    guarded = guard.lanes(seed_ids) if guard else None
    ids, state = _primed(model, seed_ids)
    written = np.empty((length, len(prompts)), np.int32)
    n = 0
    while n < length:
        steps, bias = guarded.ahead() if guarded else (STEPS_AT_ONCE, None)
        numbers = uniform[n : n + steps]
        chosen, state = model.engine.write(ids, state, numbers, sampling, bias)
        written[n : n + len(chosen)] = chosen
        ids = chosen[-1]
        n += len(chosen)
        if guarded:
            guarded.wrote(chosen)
    return [
        Generated(model.vocabulary.decode(written[: prompt.length, lane]), seeds[lane].dropped)
        for lane, prompt in enumerate(prompts)
    ]


def _primed(model: Model, seeds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The last characters of the windows that the seeds, ids `(T,)` each, end: ids `(B,)`; and the
    state of lanes that have read what stands before those."""
    window = model.engine.spec.window
    windows = np.stack([np.concatenate([model.opening_ids, seed])[-window:] for seed in seeds])
    last = windows[:, -1]
    if not model.engine.spec.stateful:
        return last, model.engine.read(windows[:, :-1])[1]
    lengths = [min(len(seed), window) for seed in seeds]
    state = np.stack([model.primed(length) for length in lengths])
    # The windows end together, so where the seed is short there is less left to read.
    left = np.array([max(0, length - 1) for length in lengths])
    while (longest := left.max()) > 0:
        lanes = (left == longest).nonzero()[0]
        _, state[lanes] = model.engine.step(windows[lanes, -1 - longest], state[lanes])
        left[lanes] -= 1
    return last, state
