"""Prompt -> window -> engine -> sampling -> text, for one prompt or many at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from charrnn.engine import Engine
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
    opening = model.vocabulary.encode(model.opening).ids
    seeds = [model.vocabulary.encode(prompt.seed) for prompt in prompts]
    windows = [np.concatenate([opening, s.ids])[-model.engine.spec.window :] for s in seeds]
    length = max(prompt.length for prompt in prompts)
    uniforms = np.zeros((len(prompts), length))
    for lane, prompt in enumerate(prompts):
        rng = np.random.default_rng(prompt.rng_seed)
        uniforms[lane, : prompt.length] = rng.random(prompt.length)
    sampler = Sampler([prompt.sampling for prompt in prompts], len(model.vocabulary))
    reader = _Stateful if model.engine.spec.stateful else _Sliding
    lanes = guard.lanes([seed.ids for seed in seeds]) if guard else None
    written = _write(
        reader(model.engine, len(prompts)), np.stack(windows), sampler, uniforms, lanes
    )
    return [
        Generated(model.vocabulary.decode(written[lane, : prompt.length]), seeds[lane].dropped)
        for lane, prompt in enumerate(prompts)
    ]


def _write(
    reader: "_Stateful | _Sliding",
    windows: np.ndarray,
    sampler: Sampler,
    uniforms: np.ndarray,
    guarded: GuardedLanes | None,
) -> np.ndarray:
    """Windows `(B, T)`, uniform numbers `(B, N)` -> ids `(B, N)`."""
    for ids in windows[:, :-1].T:
        reader.read(np.ascontiguousarray(ids))
    written = np.empty(uniforms.shape, np.int32)
    newest = np.ascontiguousarray(windows[:, -1])
    for n in range(uniforms.shape[1]):
        logits = reader.read(newest)
        if guarded:
            logits = guarded.forbid(logits)
        newest = written[:, n] = sampler(logits, uniforms[:, n])
        if guarded:
            guarded.wrote(newest)
    return written


class _Stateful:
    """Carries one state a text on and on."""

    def __init__(self, engine: Engine, texts: int):
        self._engine = engine
        self._state = engine.zero_state(texts)

    def read(self, ids: np.ndarray) -> np.ndarray:
        """The texts' next characters, ids `(B,)` -> logits `(B, V)` of those after them."""
        logits, self._state = self._engine.step(ids, self._state)
        return logits


class _Sliding:
    """Predicts from exactly the last T characters, from zero state, as the tutorial's loop does,
    without reading T characters for each: T lanes a text are in flight, each started one
    character after the other. The oldest has read T characters and predicts; then it is cleared
    and becomes the youngest."""

    def __init__(self, engine: Engine, texts: int):
        self._engine = engine
        self._texts = texts
        self._window = engine.spec.window
        self._state = engine.zero_state(texts * self._window)
        self._count = 0  # characters read

    def read(self, ids: np.ndarray) -> np.ndarray:
        """As `_Stateful.read`; the logits count once T characters have been read."""
        self._state.reshape(self._texts, self._window, -1)[:, self._count % self._window] = 0
        every = np.repeat(ids, self._window)
        logits, self._state = self._engine.step(every, self._state)
        self._count += 1
        return logits.reshape(self._texts, self._window, -1)[:, self._count % self._window]
