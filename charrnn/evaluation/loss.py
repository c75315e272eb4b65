"""How well a model predicts a text."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from charrnn.engine import Engine
from charrnn.errors import CorpusError
from charrnn.sampling import log_softmax
from charrnn.store import Model

CALIBRATION_LIMIT = 25_000_000  # logits kept in memory at once, 100 MB
NEWTON_STEPS = 8
BLOCKS = 20  # of a text, whose spread gives a standard error
MIN_FACTOR, MAX_FACTOR = 0.25, 4.0  # no model is trusted, or distrusted, further than this


@dataclass(frozen=True)
class Score:
    """Cross-entropy of a text under a model."""

    nats: float  # per character
    characters: int  # predicted

    @classmethod
    def of(cls, losses: np.ndarray) -> "Score":
        """The score of a text from the loss of each predicted character, in nats: `(N,)`."""
        return cls(float(losses.mean(dtype=np.float64)), len(losses))

    @property
    def bits(self) -> float:
        """Bits per character: nats / ln 2."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats): the number of equally likely characters that would be as hard to predict."""
        return math.exp(self.nats)

    def rounded(self) -> dict[str, float]:
        """All figures, rounded for cards and JSON."""
        return {
            "nats": round(self.nats, 4),
            "bits": round(self.bits, 4),
            "perplexity": round(self.perplexity, 3),
            "characters": self.characters,
        }


def score(model: Model, text: str, lanes: int = 1) -> Score:
    """How well `model` predicts `text`: the cross-entropy, which is the mean negative
    log-likelihood. Characters that it does not know are left out. `lanes`: see `losses`. Raises
    CorpusError when the text is too short."""
    return Score.of(losses(model.engine, model.vocabulary.encode(text).ids, lanes))


def losses(
    engine: Engine,
    ids: np.ndarray,
    lanes: int = 1,
    between_steps: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """The loss of each predicted character of the text `ids`, int32 `(T,)`, in nats: float32
    `(N,)`, in the order of the text.

    A stateful model reads the text from the zero state, carrying its state. `lanes` cuts the text
    into this many stretches that are read in parallel: faster, and a little worse, since each
    stretch starts from the zero state. A stateless model predicts each character from the window
    before it, in one lane. `between_steps` is called before each step, and may raise to end the
    measuring. Raises CorpusError when the text is too short."""
    steps = _predictions(engine, ids, lanes, between_steps)
    return _in_order([_nats(logits, targets) for logits, targets in steps])


def block_means(losses: np.ndarray) -> np.ndarray:
    """The means of `losses`, `(N,)` in the order of a text, over 20 blocks of it: `(20,)`."""
    return np.array([block.mean(dtype=np.float64) for block in np.array_split(losses, BLOCKS)])


def standard_error(means: np.ndarray) -> float:
    """The standard error of the mean of a text's losses, or of the differences between two models'
    losses (a paired comparison), from the means of its blocks `(20,)`.

    These are batch means (Schmeiser, "Batch Size Effects in the Analysis of Simulation Output",
    1982): neighbouring characters are correlated, so treating each as an observation of its own
    would give far too small an error."""
    return float(means.std(ddof=1)) / math.sqrt(len(means))


@dataclass(frozen=True)
class Calibration:
    """What makes an overconfident model's probabilities match how often it is right."""

    factor: float  # for all logits; below 1 for an overconfident model
    # As of `losses`, with the factor: fitted on each half of the text and measured on the other.
    losses: np.ndarray

    @property
    def score(self) -> Score:
        return Score.of(self.losses)


def calibrate(
    engine: Engine,
    ids: np.ndarray,
    lanes: int = 1,
    between_steps: Callable[[], None] = lambda: None,
) -> Calibration:
    """Fit the factor for the logits that minimises the cross-entropy of the held-out text `ids`,
    int32 `(T,)`: temperature scaling (Guo et al., "On Calibration of Modern Neural Networks",
    2017). Reads the text as `losses` does; of a very long text, every n-th step counts. Raises
    CorpusError when the text is too short."""
    stride = 1 + len(ids) * engine.spec.characters // CALIBRATION_LIMIT
    steps = list(islice(_predictions(engine, ids, lanes, between_steps), 0, None, stride))
    logits = np.concatenate([logits for logits, _ in steps])  # (N, V)
    targets = np.concatenate([targets for _, targets in steps])  # (N,)
    half = len(targets) // 2
    first, second = (logits[:half], targets[:half]), (logits[half:], targets[half:])
    halves = (
        _nats(_factor(*second) * first[0], first[1]),
        _nats(_factor(*first) * second[0], second[1]),
    )
    in_steps = np.concatenate(halves).reshape(len(steps), -1)
    return Calibration(float(_factor(logits, targets)), _in_order(in_steps))


def _predictions(
    engine: Engine, ids: np.ndarray, lanes: int, between_steps: Callable[[], None]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Step by step, the logits `(B, V)` and the ids `(B,)` that really follow."""
    skipped = 0  # characters read before the first prediction
    if not engine.spec.stateful:
        lanes, skipped = 1, engine.spec.window - 1
    steps = (len(ids) - 1) // lanes
    if steps <= skipped:
        least = lanes + 1 + skipped
        raise CorpusError(f"A text to measure on must have at least {least} characters.")
    starts = np.arange(lanes) * steps
    state = engine.zero_state(lanes)
    for t in range(steps):
        between_steps()
        logits, state = engine.step(ids[starts + t], state)
        if t >= skipped:
            yield logits, ids[starts + t + 1]


def _nats(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Cross-entropy of logits `(N, V)` and targets `(N,)`: `(N,)`."""
    return -np.take_along_axis(log_softmax(logits), targets[:, np.newaxis], axis=-1)[:, 0]


def _in_order(steps: Iterable[np.ndarray]) -> np.ndarray:
    """What was measured at each step, `(B,)` each, in the order of the text `(N,)`."""
    return np.stack(list(steps), axis=1).ravel()


def _factor(logits: np.ndarray, targets: np.ndarray) -> np.float32:
    """The factor with the lowest cross-entropy, by Newton's method. The cross-entropy is convex in
    the factor; its slope is E[logit] - chosen logit, its curvature the variance of the logit."""
    chosen = np.take_along_axis(logits, targets[:, np.newaxis], axis=-1)[:, 0]
    factor = 1.0
    for _ in range(NEWTON_STEPS):
        likely = np.exp(log_softmax(np.float32(factor) * logits))
        mean = (likely * logits).sum(axis=-1)
        variance = (likely * logits**2).sum(axis=-1) - mean**2
        step = float((mean - chosen).mean() / max(variance.mean(), 1e-6))
        factor = min(max(factor - step, factor / 2, MIN_FACTOR), 2 * factor, MAX_FACTOR)
    return np.float32(factor)
