"""Texts that a model writes, and how good they are."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from charrnn.errors import CorpusError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from charrnn.verbatim import longest_copy
from charrnn.vocabulary import Vocabulary

LANES = 50  # samples written at once
LOOP_LENGTH = 100  # characters; a text ends in a loop if its last 100 occur earlier in it
MIN_MESSAGE_LENGTH = 20  # characters; shorter lines say little about who wrote them
SPEECHES = 10

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_SPEAKER = re.compile(r"(?:\A|\n\n)([^\n:]+):\n")


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
    long_lines: float  # share of lines of 20 characters or more


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
        long_lines=_share(len(messages_in(samples)), len(_whole_lines(samples))),
    )


def speakers(play: str) -> list[str]:
    """Who speaks in a play of the form that `text.plays.speeches` gives it, most frequent first.
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
