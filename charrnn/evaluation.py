"""How well a model predicts a text: cross-entropy, bits per character, perplexity."""

import math
from dataclasses import dataclass

import numpy as np

from charrnn.engine import Engine
from charrnn.errors import CorpusError
from charrnn.sampling import log_softmax


@dataclass(frozen=True)
class Score:
    """Cross-entropy of a text under a model, and what follows from it."""

    nats: float  # per character
    characters: int  # predicted

    @property
    def bits(self) -> float:
        """Bits per character: nats / ln 2."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats): among how many equally likely characters the model is torn."""
        return math.exp(self.nats)

    def rounded(self) -> dict[str, float]:
        """The figures as they are quoted."""
        return {
            "nats": round(self.nats, 4),
            "bits": round(self.bits, 4),
            "perplexity": round(self.perplexity, 3),
            "characters": self.characters,
        }


def score(engine: Engine, ids: np.ndarray, lanes: int = 1) -> Score:
    """The mean negative log-likelihood of the text `ids`, int32 `(T,)`.

    A stateful model reads it from zero state to the end, the state carried; with several lanes
    the text is cut into so many stretches read side by side, which is faster and a little worse
    (each stretch starts from nothing). A stateless one predicts each character from the window
    before it. Raises CorpusError when the text is too short."""
    least = 2 * lanes if engine.spec.stateful else engine.spec.window + 1
    if len(ids) < least:
        raise CorpusError(f"A text to measure on must have at least {least} characters.")
    return (
        _score_stream(engine, ids, lanes) if engine.spec.stateful else _score_windows(engine, ids)
    )


def _score_stream(engine: Engine, ids: np.ndarray, lanes: int) -> Score:
    steps = (len(ids) - 1) // lanes
    starts = np.arange(lanes) * steps
    state = engine.zero_state(lanes)
    nats = 0.0
    for t in range(steps):
        logits, state = engine.step(ids[starts + t], state)
        nats -= _likelihood(logits, ids[starts + t + 1])
    return Score(nats / (steps * lanes), steps * lanes)


def _score_windows(engine: Engine, ids: np.ndarray, batch: int = 256) -> Score:
    window = engine.spec.window
    views = np.lib.stride_tricks.sliding_window_view(ids, window + 1)
    nats = 0.0
    for start in range(0, len(views), batch):
        chosen = views[start : start + batch]
        nats -= _likelihood(engine.read(chosen[:, :window]), chosen[:, window])
    return Score(nats / len(views), len(views))


def _likelihood(logits: np.ndarray, targets: np.ndarray) -> float:
    chosen = np.take_along_axis(log_softmax(logits), targets[:, None], axis=-1)
    return float(chosen.sum(dtype=np.float64))
