"""Presets, and the recipe for an amount of text."""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

from charrnn.errors import CorpusError, OptionError
from charrnn.sentences import counted
from charrnn.spec import ModelSpec
from charrnn.text import corpus

MAX_COUNT = 10_000  # for epochs, batch size, segment and patience


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. The defaults are the classic tutorial's."""

    epochs: int = 5
    batch_size: int = 128  # windows, or lanes of a stateful model
    segment: int = 100  # T, steps of truncated back-propagation through time
    learning_rate: float = 0.001
    cosine: bool = False  # let the learning rate fall to zero along a cosine
    warmup: float = 0.0  # with `cosine`: share of all batches in which the rate rises from zero
    weight_decay: float = 0.0
    clip_norm: float | None = None  # largest norm of all gradients taken together
    input_dropout: float = 0.0  # on the embedding
    dropout: float = 0.2  # after each LSTM layer
    weight_dropout: float = 0.0  # on the recurrent weights; only if stateful
    # Momentum of a moving average of the weights, which is what is measured and kept.
    averaging: float = 0.0
    patience: int | None = None  # stop after this many epochs without a better one
    least_occurrences: int = 1  # leave out characters that are rarer in the text
    calibrate: bool = False  # fit one factor for the logits on held-out text
    lowercase: bool = False
    mixed_precision: bool = False  # bfloat16 products, if the processor has them; float32 weights

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "segment", "patience"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MAX_COUNT:
                raise OptionError(f"{name.replace('_', ' ')} must be 1 to {MAX_COUNT:,}.")
        if not 0 < self.learning_rate < math.inf:
            raise OptionError("learning rate must be above 0.")
        for name in ("warmup", "input_dropout", "dropout", "weight_dropout", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"{name.replace('_', ' ')} must be at least 0 and below 1.")


@dataclass(frozen=True)
class Preset:
    """A network without its vocabulary, and the recipe that suits it."""

    units: tuple[int, ...]
    embedding: int | None
    stateful: bool
    recipe: Recipe

    def spec(self, characters: int) -> ModelSpec:
        return ModelSpec(characters, self.units, self.embedding, self.stateful)


# Stateful, with one dropout mask for a whole segment (Gal & Ghahramani, "A Theoretically Grounded
# Application of Dropout in RNNs", 2016).
_SHAKESPEARE = Recipe(
    epochs=4,
    batch_size=32,
    segment=128,
    learning_rate=0.002,
    warmup=0.03,
    cosine=True,
    weight_decay=0.01,
    clip_norm=1.0,
    input_dropout=0.05,
    dropout=0.1,
    averaging=0.995,
    calibrate=True,
    patience=3,
    mixed_precision=True,
)

PRESETS = {
    # Exactly the classic tutorial: LSTM(256), Dropout(0.2), Dense(V, softmax) on windows of 100 ids
    # divided by V; categorical cross-entropy, Adam, 5 epochs of batch 128.
    "othello": Preset((256,), None, False, Recipe(lowercase=True)),
    # For five million characters.
    "shakespeare": Preset((512, 512), 128, True, _SHAKESPEARE),
    # For one million characters, which need strong regularisation.
    "tinyshakespeare": Preset(
        (768, 768),
        128,
        True,
        replace(
            _SHAKESPEARE,
            epochs=28,
            weight_decay=0.05,
            input_dropout=0.25,
            dropout=0.5,
            weight_dropout=0.3,
            averaging=0.998,
            patience=8,
        ),
    ),
    # For twelve million characters with many typing errors.
    "chat": Preset(
        (512, 512),
        128,
        True,
        replace(
            _SHAKESPEARE,
            epochs=5,
            batch_size=64,
            learning_rate=0.003,
            input_dropout=0.0,
            dropout=0.05,
            least_occurrences=50,
        ),
    ),
}

# Measured on channels of 10,000 to 170,000 characters (benchmarks/fine_tuning.py).
_FINE_TUNING = replace(
    _SHAKESPEARE,
    batch_size=16,
    segment=64,
    learning_rate=0.001,
    input_dropout=0.1,
    averaging=0.9,
    least_occurrences=5,
)

