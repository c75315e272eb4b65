"""Options for choosing the next character: temperature, top-k, top-p.

The choice itself is part of the ONNX graph (`training/graph.py`), for all lanes at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from charrnn.errors import OptionError

MAX_TEMPERATURE = 5.0
ARGMAX_BELOW = 1e-3  # lower temperatures are treated as argmax


@dataclass(frozen=True)
class Sampling:
    """How the next character is chosen. Temperature 0 is argmax. `top_k` keeps the k likeliest
    characters. `top_p` keeps the smallest set of likeliest characters whose probabilities add up
    to p (nucleus sampling, Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020).

    Raises OptionError when an option is out of range."""

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= MAX_TEMPERATURE:
            raise OptionError(f"The temperature must be 0 to {MAX_TEMPERATURE:g}.")
        if not 0 < self.top_p <= 1:
            raise OptionError("top-p must be above 0 and at most 1.")
        if self.top_k is not None and not self.top_k >= 1:
            raise OptionError("top-k must be at least 1.")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities `(B, V)`, in nats, of logits `(B, V)`."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class LaneSampling:
    """The sampling options of B lanes, as inputs of the graph."""

    sharpness: np.ndarray  # float32 (B, 1): 1 / temperature
    top_p: np.ndarray  # float32 (B, 1)
    last_rank: np.ndarray  # int64 (B, 1): rank of the least likely character kept, from 0

    @classmethod
    def of(cls, samplings: Sequence[Sampling], characters: int) -> "LaneSampling":
        """The options of B lanes for a model with a vocabulary of `characters`."""
        kept = [
            1 if s.temperature < ARGMAX_BELOW else min(s.top_k or characters, characters)
            for s in samplings
        ]
        return cls(
            _column([1 / max(s.temperature, ARGMAX_BELOW) for s in samplings], np.float32),
            _column([s.top_p for s in samplings], np.float32),
            _column(kept, np.int64) - 1,
        )


def _column(values: Sequence[float], dtype: type) -> np.ndarray:
    return np.array(values, dtype)[:, np.newaxis]
