"""A training job, and the ids, vocabulary and batches that follow from it."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from charrnn import store
from charrnn.errors import CorpusError
from charrnn.spec import ModelSpec
from charrnn.text import corpus
from charrnn.training.recipes import Preset, Recipe
from charrnn.verbatim import VerbatimGuard
from charrnn.vocabulary import LEAST_KNOWN, Vocabulary, describe_characters

EXAMPLES = 5  # of characters that are left out


@dataclass(frozen=True)
class Job:
    """What a training run is asked to do."""

    text: str
    validation_text: str
    output: Path  # the model's folder
    start: Preset | store.Model  # a network with random weights, or a base to fine-tune
    recipe: Recipe
    source: dict[str, Any] = field(default_factory=dict)  # for the card, e.g. the command line
    rng_seed: int = 0
    plot: Path | None = None  # where to draw the learning curve after every epoch
    longest_copy: int | None = None  # characters in a row that the model may copy; None: any number

    @property
    def base(self) -> store.Model | None:
        """The model to fine-tune, if any."""
        return self.start if isinstance(self.start, store.Model) else None


class TrainingData:
    """A job's texts as the network reads them.

    Raises CorpusError when a text is too short."""

    def __init__(self, job: Job):
        self._job = job
        text, validation = job.text, job.validation_text
        if job.recipe.lowercase:
            text, validation = text.lower(), validation.lower()
        base = job.base and job.base.card
        if not text:
            raise CorpusError("All of the text is held out; there is none left to train on.")
        counts = Counter(text)
        self.vocabulary = learnt_vocabulary(counts, job.recipe, base)
        self.spec = _spec(job.start, len(self.vocabulary))
        check_learnable(self.vocabulary, self.spec.window, counts, Counter(validation))
        self.ids = self.vocabulary.encode(text).ids  # int32 (N,)
        self.validation_ids = self.vocabulary.encode(validation).ids
        self.opening = corpus.opening(self.vocabulary.decode(self.ids), self.spec.window)
        self.guard = None
        if job.longest_copy is not None:
            everything = np.concatenate([self.ids, self.validation_ids])
            self.guard = VerbatimGuard.of(everything, job.longest_copy, len(self.vocabulary))
            # An opening from the text would be a copy, and the base's may be in another language.
            # Newlines end a message in every language.
            known = self.vocabulary.characters
            self.opening = ("\n" if "\n" in known else known[0]) * self.spec.window

    @property
    def batch_count(self) -> int:
        """Batches in an epoch."""
        recipe = self._job.recipe
        if self.spec.stateful:
            return segment_count(len(self.ids), recipe.batch_size, recipe.segment)
        return math.ceil((len(self.ids) - self.spec.window) / recipe.batch_size)

    def batches(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Inputs and targets of one epoch, always the same ones for the same epoch.

        Stateful: ids int32 `(B, T)` twice. Otherwise windows, float32 `(B, T, 1)`, and the ids
        that follow them, `(B,)`."""
        recipe = self._job.recipe
        rng = np.random.default_rng((self._job.rng_seed, epoch))
        if self.spec.stateful:
            offset = int(rng.integers(len(self.ids)))
            for ids in segments(self.ids, recipe.batch_size, recipe.segment, offset):
                yield ids[:, :-1], ids[:, 1:]
        else:
            for ids, targets in windows(self.ids, self.spec.window, recipe.batch_size, rng):
                yield (ids[..., np.newaxis] / self.spec.characters).astype(np.float32), targets

    def fingerprint(self) -> str:
        """A hash of all that decides the resulting weights. A checkpoint can only be resumed by a
        run with the same one."""
        job, recipe = self._job, self._job.recipe
        if not recipe.cosine:
            recipe = replace(recipe, epochs=1)  # an unfinished run may go on for more epochs
        parts = [self.spec, recipe, self.vocabulary.characters, job.rng_seed, job.longest_copy]
        digest = hashlib.sha256(repr(parts).encode())
        digest.update(self.ids.tobytes())
        digest.update(self.validation_ids.tobytes())
        if job.base:
            digest.update(store.sha256(job.base.folder / store.KERAS).encode())
        return digest.hexdigest()


def learnt_vocabulary(
    counts: Mapping[str, int], recipe: Recipe, base: store.Card | None
) -> Vocabulary:
    """The characters that a model learns from a text in which each character occurs so often,
    after those of its base, if any. Raises CorpusError if there are none."""
    if base is None:
        if max(counts.values(), default=0) < recipe.least_occurrences:
            raise CorpusError(
                f"No character of the text occurs {recipe.least_occurrences} times, as is needed "
                "to learn it. Give more text."
            )
        return Vocabulary.learnt(counts, recipe.least_occurrences)
    if base.spec.embedding is None:
        return base.vocabulary  # inputs are id / V: another V would change what every id means
    return Vocabulary.learnt(counts, recipe.least_occurrences, base.vocabulary.characters)


def check_learnable(
    vocabulary: Vocabulary, window: int, counts: Counter[str], held_out: Counter[str]
) -> None:
    """Raises CorpusError if a model with this vocabulary cannot learn from a text, or be measured
    on the text held out, in which each character occurs so often."""
    if (known := vocabulary.known_share(counts)) < LEAST_KNOWN:
        raise CorpusError(
            f"The model can learn only {100 * known:.0f} % of this text's characters. The others "
            "are too rare, or its base cannot learn them. Give more text, or another base."
        )
    if len(np.unique(vocabulary.encode("".join(counts)).ids)) < 2:
        raise CorpusError("Only one character of this text can be learnt. Give a text of words.")
    if (length := held_out.total() - vocabulary.unknown(held_out).total()) < 2 * window:
        raise CorpusError(
            f"The held-out text has {length} characters that the model knows. It takes "
            f"{2 * window} or more."
        )


def left_out(characters: Counter[str], why: str = "too rare to learn") -> str:
    """What follows the number of characters that a model does not learn: why, and some of them."""
    noun = "character" if characters.total() == 1 else "characters"
    examples = describe_characters("".join(c for c, _ in characters.most_common(EXAMPLES)))
    more = " …" if len(characters) > EXAMPLES else ""
    return f"{noun} {why}: {examples}{more}"


def _spec(start: Preset | store.Model, characters: int) -> ModelSpec:
    if isinstance(start, Preset):
        return start.spec(characters)
    return replace(start.card.spec, characters=characters)


def segments(ids: np.ndarray, lanes: int, steps: int, offset: int) -> Iterator[np.ndarray]:
    """Segments for training a stateful model, int32 `(lanes, steps + 1)`: `[:, :-1]` are inputs,
    `[:, 1:]` targets. Each lane continues where it ended in the segment before. Lanes start
    `offset` characters into the text; after the end of the text they continue at its beginning."""
    count = segment_count(len(ids), lanes, steps)
    starts = offset + np.arange(lanes) * (len(ids) // lanes)
    for segment in range(count):
        yield ids[(starts[:, None] + segment * steps + np.arange(steps + 1)) % len(ids)]


def segment_count(length: int, lanes: int, steps: int) -> int:
    """The number of segments in a text of this length; at least one."""
    return max(1, length // lanes // steps)


def windows(
    ids: np.ndarray, window: int, batch: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All windows of the text in random order, for training a stateless model: inputs
    `(batch, window)` and the character after each, `(batch,)`. The last batch may be smaller."""
    views = np.lib.stride_tricks.sliding_window_view(ids, window + 1)
    order = rng.permutation(len(views))
    for start in range(0, len(order), batch):
        chosen = views[order[start : start + batch]]
        yield chosen[:, :-1], chosen[:, -1]