# For a new base out of an old one, as `weights/chat` was made.
_CONTINUED_TRAINING = replace(PRESETS["chat"].recipe, epochs=1, batch_size=32, learning_rate=0.002)

NEW_BASE = 5_000_000  # characters; this many make a base forget its own text, and need one pass

MUCH_TEXT = 30_000  # characters; fewer are overfitted sooner and get more dropout

# A base that knows a smaller share of a text's characters has to learn an alphabet, which takes as
# many epochs as learning from scratch.
ALPHABET_KNOWN = 0.75

LITTLE_TEXT = 500_000  # characters; fewer need smaller batches and a faster average than presets


@dataclass(frozen=True)
class LeastText:
    """How many characters are enough to train on."""

    refused: int  # fewer are refused
    warned: int  # fewer are accepted with `warning`
    warning: str

    def check(self, characters: int, held_out_share: float) -> str:
        """The warning for a text of this many `characters`, or "". `held_out_share` of them is held
        out; 0 if another text is held out.

        Raises CorpusError for a text too short; it says how many characters are enough."""
        if held_out_share == 1:
            raise CorpusError("All of the text is held out; there is none left to train on.")

        def learnt(characters: int) -> int:
            return corpus.trained_on(characters, held_out_share)

        if learnt(characters) < self.refused:
            enough = bisect_left(range(10**9), self.refused, key=learnt)
            has = f"{counted(characters, 'character')} {'is' if characters == 1 else 'are'}"
            raise CorpusError(f"{has} too few to train on. It takes {enough:,} or more.")
        return self.warning if learnt(characters) < self.warned else ""


FROM_SCRATCH = LeastText(
    10_000,
    200_000,
    "From scratch, so little text teaches little more than spelling: with 50,000 characters of a "
    "channel the loss is 2.09 nats per character, and 1.43 from the base model `chat`. Consider "
    "--base chat.",
)

FROM_A_BASE = LeastText(
    2_000,
    10_000,
    "So little text changes how the model writes, but not what it writes about. 12,000 or more are "
    "better.",
)

NEW_ALPHABET = LeastText(
    10_000,
    200_000,
    "So little text teaches a new alphabet, and little more than spelling.",
)


def least_text(known: float) -> LeastText:
    """How much text a base needs that knows the share `known` of its characters."""
    return FROM_A_BASE if known >= ALPHABET_KNOWN else NEW_ALPHABET


def alphabet_warning(base: str, known: float) -> str:
    """What to say before a base is trained that knows the share `known` of a text's characters."""
    if known >= ALPHABET_KNOWN:
        return ""
    return (
        f"{base} does not know {100 * (1 - known):.0f} % of this text's characters. It learns "
        "them, but it needs more text and more time than for its own language: 200,000 characters "
        "or more."
    )


def fine_tuning(spec: ModelSpec, characters: int, known: float = 1.0) -> Recipe:
    """The recipe for fine-tuning a model of `spec` on this many `characters`, of which it knows
    the share `known`."""
    if not spec.stateful:
        return Recipe()
    if known < ALPHABET_KNOWN:
        recipe = from_scratch(PRESETS["shakespeare"], characters)
        return replace(recipe, least_occurrences=_FINE_TUNING.least_occurrences)
    if characters >= NEW_BASE:
        return _CONTINUED_TRAINING
    return replace(
        _FINE_TUNING,
        # Of 50,000 characters, about three minutes on two cores. Patience may end the run sooner.
        epochs=min(25, max(5, 400_000 // max(1, characters))),
        dropout=0.2 if characters >= MUCH_TEXT else 0.3,
    )


def from_scratch(preset: Preset, characters: int) -> Recipe:
    """The recipe for training a preset's network on this many `characters`: the preset's own, or
    for little text one with small batches and many epochs."""
    if not preset.stateful or characters >= LITTLE_TEXT:
        return preset.recipe
    return replace(
        _FINE_TUNING,
        epochs=min(40, max(8, 1_000_000 // max(1, characters))),
        learning_rate=preset.recipe.learning_rate,
        dropout=0.2 if characters >= MUCH_TEXT else 0.3,
        patience=5,
    )
