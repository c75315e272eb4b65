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
    characters; `top_p` keeps the likeliest that together reach probability p (nucleus sampling,
    Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020)."""

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
            return np.array(values, np.float64)[:, None]

        self._greedy = np.array([s.temperature < ARGMAX_BELOW for s in samplings])
        self._sharpness = column([1 / max(s.temperature, ARGMAX_BELOW) for s in samplings])
        self._top_p = column([s.top_p for s in samplings])
        self._top_k = column([s.top_k or characters for s in samplings])
        self._rank = np.arange(characters)

    def __call__(self, logits: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """logits `(B, V)` and uniform numbers in [0, 1) `(B,)` -> ids int32 `(B,)`."""
        if self._greedy.all():
            return logits.argmax(axis=-1).astype(np.int32)
        order = np.argsort(-logits, axis=-1, kind="stable")  # likeliest first
        ranked = np.take_along_axis(logits, order, axis=-1).astype(np.float64)
        weights = np.exp((ranked - ranked[:, :1]) * self._sharpness)
        weights[self._rank >= self._top_k] = 0
        total = weights.sum(axis=-1, keepdims=True)
        before = np.cumsum(weights, axis=-1) - weights  # what the likelier ones hold together
        weights[before >= self._top_p * total] = 0
        reached = np.cumsum(weights, axis=-1)
        # Inverse transform: the first rank whose cumulative weight exceeds the uniform share,
        # which must not be rounded up to the whole.
        total = reached[:, -1:]
        share = np.minimum(uniform[:, None] * total, np.nextafter(total, 0))
        rank = (reached <= share).sum(axis=-1)
        rank[self._greedy] = 0
        return np.take_along_axis(order, rank[:, None], axis=-1)[:, 0].astype(np.int32)
