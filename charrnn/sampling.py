"""How the next character is chosen: greedy, temperature, top-k, top-p. The graph does it
(`graph.py`), for all lanes at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from charrnn.errors import OptionError

MAX_TEMPERATURE = 5.0
ARGMAX_BELOW = 1e-3  # a temperature that leaves nothing to chance


@dataclass(frozen=True)
class Sampling:
    """How the next character is chosen. Temperature 0 is argmax. `top_k` keeps the k likeliest
    characters; `top_p` keeps the fewest of the likeliest that together reach probability p (nucleus
    sampling, Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020)."""

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= MAX_TEMPERATURE:
            raise OptionError(f"The temperature must be 0 to {MAX_TEMPERATURE:g}.")
        if not 0 < self.top_p <= 1:
            raise OptionError("top-p must be above 0 and at most 1.")
        if self.top_k is not None and not (isinstance(self.top_k, Integral) and self.top_k >= 1):
            raise OptionError("top-k must be a whole number, at least 1.")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities, in nats, of logits `(B, V)`."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class LaneSampling:
    """How each of B lanes chooses, as the graph takes it."""

    sharpness: np.ndarray  # float32 (B, 1): 1 / temperature
    top_p: np.ndarray  # float32 (B, 1)
    last_rank: np.ndarray  # int64 (B, 1): of the characters by likelihood, from 0

    @classmethod
    def of(cls, samplings: Sequence[Sampling], characters: int) -> "LaneSampling":
        """The samplings of B lanes of a model that knows so many `characters`."""
        most = [
            1 if s.temperature < ARGMAX_BELOW else min(s.top_k or characters, characters)
            for s in samplings
        ]
        return cls(
            _column([1 / max(s.temperature, ARGMAX_BELOW) for s in samplings], np.float32),
            _column([s.top_p for s in samplings], np.float32),
            _column(most, np.int64) - 1,
        )


def _column(values: Sequence[float], dtype: type) -> np.ndarray:
    return np.array(values, dtype)[:, np.newaxis]
