"""Measure how well a model predicts a text, and how good the texts are that it writes."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np

from charrnn.engine import Engine
from charrnn.errors import CorpusError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling, log_softmax
from charrnn.store import Model
from charrnn.verbatim import longest_copy
from charrnn.vocabulary import Vocabulary

LANES = 50  # samples written at once
LOOP_LENGTH = 100  # characters; a text whose last so many occur earlier in it ends in a loop
CALIBRATION_LIMIT = 25_000_000  # logits kept in memory at once, 100 MB
NEWTON_STEPS = 8
BLOCKS = 20  # of a text, whose spread gives a standard error
MIN_FACTOR, MAX_FACTOR = 0.25, 4.0  # no model is trusted, or distrusted, further than this
MIN_MESSAGE_LENGTH = 20  # characters; shorter lines say little about who wrote them
MIN_MESSAGES = 10  # fewer cannot be judged
MIN_STANDARD_ERRORS = 3.0  # between the base and the people, or a voice cannot be judged
SPEECHES = 10
MAX_MESSAGES = 10_000  # more do not make a judge better, only slower

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
# Words; and one by one, emoji and the characters of languages that have no spaces.
_SPACELESS = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
_FEATURE = re.compile(
    rf"{_SPACELESS}|(?:(?!{_SPACELESS})[\w'#+.-])*(?!{_SPACELESS})[\w'#+-]|[^\w\s!-~]"
)
_SPEAKER = re.compile(r"(?:\A|\n\n)([^\n:]+):\n")


@dataclass(frozen=True)
class Score:
    """Cross-entropy of a text under a model."""

    nats: float  # per character
    characters: int  # predicted

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


def score(
    engine: Engine,
    ids: np.ndarray,
    lanes: int = 1,
    between_steps: Callable[[], None] = lambda: None,
) -> Score:
    """Cross-entropy (mean negative log-likelihood) of the text `ids`, int32 `(T,)`.

    A stateful model reads the text from the zero state, carrying its state. `lanes` cuts the text
    into so many stretches that are read in parallel: faster, and a little worse, since each
    stretch starts from the zero state. A stateless model predicts each character from the window
    before it, in one lane. `between_steps` is called before each step, and may raise to end the
    measuring. Raises CorpusError when the text is too short."""
    return _score(losses(engine, ids, lanes, between_steps))


def losses(
    engine: Engine,
    ids: np.ndarray,
    lanes: int = 1,
    between_steps: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """The loss of each character that `score` predicts, in nats: float32 `(N,)`, in the order of
    the text."""
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

    constant: float  # the factor for all logits; below 1 for an overconfident model
    # As of `losses`, with the factor: fitted on each half of the text and measured on the other.
    losses: np.ndarray

    @property
    def score(self) -> Score:
        return _score(self.losses)


def calibrate(
    engine: Engine,
    ids: np.ndarray,
    lanes: int = 1,
    between_steps: Callable[[], None] = lambda: None,
) -> Calibration:
    """Fit the factor for the logits that minimises the cross-entropy of the held-out text `ids`,
    int32 `(T,)`: temperature scaling (Guo et al., "On Calibration of Modern Neural Networks",
    2017). Reads the text as `score` does; of a very long text, every n-th step counts. Raises
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


def _score(losses: np.ndarray) -> Score:
    return Score(float(losses.mean(dtype=np.float64)), len(losses))


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


@dataclass(frozen=True)
class Quality:
    """How good a model's samples are, compared with its training text."""

    samples: int
    known_words: float  # share of words that occur in the training text
    distinct_4grams: float  # distinct sequences of four words / all sequences of four words
    longest_copy: int  # characters of the longest run copied from the training text
    copied: str  # that run
    # Share of speeches whose speaker occurs in the training text; None without any speeches.
    named_speeches: float | None
    loops: float  # share of samples that end in a loop
    messages: float  # share of lines of 20 characters or more


