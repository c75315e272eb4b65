"""Fit and fine-tune a character LSTM."""

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

from charrnn import evaluation, store
from charrnn.engine import Engine
from charrnn.errors import CorpusError, Stopped, TrainingError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.spec import ModelSpec
from charrnn.text import corpus
from charrnn.training import export, network, plot
from charrnn.training.checkpoint import Checkpoints, Progressed
from charrnn.training.events import EpochEnd, Progress, Report
from charrnn.training.recipes import Preset, Recipe
from charrnn.verbatim import VerbatimGuard, longest_copy
from charrnn.vocabulary import Vocabulary

VALIDATION_LANES = 32  # at most: stretches of the held-out text, read side by side
VALIDATION_STRETCH = 2500  # characters, at least: each begins from nothing, which costs a little
REPORT_INTERVAL_S = 0.5
CHECKPOINT_INTERVAL_S = 120.0
SAMPLE_LENGTH = 300
COPY_SAMPLES = 20  # searched for what they copy


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
    plot: Path | None = None  # where to draw the learning curve, after every epoch
    # Characters in a row that the model may copy from the text when it writes; None: any number.
    longest_copy: int | None = None


def train(
    job: Job,
    report: Report,
    resume: bool = False,
    stopping: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> store.Model:
    """Train as `job` says, reporting as it goes; the best epoch's model, written to `job.output`.

    A checkpoint is kept beside the output, every two minutes and after each epoch, and `resume`
    goes on from it to the same weights as a run that was never interrupted. `stopping` is asked
    after each batch. Raises Stopped when it says so, with the best epoch so far in `job.output`;
    TrainingError when the loss is no number (the best so far is written, too), when the disk is
    full and when there is nothing to resume; CorpusError; and ModelError when `job.output` is not
    free for a model."""
    run = _Run(job, report, stopping, clock)
    run.begin(resume)
    while not run.over():
        run.epoch()
    return run.finish()


class _Run:
    """One call of `train`."""

    def __init__(
        self,
        job: Job,
        report: Report,
        stopping: Callable[[], bool],
        clock: Callable[[], float],
    ):
        self.job, self.report, self.recipe = job, report, job.recipe
        self.stopping, self.clock = stopping, clock
        text, validation = job.text, job.validation_text
        if self.recipe.lowercase:
            text, validation = text.lower(), validation.lower()
        store.check_destination(job.output)
        if not text:
            raise CorpusError("All of the text is held out; there is none left to train on.")
        self.vocabulary = _vocabulary(text, job.start, self.recipe)
        self.spec = _spec(job.start, len(self.vocabulary))
        self.ids = self.vocabulary.encode(text).ids
        self.validation_ids = self.vocabulary.encode(validation).ids
        if len(self.validation_ids) < 2 * self.spec.window:
            raise CorpusError("There is too little text to hold any out for validation.")
        self.guard = None
        self.opening = corpus.opening(self.vocabulary.decode(self.ids), self.spec.window)
        if job.longest_copy is not None:
            everything = np.concatenate([self.ids, self.validation_ids])
            self.guard = VerbatimGuard.of(everything, job.longest_copy, len(self.vocabulary))
            if isinstance(job.start, store.Model):
                self.opening = job.start.opening  # which is not a passage of the text
        self.checkpoints = Checkpoints(job.output)
        self.progressed = Progressed(fingerprint=self._fingerprint())

    def begin(self, resume: bool) -> None:
        """Come to where the run was, or to its start."""
        if resume:
            self.progressed = self.checkpoints.resume(self.progressed)
        else:
            self.checkpoints.start()
        keras.utils.set_random_seed(self.job.rng_seed)
        batches = self.recipe.epochs * self._batch_count
        self.model = network.trainable(self.spec, self.recipe, batches)
        if self.progressed.checkpoint:
            self._load(self.checkpoints.folder / self.progressed.checkpoint)
        elif isinstance(self.job.start, store.Model):
            network.adopt(self.model, self.job.start)
            # What the base does untouched is what training has to better.
            self._note({"validation_loss": self._measure()[0]})

    def over(self) -> bool:
        """Whether all epochs are done, or the validation loss has not fallen for too long."""
        patience = self.recipe.patience
        since = self.progressed.epoch - self.progressed.best_epoch
        return self.progressed.epoch >= self.recipe.epochs or (
            patience is not None and since >= patience
        )

    def finish(self) -> store.Model:
        """The best epoch's model, written; the run's folder is no longer needed."""
        model = self._write()
        self.checkpoints.remove()
        return model

    def _load(self, checkpoint: Path) -> None:
        try:
            self.model.load_weights(checkpoint)
        except (OSError, KeyError, ValueError) as error:
            raise TrainingError(
                f"{checkpoint} is damaged. Delete {checkpoint.parent} to start afresh."
            ) from error

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

    def epoch(self) -> None:
        """An epoch, or what is left of it."""
        epoch, done = self.progressed.epoch, self.progressed.batches
        if not done:
            self._clear_state()
        batches = self._batches(np.random.default_rng((self.job.rng_seed, epoch)))
        started = now = reported = saved = self.clock()
        characters = 0
        for n, (inputs, targets) in enumerate(islice(batches, done, None), start=done + 1):
            self._seed_dropout(epoch, n)
            loss = float(self.model.train_on_batch(inputs, targets, return_dict=True)["loss"])
            if not math.isfinite(loss):
                self._give_up(loss)
            now, before = self.clock(), now
            characters += targets.size
            self.progressed = replace(
                self.progressed,
                batches=n,
                nats=self.progressed.nats + loss * targets.size,
                characters=self.progressed.characters + targets.size,
                seconds=self.progressed.seconds + now - before,
            )
            if n == self._batch_count:
                break  # what follows the last batch is measuring, and then a checkpoint
            if self.stopping():
                self._stop()
            if now - reported >= REPORT_INTERVAL_S:
                reported = now
                self._report_progress(characters / (now - started))
            if now - saved >= CHECKPOINT_INTERVAL_S:
                saved = now
                self._checkpoint()
        self._end_epoch(characters / (now - started))

    def _clear_state(self) -> None:
        for layer in self.model.layers:
            if isinstance(layer, network.SegmentLSTM):
                layer.reset_state()

    def _seed_dropout(self, epoch: int, batch: int) -> None:
        """All that is random in a batch follows from its number, so that a resumed run does what
        an uninterrupted one does."""
        rng = np.random.default_rng((self.job.rng_seed, epoch, batch))
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.Dropout | network.SegmentLSTM):
                layer.seed_generator.state.assign(rng.integers(2**31, size=2))

    def _report_progress(self, characters_per_second: float) -> None:
        progressed = self.progressed
        done = progressed.batches / self._batch_count
        self.report(
            Progress(
                epoch=progressed.epoch + 1,
                epochs=self.recipe.epochs,
                done=done,
                loss=progressed.nats / progressed.characters,
                characters_per_second=characters_per_second,
                seconds_left=self._seconds_left(progressed.epoch + done, characters_per_second),
            )
        )

    def _seconds_left(self, epochs_done: float, characters_per_second: float) -> float:
        return (self.recipe.epochs - epochs_done) * len(self.ids) / characters_per_second

    def _checkpoint(self) -> None:
        name = f"{self.progressed.epoch}-{self.progressed.batches}.weights.h5"
        self.progressed = replace(self.progressed, checkpoint=name)
        self.checkpoints.save(self.model.save_weights, self.progressed)

    def _stop(self) -> None:
        self._checkpoint()
        raise Stopped(
            f"Stopped in epoch {self.progressed.epoch + 1}. {self._export_best()}"
            "The same command with --resume goes on."
        )

    def _give_up(self, loss: float) -> None:
        sentence = (
            f"The loss became {loss} in epoch {self.progressed.epoch + 1}. {self._export_best()}"
            f"Try a learning rate below {self.recipe.learning_rate:g}."
        )
        self.checkpoints.remove()  # from here the run would only come here again
        raise TrainingError(sentence)

    def _export_best(self) -> str:
        if not self.progressed.best_epoch:
            return ""
        self._write()
        return f"The best so far, of epoch {self.progressed.best_epoch}, is in {self.job.output}. "

    def _end_epoch(self, characters_per_second: float) -> None:
        validation_loss, sample = self._measure()
        loss = self.progressed.nats / self.progressed.characters
        epoch = self.progressed.epoch + 1
        self.progressed = replace(self.progressed, epoch=epoch, batches=0, nats=0.0, characters=0)
        self._note({"loss": loss, "validation_loss": validation_loss})
        self._checkpoint()
        if self.job.plot:
            plot.learning_curve(self.progressed.history).savefig(self.job.plot)
        self.report(
            EpochEnd(
                epoch=epoch,
                epochs=self.recipe.epochs,
                loss=loss,
                validation_loss=validation_loss,
                best=self.progressed.best_epoch == epoch,
                characters_per_second=characters_per_second,
                seconds_left=self._seconds_left(epoch, characters_per_second),
                sample=sample,
            )
        )

    def _measure(self) -> tuple[float, str]:
        """The validation loss of the weights as they are, and a sample. The best are kept."""
        with self._averaged():
            engine = Engine(export.writing_graph(self.model, int8=False), self.spec)
            lanes = len(self.validation_ids) // VALIDATION_STRETCH
            lanes = min(VALIDATION_LANES, max(1, lanes))
            nats = evaluation.score(engine, self.validation_ids, lanes).nats
            if not math.isfinite(nats):
                self._give_up(nats)
            if nats < self.progressed.best_validation_loss:
                self.checkpoints.save_best(self._portable().save)
        return nats, self._sample(engine)

    def _note(self, losses: dict[str, float]) -> None:
        """Losses, nats per character, of the epoch that `progressed` has come to."""
        progressed, nats = self.progressed, losses["validation_loss"]
        rounded = {name: round(value, 4) for name, value in losses.items()}
        self.progressed = replace(progressed, history=[*progressed.history, rounded])
        if nats < progressed.best_validation_loss:
            self.progressed = replace(
                self.progressed, best_epoch=progressed.epoch, best_validation_loss=nats
            )

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """What is measured and kept is the moving average of the weights, where there is one;
        what is trained on are the weights."""
        trained = self.model.get_weights()
        if int(self.model.optimizer.iterations):
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        yield
        self.model.set_weights(trained)

    def _portable(self) -> keras.Model:
        """The model as plain Keras opens it: no fixed batch, no optimizer, float32."""
        model = network.build(self.spec, self.recipe)
        model.set_weights(self.model.get_weights())
        return model

    def _sample(self, engine: Engine) -> str:
        return generate(self._model(engine), [Prompt("", length=SAMPLE_LENGTH)])[0].text

    def _model(self, engine: Engine) -> store.Model:
        """The model as it is at the moment, to write with."""
        card = store.Card(self.spec, self.vocabulary, self.opening, {}, {})
        return store.Model("training", card, engine, self.checkpoints.folder, self.guard)

    def _longest_copy(self, engine: Engine, allowed: int) -> dict[str, int]:
        """How many characters in a row samples copy from the text, at the most."""
        samples = evaluation.write_samples(self._model(engine), COPY_SAMPLES, Sampling())
        texts = [self.vocabulary.encode(sample).ids for sample in samples]
        longest, _ = longest_copy(texts, self.ids)
        return {"allowed": allowed, "found": longest}

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
        engine = Engine(graph, self.spec)
        score = evaluation.score(engine, self.validation_ids)
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
        if self.guard is not None:
            training["longest_copy"] = self._longest_copy(engine, self.guard.longest)
        scores = {"held out": score.rounded()}
        card = store.Card(self.spec, self.vocabulary, self.opening, training, scores)
        with self.checkpoints.guarded():
            store.write(self.job.output, card, self.checkpoints.best, graph, self.guard)
        return store.load(self.job.output)


def _spec(start: Preset | store.Model, characters: int) -> ModelSpec:
    if isinstance(start, Preset):
        return start.spec(characters)
    return replace(start.card.spec, characters=characters)


def _vocabulary(text: str, start: Preset | store.Model, recipe: Recipe) -> Vocabulary:
    """The characters of the text, sorted; for fine-tuning, the model's and after them the new
    ones. Those that occur too rarely to be learnt are left out."""
    often = {c for c, n in Counter(text).items() if n >= recipe.least_occurrences}
    if isinstance(start, Preset):
        return Vocabulary("".join(sorted(often)))
    known = start.vocabulary.characters
    if start.card.spec.embedding is None:
        return start.vocabulary  # an id there is a number, not a name: more of them would move it
    return Vocabulary(known + "".join(sorted(often - set(known))))
