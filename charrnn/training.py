"""Build, fit and fine-tune a character LSTM in Keras."""

import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own log says nothing of use here

import keras
import numpy as np

from charrnn import corpus, evaluation, export, store
from charrnn.checkpoint import Checkpoints, Progressed
from charrnn.engine import Engine
from charrnn.errors import CorpusError, TrainingError
from charrnn.generation import Prompt, generate
from charrnn.progress import EpochEnd, Progress, Report
from charrnn.spec import ModelSpec, Preset, Recipe
from charrnn.vocabulary import Vocabulary

VALIDATION_LANES = 32
REPORT_INTERVAL_S = 0.5
SAMPLE_LENGTH = 300
LEAST_OCCURRENCES = 5  # of a character, for a fine-tuned model to learn it


@dataclass(frozen=True)
class Job:
    """One training run: from what, on what, how, and where to."""

    text: str
    validation_text: str
    output: Path
    start: Preset | store.Model  # a network with random weights, or a model to fine-tune
    recipe: Recipe
    source: dict[str, Any] = field(default_factory=dict)  # for the card: command and texts
    rng_seed: int = 0


def build(spec: ModelSpec, recipe: Recipe, lanes: int | None = None) -> keras.Model:
    """The network of `spec` in standard Keras layers. With `lanes`, for training with carried
    state: batches of exactly `lanes` streams, and bfloat16 where the recipe wants it and the
    processor has it. Without, as plain Keras opens it: any batch, any length, float32."""
    layers = keras.layers
    policy = "float32"
    if lanes and recipe.mixed_precision and processor_has_bfloat16():
        policy = "mixed_bfloat16"
    carried = spec.stateful and lanes is not None
    if spec.embedding is not None:
        inputs = keras.Input(batch_shape=(lanes, None), dtype="int32", name="ids")
        embedding = (spec.characters, spec.embedding)
        x = layers.Embedding(*embedding, name="embedding", dtype=policy)(inputs)
        x = _dropout(recipe.input_dropout, spec, policy)(x)
    else:
        x = inputs = keras.Input((spec.window, 1), name="scaled_ids")
    for n, units in enumerate(spec.units, start=1):
        sequences = spec.stateful or n < len(spec.units)
        x = layers.LSTM(
            units, return_sequences=sequences, stateful=carried, name=f"lstm_{n}", dtype=policy
        )(x)
        x = _dropout(recipe.dropout, spec, policy)(x)
    softmax = layers.Dense(spec.characters, "softmax", name="softmax", dtype="float32")
    outputs = softmax(x)
    return keras.Model(inputs, outputs, name="character_lstm")


def _dropout(rate: float, spec: ModelSpec, policy: str) -> keras.layers.Dropout:
    # Many to many: one mask for all steps of a segment.
    shape = (None, 1, None) if spec.stateful else None
    return keras.layers.Dropout(rate, noise_shape=shape, dtype=policy)


def processor_has_bfloat16() -> bool:
    """Whether bfloat16 products are the processor's own; emulated, they are slower than float32."""
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def train(job: Job, report: Report, resume: bool = False) -> store.Model:
    """Train as `job` says, reporting as it goes; the best epoch's model, written to `job.output`.

    After each epoch a checkpoint is kept beside the output, and `resume` goes on from it to the
    same weights as a run that was never interrupted. Raises TrainingError, CorpusError, and
    ModelError when `job.output` is not free for a model."""
    return _Run(job, report, resume).finish()