def write_samples(
    model: Model, count: int, sampling: Sampling, length: int = 500, first_seed: int = 0
) -> list[str]:
    """Texts that `model` writes after its opening, with the random seeds from `first_seed` on."""
    seeds = range(first_seed, first_seed + count)
    prompts = [Prompt("", length, sampling, rng_seed) for rng_seed in seeds]
    batches = [prompts[n : n + LANES] for n in range(0, count, LANES)]
    return [generated.text for batch in batches for generated in generate(model, batch)]


def write_messages(model: Model, count: int, sampling: Sampling, first_seed: int = 0) -> list[str]:
    """As `write_samples`, but at the start of a line instead of after the opening, so that models
    with different openings can be compared. Raises CorpusError for a model without newlines."""
    if "\n" not in model.vocabulary.characters:
        raise CorpusError(f"{model.name} knows no newline, and so writes no messages.")
    card = replace(model.card, opening="\n" * model.card.spec.window)
    return write_samples(replace(model, card=card), count, sampling, first_seed=first_seed)


def quality(samples: Sequence[str], training_text: str, vocabulary: Vocabulary) -> Quality:
    """Judge `samples` of a model with this vocabulary. Words and names are compared as the
    vocabulary spells them, ignoring case. Raises CorpusError without samples or training text."""
    if not samples or not training_text:
        raise CorpusError("To judge samples, both samples and a training text are needed.")
    source = vocabulary.encode(training_text).ids
    training_text = vocabulary.decode(source)
    length, run = longest_copy([vocabulary.encode(sample).ids for sample in samples], source)
    words_of = [_whole_words(sample) for sample in samples]
    runs = [tuple(sample[n : n + 4]) for sample in words_of for n in range(len(sample) - 3)]
    names = {name.casefold() for name in _SPEAKER.findall(training_text)}
    return Quality(
        samples=len(samples),
        known_words=known_words(samples, training_text),
        distinct_4grams=_share(len(set(runs)), len(runs)),
        longest_copy=length,
        copied=vocabulary.decode(run),
        named_speeches=_named_speeches(samples, names) if names else None,
        loops=_share(sum(map(loops, samples)), len(samples)),
        messages=_share(len(messages_in(samples)), len(_whole_lines(samples))),
    )


def speakers(play: str) -> list[str]:
    """Who speaks in a play of the form that `text.corpus.speeches` gives it, most frequent first.
    Leaves out those with fewer than SPEECHES, whom a model hardly knows. Empty for other texts."""
    counts = Counter(_SPEAKER.findall(play))
    return [name for name, speeches in counts.most_common() if speeches >= SPEECHES]


def known_words(samples: Iterable[str], text: str) -> float:
    """The share of the samples' words that occur in `text`, ignoring case."""
    known = set(_words(text))
    words = [word for sample in samples for word in _whole_words(sample)]
    return _share(sum(word in known for word in words), len(words))


def loops(text: str) -> bool:
    """Whether the last 100 characters of `text` occur earlier in it.

    >>> loops("Well. " + "the sea and the world " * 20)
    True
    >>> loops("Now is the winter of our discontent, made glorious summer by this sun of York; " * 2)
    False
    """
    end = text[-LOOP_LENGTH:]
    return text.find(end) < len(text) - len(end)


@dataclass(frozen=True)
class Voice:
    """How much a model sounds like the people whose messages it was fine-tuned on."""

    value: float  # 0 is like the base, 1 like the people, more a caricature of them
    standard_error: float


