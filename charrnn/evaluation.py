"""How well a model predicts a text, and how good a text it writes."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from charrnn.engine import Engine
from charrnn.errors import CorpusError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling, log_softmax
from charrnn.store import Model
from charrnn.verbatim import longest_copy
from charrnn.vocabulary import Vocabulary

LANES = 50  # samples written side by side
LOOP_LENGTH = 100  # characters: what ends in more of what it has said already goes round in a loop

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_SPEAKER = re.compile(r"(?:\A|\n\n)([^\n:]+):\n")


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
    unseen = 0  # characters before the first that is predicted
    if not engine.spec.stateful:
        lanes, unseen = 1, engine.spec.window - 1
    steps = (len(ids) - 1) // lanes
    if steps <= unseen:
        least = lanes + 1 + unseen
        raise CorpusError(f"A text to measure on must have at least {least} characters.")
    starts = np.arange(lanes) * steps
    state = engine.zero_state(lanes)
    nats = 0.0
    for t in range(steps):
        logits, state = engine.step(ids[starts + t], state)
        if t >= unseen:
            nats -= _likelihood(logits, ids[starts + t + 1])
    characters = (steps - unseen) * lanes
    return Score(nats / characters, characters)


def _likelihood(logits: np.ndarray, targets: np.ndarray) -> float:
    chosen = np.take_along_axis(log_softmax(logits), targets[:, None], axis=-1)
    return float(chosen.sum(dtype=np.float64))


@dataclass(frozen=True)
class Quality:
    """What samples of a model's writing are like, beside the text it was trained on."""

    samples: int
    known_words: float  # share of the words that are in the training text
    distinct_4grams: float  # different runs of four words, as a share of all
    longest_copy: int  # characters in a row, copied from the training text
    copied: str  # those
    # Share of the speeches that a character of the text speaks; None where there are none.
    named_speeches: float | None
    loops: float  # share of the samples that end in saying one thing over and over


def write_samples(model: Model, count: int, sampling: Sampling, length: int = 500) -> list[str]:
    """Texts that `model` writes after nothing but its opening, each from a random seed of its
    own: 0, 1, 2 ..."""
    prompts = [Prompt("", length, sampling, rng_seed) for rng_seed in range(count)]
    batches = [prompts[n : n + LANES] for n in range(0, count, LANES)]
    return [written.text for batch in batches for written in generate(model, batch)]


def quality(samples: Sequence[str], training_text: str, vocabulary: Vocabulary) -> Quality:
    """How good `samples` are, which a model of `vocabulary` has written. Words and names are
    compared as that spells them, without regard to capitals. Raises CorpusError when there is
    nothing to judge."""
    if not samples or not training_text:
        raise CorpusError("Samples are judged beside the training text; neither may be empty.")
    source = vocabulary.encode(training_text).ids
    training_text = vocabulary.decode(source)
    length, run = longest_copy([vocabulary.encode(sample).ids for sample in samples], source)
    known = set(_words(training_text))
    written = [_words(sample)[:-1] for sample in samples]  # the last one may be cut off
    words = [word for sample in written for word in sample]
    runs = [tuple(sample[n : n + 4]) for sample in written for n in range(len(sample) - 3)]
    names = {name.casefold() for name in _SPEAKER.findall(training_text)}
    return Quality(
        samples=len(samples),
        known_words=_share(sum(word in known for word in words), len(words)),
        distinct_4grams=_share(len(set(runs)), len(runs)),
        longest_copy=length,
        copied=vocabulary.decode(run),
        named_speeches=_named(samples, names) if names else None,
        loops=_share(sum(map(loops, samples)), len(samples)),
    )


def loops(text: str) -> bool:
    """Whether the end of a text, a hundred characters, stands in it before.

    >>> loops("Well. " + "the sea and the world " * 20)
    True
    >>> loops("Now is the winter of our discontent, made glorious summer by this sun of York; " * 2)
    False
    """
    end = text[-LOOP_LENGTH:]
    return text.find(end) < len(text) - len(end)


def _named(samples: Sequence[str], names: set[str]) -> float | None:
    """The share of speeches, which begin after a blank line, that open with a known name. The
    first stretch of a sample may go on in a speech, the last may be cut off within the name."""
    speeches = [speech for sample in samples for speech in sample.split("\n\n")[1:-1]]
    openings = (speech.partition("\n")[0] for speech in speeches)
    named = sum(o.endswith(":") and o[:-1].casefold() in names for o in openings)
    return _share(named, len(speeches)) if speeches else None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