class _Run:
    """One call of `train`."""

    def __init__(self, job: Job, report: Report, resume: bool):
        self.job, self.report, self.recipe = job, report, job.recipe
        text, validation = job.text, job.validation_text
        if self.recipe.lowercase:
            text, validation = text.lower(), validation.lower()
        store.check_destination(job.output)
        if not text:
            raise CorpusError("All of the text is held out; there is none left to train on.")
        self.vocabulary = _vocabulary(text, job.start)
        self.spec = _spec(job.start, len(self.vocabulary))
        self.ids = self.vocabulary.encode(text).ids
        self.validation_ids = self.vocabulary.encode(validation).ids
        if len(self.validation_ids) < 2 * self.spec.window:
            raise CorpusError("There is too little text to hold any out for validation.")
        self.opening = corpus.opening(self.vocabulary.decode(self.ids), self.spec.window)
        self.checkpoints = Checkpoints(job.output)
        self.progressed = Progressed(fingerprint=self._fingerprint())
        if resume:
            self.progressed = self.checkpoints.resume(self.progressed.fingerprint)
        else:
            self.checkpoints.start()
        keras.utils.set_random_seed(job.rng_seed)
        self.model = self._network()
        if self.progressed.checkpoint:
            self._load(self.checkpoints.folder / self.progressed.checkpoint)

    def _load(self, checkpoint: Path) -> None:
        try:
            self.model.load_weights(checkpoint)
        except (OSError, KeyError, ValueError) as error:
            raise TrainingError(
                f"{checkpoint} is damaged. Delete {checkpoint.parent} to start afresh."
            ) from error

    def finish(self) -> store.Model:
        while self.progressed.epoch < self.recipe.epochs:
            self._epoch()
        return self._write()

    def _network(self) -> keras.Model:
        """The network with its optimizer, as it is before the first step."""
        model = build(self.spec, self.recipe, self.recipe.batch_size)
        if isinstance(self.job.start, store.Model):
            _adopt(model, self.job.start)
        optimizer = keras.optimizers.AdamW(
            self._learning_rate(),
            weight_decay=self.recipe.weight_decay,
            global_clipnorm=self.recipe.clip_norm,
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "embeddings"])
        optimizer.build(model.trainable_variables)
        # XLA makes the short loop over a window faster and the carried state slower.
        compiled = not self.spec.stateful
        model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=compiled)  # pyright: ignore[reportArgumentType]
        return model

    def _learning_rate(self) -> Any:  # a number or a schedule: Keras takes both, its types do not
        steps = self.recipe.epochs * self._batch_count
        if not self.recipe.cosine:
            return self.recipe.learning_rate
        warmup = max(1, round(self.recipe.warmup * steps))
        return keras.optimizers.schedules.CosineDecay(
            0.0,
            max(1, steps - warmup),
            warmup_target=self.recipe.learning_rate,
            warmup_steps=warmup,
        )

    @cached_property
    def _batch_count(self) -> int:
        """Batches an epoch."""
        if self.spec.stateful:
            return corpus.segment_count(len(self.ids), self.recipe.batch_size, self.recipe.segment)
        return math.ceil((len(self.ids) - self.spec.window) / self.recipe.batch_size)

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Inputs and targets of one epoch."""
        recipe = self.recipe
        if self.spec.stateful:
            offset = int(rng.integers(len(self.ids)))
            for ids in corpus.segments(self.ids, recipe.batch_size, recipe.segment, offset):
                yield ids[:, :-1], ids[:, 1:]
        else:
            for ids, targets in corpus.windows(self.ids, self.spec.window, recipe.batch_size, rng):
                yield (ids[..., np.newaxis] / self.spec.characters).astype(np.float32), targets

    def _epoch(self) -> None:
        """One epoch and its checkpoint. All that is random in it follows from its number, so that
        a resumed run does what an uninterrupted one does."""
        epoch = self.progressed.epoch
        rng = np.random.default_rng((self.job.rng_seed, epoch))
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.seed_generator.state.assign(rng.integers(2**31, size=2))
            elif isinstance(layer, keras.layers.LSTM) and layer.stateful:
                layer.reset_state()
        started = reported = time.monotonic()
        characters, nats = 0, 0.0
        for n, (inputs, targets) in enumerate(self._batches(rng), start=1):
            loss = float(self.model.train_on_batch(inputs, targets, return_dict=True)["loss"])
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The loss became {loss} in epoch {epoch + 1}. Try a lower learning rate."
                )
            characters += targets.size
            nats += loss * targets.size
            now = time.monotonic()
            if now - reported >= REPORT_INTERVAL_S:
                reported = now
                self.report(
                    Progress(
                        epoch=epoch + 1,
                        epochs=self.recipe.epochs,
                        done=n / self._batch_count,
                        loss=nats / characters,
                        characters_per_second=characters / (now - started),
                        seconds_left=(now - started) * self._batches_left(n) / n,
                    )
                )
        self._end_epoch(nats / characters, characters, time.monotonic() - started)

    def _batches_left(self, done: int) -> int:
        return (self.recipe.epochs - self.progressed.epoch) * self._batch_count - done

    def _end_epoch(self, loss: float, characters: int, seconds: float) -> None:
        engine = Engine(export.step_graph(self.model, int8=False), self.spec)
        validation = evaluation.score(engine, self.validation_ids, VALIDATION_LANES)
        before = self.progressed
        epoch = before.epoch + 1
        best = validation.nats < before.best_validation_loss
        if best:
            self.checkpoints.save_best(self._portable().save)
        losses = {"loss": round(loss, 4), "validation_loss": round(validation.nats, 4)}
        self.progressed = replace(
            before,
            epoch=epoch,
            best_epoch=epoch if best else before.best_epoch,
            best_validation_loss=min(validation.nats, before.best_validation_loss),
            seconds=before.seconds + seconds,
            history=[*before.history, losses],
            checkpoint=f"epoch-{epoch}.weights.h5",
        )
        self.checkpoints.save(self.model.save_weights, self.progressed)
        self.report(
            EpochEnd(
                epoch=epoch,
                epochs=self.recipe.epochs,
                loss=loss,
                validation_loss=validation.nats,
                best=best,
                characters_per_second=characters / seconds,
                seconds_left=seconds * (self.recipe.epochs - epoch),
                sample=self._sample(engine),
            )
        )

    def _portable(self) -> keras.Model:
        """The model as plain Keras opens it: no fixed batch, no optimizer, float32."""
        model = build(self.spec, self.recipe)
        model.set_weights(self.model.get_weights())
        return model

    def _sample(self, engine: Engine) -> str:
        card = store.Card(self.spec, self.vocabulary, self.opening, {}, {})
        model = store.Model("training", card, engine, self.checkpoints.folder)
        return generate(model, [Prompt("", length=SAMPLE_LENGTH)])[0].text

    def _fingerprint(self) -> str:
        """What a checkpoint belongs to: text, network and recipe."""
        # With a constant learning rate, more epochs go on from fewer.
        recipe = self.recipe if self.recipe.cosine else replace(self.recipe, epochs=1)
        parts = [self.spec, recipe, self.vocabulary.characters, self.job.rng_seed]
        digest = hashlib.sha256(repr(parts).encode())
        digest.update(self.ids.tobytes())
        digest.update(self.validation_ids.tobytes())
        if isinstance(self.job.start, store.Model):
            digest.update(store.sha256(self.job.start.folder / store.KERAS).encode())
        return digest.hexdigest()

    def _write(self) -> store.Model:
        best = export.open_model(self.checkpoints.best)
        graph = export.shipped_graph(best)
        # As shipped and in one stretch: what `charrnn evaluate` gives.
        score = evaluation.score(Engine(graph, self.spec), self.validation_ids)
        training = {
            **self.job.source,
            "characters": len(self.ids),
            "parameters": best.count_params(),
            "epochs": self.progressed.epoch,
            "best_epoch": self.progressed.best_epoch,
            "minutes": round(self.progressed.seconds / 60, 1),
            "recipe": asdict(self.recipe),
            "history": self.progressed.history,
            "keras": keras.__version__,
        }
        scores = {"held out": score.rounded()}
        card = store.Card(self.spec, self.vocabulary, self.opening, training, scores)
        store.write(self.job.output, card, self.checkpoints.best, graph)
        self.checkpoints.remove()
        return store.load(self.job.output)


def _spec(start: Preset | store.Model, characters: int) -> ModelSpec:
    if isinstance(start, Preset):
        return start.spec(characters)
    return replace(start.card.spec, characters=characters)


def _vocabulary(text: str, start: Preset | store.Model) -> Vocabulary:
    """The sorted characters of the text; for fine-tuning, the model's and after them the new
    ones that occur often enough to be learnt."""
    if isinstance(start, Preset):
        return Vocabulary.of(text)
    known = start.vocabulary.characters
    if start.card.spec.embedding is None:
        return start.vocabulary  # an id there is a number, not a name: more of them would move it
    new = (c for c, n in Counter(text).items() if n >= LEAST_OCCURRENCES and c not in known)
    return Vocabulary(known + "".join(sorted(new)))


def _adopt(model: keras.Model, base: store.Model) -> None:
    """Start `model` from the weights of `base`. What belongs to a new character starts as the
    mean of what belongs to the old ones."""
    known = len(base.vocabulary)
    weights = export.load_keras(base.folder / store.KERAS).get_weights()
    for variable, old in zip(model.weights, weights, strict=True):
        value = np.array(variable)
        if value.shape == old.shape:
            value = old
        elif variable.path.startswith("embedding"):
            value[:known], value[known:] = old, old.mean(axis=0)
        else:
            value[..., :known], value[..., known:] = old, old.mean(axis=-1, keepdims=True)
        variable.assign(value)
