"""Logits -> ids: greedy, temperature, top-k, top-p; vectorised over lanes."""

import math
from dataclasses import dataclass

import numpy as np

from charrnn.errors import OptionError

MAX_TEMPERATURE = 5.0
ARGMAX_BELOW = 1e-3  # a temperature that leaves nothing to chance


@dataclass(frozen=True)
class Sampling:
    """How the next character is chosen. Temperature 0 is argmax. `top_k` keeps the k likeliest
    characters, and more where the last of them are equally likely; `top_p` keeps the likeliest
    that together reach probability p (nucleus sampling, Holtzman et al., "The Curious Case of
    Neural Text Degeneration", 2020)."""

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and 0 <= self.temperature <= MAX_TEMPERATURE):
            raise OptionError(f"The temperature must be 0 to {MAX_TEMPERATURE:g}.")
        if not 0 < self.top_p <= 1:
            raise OptionError("top-p must be above 0 and at most 1.")
        if self.top_k is not None and self.top_k < 1:
            raise OptionError("top-k must be at least 1.")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities, in nats, of logits `(B, V)`."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


class Sampler:
    """Chooses for B lanes at once, each by its own `Sampling`; a lane's choice depends on its own
    logits and uniform number alone."""

    def __init__(self, samplings: list[Sampling], characters: int):
        def column(values: list[float]) -> np.ndarray:
            return np.array(values, np.float32)[:, None]

        self._greedy = np.array([s.temperature < ARGMAX_BELOW for s in samplings])
        self._any_greedy, self._all_greedy = self._greedy.any(), self._greedy.all()
        self._sharpness = column([1 / max(s.temperature, ARGMAX_BELOW) for s in samplings])
        # The share that may be cut off: never all of it.
        self._tail = column([min(1 - s.top_p, 1 - 2**-20) for s in samplings])
        # The rank, from the unlikeliest, of the first of the top k.
        self._cut = np.array([max(0, characters - (s.top_k or characters)) for s in samplings])
        self._lanes = np.arange(len(samplings))

    def __call__(self, logits: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """logits float32 `(B, V)` and uniform numbers in [0, 1) `(B,)` -> ids int32 `(B,)`."""
        if self._all_greedy:
            return logits.argmax(axis=-1).astype(np.int32)
        weights = np.exp((logits - logits.max(axis=-1, keepdims=True)) * self._sharpness)
        ascending = np.sort(weights, axis=-1)
        below = ascending.cumsum(axis=-1)
        cut = (below <= self._tail * below[:, -1:]).sum(axis=-1)
        least = ascending[self._lanes, np.maximum(cut, self._cut)]
        weights *= weights >= least[:, None]
        reached = weights.cumsum(axis=-1)
        # Inverse transform: the first character whose cumulative weight exceeds the uniform
        # share of the total, which must not be rounded up to the total.
        total = reached[:, -1]
        share = np.minimum(uniform * total, np.nextafter(total, 0))
        ids = (reached <= share[:, None]).sum(axis=-1, dtype=np.int32)
        if self._any_greedy:
            ids[self._greedy] = logits[self._greedy].argmax(axis=-1)
        return ids