class VoiceJudge:
    """Judges how much a model sounds like the people whose messages it was fine-tuned on.

    A naive Bayes classifier over the words and pairs of adjacent words of a message tells the
    people's messages from those that the base writes untouched. Two thirds of the people's messages
    and half of the base's samples train it; the others are the two ends of the scale. As the judge
    counts words, it hears vocabulary, names and turns of phrase, but not sense."""

    def __init__(self, text: str, base_samples: Sequence[str]):
        """`text`: the people's messages, one a line. Raises CorpusError when there are too few of
        them, or when the judge cannot tell them from the base's."""
        people = [line for line in text.split("\n") if len(line) >= MIN_MESSAGE_LENGTH]
        people, base = people[-MAX_MESSAGES:], [messages_in([sample]) for sample in base_samples]
        cut, learnt = len(people) * 2 // 3, [m for sample in base[::2] for m in sample]
        self._people, self._base = _Frequencies(people[:cut]), _Frequencies(learnt)
        kept = [m for sample in base[1::2] for m in sample]
        if min(len(people) - cut, len(kept)) < MIN_MESSAGES:
            raise CorpusError("There are too few messages to judge a voice.")
        ends = [np.array([self._log_odds(m) for m in end]) for end in (kept, people[cut:])]
        (self._floor, self._floor_variance), (top, self._top_variance) = map(_mean, ends)
        self._range = top - self._floor
        noise = math.sqrt(self._floor_variance + self._top_variance)
        if self._range <= MIN_STANDARD_ERRORS * noise:
            raise CorpusError("The messages cannot be told from what the base writes.")

    def voice(self, samples: Sequence[str]) -> Voice | None:
        """The mean over the messages in `samples`. None with too few messages. The standard error,
        by the delta method, is that of all three means: of the samples and both ends."""
        odds = np.array([self._log_odds(message) for message in messages_in(samples)])
        if len(odds) < MIN_MESSAGES:
            return None
        mean, variance = _mean(odds)
        voice = (mean - self._floor) / self._range
        variance += (1 - voice) ** 2 * self._floor_variance + voice**2 * self._top_variance
        return Voice(voice, math.sqrt(variance) / self._range)

    def _log_odds(self, message: str) -> float:
        """The logarithm of how much likelier the people write this than the base. Divided by the
        root of the number of features, so that long messages do not outweigh the others. What
        neither of them writes says nothing."""
        features = {f for f in _features(message) if f in self._people or f in self._base}
        odds = sum(self._people.log_share(f) - self._base.log_share(f) for f in features)
        return odds / math.sqrt(max(1, len(features)))


class _Frequencies:
    """In how many messages each feature occurs."""

    def __init__(self, messages: Sequence[str]):
        self._counts = Counter(feature for message in messages for feature in _features(message))
        self._messages = len(messages)

    def __contains__(self, feature: str) -> bool:
        return feature in self._counts

    def log_share(self, feature: str) -> float:
        return math.log((self._counts[feature] + 0.5) / (self._messages + 1))


def _mean(odds: np.ndarray) -> tuple[float, float]:
    """The mean and its variance."""
    return float(odds.mean()), float(odds.var(ddof=1)) / len(odds)


def _features(message: str) -> set[str]:
    words = _FEATURE.findall(message.casefold())
    return {*words, *(f"{one} {two}" for one, two in pairwise(words))}


def messages_in(samples: Iterable[str]) -> list[str]:
    """The lines of 20 characters or more in samples."""
    return [line for line in _whole_lines(samples) if len(line) >= MIN_MESSAGE_LENGTH]


def _whole_lines(samples: Iterable[str]) -> list[str]:
    # The first line of a sample may continue its opening, and the last may be cut off.
    return [line for sample in samples for line in sample.split("\n")[1:-1]]


def _named_speeches(samples: Sequence[str], names: set[str]) -> float | None:
    # A blank line starts a speech. The first part of a sample may continue a speech, the last may
    # be cut off within the name.
    speeches = [speech for sample in samples for speech in sample.split("\n\n")[1:-1]]
    first_lines = (speech.partition("\n")[0] for speech in speeches)
    named = sum(line.endswith(":") and line[:-1].casefold() in names for line in first_lines)
    return _share(named, len(speeches)) if speeches else None


def _whole_words(sample: str) -> list[str]:
    return _words(sample)[:-1]  # the last word may be cut off


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
