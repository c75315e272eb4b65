"""Generate texts from prompts, one or many at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np

from charrnn.errors import OptionError
from charrnn.sampling import LaneSampling, Sampling
from charrnn.store import Model
from charrnn.verbatim import VerbatimGuard

MAX_LENGTH = 1_000_000
MAX_RNG_SEED = 2**63 - 1
FREQUENT = 3  # speakers that are named when a person asks for an unknown one
STEPS_PER_CALL = 1000  # Python handles Ctrl-C only between two calls of the engine


@dataclass(frozen=True)
class Prompt:
    """A request for a text. The same prompt always gives the same text.

    Raises OptionError when an option is out of range."""

    seed: str  # the text to continue; may be empty
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
    """A text of the length asked for, and what the model could not read of the seed."""

    text: str
    dropped: str  # distinct characters of the seed that the model does not know


def generate(
    model: Model, prompts: Sequence[Prompt], guard: VerbatimGuard | None = None
) -> list[Generated]:
    """Generate a text for each prompt; to the bit the text that its prompt gives alone.

    `guard`, of `model.guard_against`, replaces the model's own guard, if any. Seed and text
    together then copy no more of the guard's source than it allows, except for what the seed itself
    copies. Raises OptionError for a guard made for another number of characters."""
    if not prompts:
        return []
    guard = guard or model.guard
    if guard and guard.characters != len(model.vocabulary):
        raise OptionError(f"The guard was made for another model than {model.name}.")
    seeds = [model.vocabulary.encode(prompt.seed) for prompt in prompts]
    seed_ids = [seed.ids for seed in seeds]
    length = max(prompt.length for prompt in prompts)
    uniform = np.zeros((length, len(prompts)), np.float32)
    for lane, prompt in enumerate(prompts):
        rng = np.random.default_rng(prompt.rng_seed)
        uniform[: prompt.length, lane] = rng.random(prompt.length, np.float32)
    sampling = LaneSampling.of([prompt.sampling for prompt in prompts], len(model.vocabulary))
    guarded = guard.lanes(seed_ids) if guard else None
    ids, state = _primed(model, seed_ids)
    written = np.empty((length, len(prompts)), np.int32)
    n = 0
    while n < length:
        steps, bias = guarded.next_steps() if guarded else (STEPS_PER_CALL, None)
        chosen, state = model.engine.write(ids, state, uniform[n : n + steps], sampling, bias)
        written[n : n + len(chosen)] = chosen
        ids = chosen[-1]
        n += len(chosen)
        if guarded:
            guarded.append(chosen)
    return [
        Generated(model.vocabulary.decode(written[: prompt.length, lane]), seeds[lane].dropped)
        for lane, prompt in enumerate(prompts)
    ]


def speaker_called(typed: str, model: str, speakers: Sequence[str]) -> str:
    """The one of `speakers` with this name, in any case. Raises OptionError, with similar names, if
    the model of the name `model` knows no such speaker."""
    if not speakers:
        raise OptionError(f"{model} has learnt no play, so it knows no speakers.")
    names = {name.casefold(): name for name in speakers}
    wanted = typed.strip().casefold()
    if wanted in names:
        return names[wanted]
    similar = [names[key] for key in get_close_matches(wanted, names)]
    others = (
        f"Did you mean {' or '.join(similar)}?"
        if similar
        else f"Its most frequent are {', '.join(speakers[:FREQUENT])}."
    )
    raise OptionError(f"{model} knows no speaker called {typed!r}. {others}")


def _primed(model: Model, seeds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Fill each lane's window with opening and seed, ids `(T,)`. Returns the last ids of the
    windows `(B,)`, and the state after everything before them."""
    window = model.engine.spec.window
    windows = np.stack([np.concatenate([model.opening_ids, seed])[-window:] for seed in seeds])
    last = windows[:, -1]
    if not model.engine.spec.stateful:
        return last, model.engine.read(windows[:, :-1])[1]
    lengths = [min(len(seed), window) for seed in seeds]
    state = np.stack([model.primed(length) for length in lengths])
    # All windows end at the same step, so lanes with shorter seeds join later.
    left = np.array([max(0, length - 1) for length in lengths])
    while (longest := left.max()) > 0:
        lanes = (left == longest).nonzero()[0]
        _, state[lanes] = model.engine.step(windows[lanes, -1 - longest], state[lanes])
        left[lanes] -= 1
    return last, state
