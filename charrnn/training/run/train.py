"""The loop of a training run: fit a character LSTM to a text, or fine-tune one."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import keras

from charrnn import store
from charrnn.errors import Stopped, TrainingError
from charrnn.spec import ModelSpec
from charrnn.training import network, plot
from charrnn.training.events import EpochEnd, Progress, Report
from charrnn.training.job import Job, TrainingData
from charrnn.training.recipes import Recipe
from charrnn.training.run.checkpoint import Checkpoints
from charrnn.training.run.result import publish
from charrnn.training.run.state import Measured, Pace, RunState
from charrnn.training.run.validation import Validation

REPORT_INTERVAL_S = 0.5
SAMPLE_LENGTH = 300  # characters
CHECKPOINT_INTERVAL_S = 120.0

Build = Callable[[ModelSpec, Recipe, int], keras.Model]


class _StopRequested(Exception):  # noqa: N818 - not an error
    pass


def train(
    job: Job,
    report: Report,
    resume: bool = False,
    stopping: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    build: Build = network.trainable,
) -> store.Model:
    """Train as `job` says and return the best epoch's model, written to `job.output`.

    Reports `Progress` and `EpochEnd` events. Keeps a checkpoint beside the output, written every
    two minutes and after each epoch. `resume` continues from it, and ends at the same weights as an
    uninterrupted run. `stopping` is asked after each batch and while measuring.

    Raises Stopped when `stopping` returned true, and TrainingError when the loss is not a number;
    in both cases the best epoch so far is in `job.output`. Raises TrainingError when the disk is
    full or there is nothing to resume, CorpusError when a text is too short, and ModelError when
    `job.output` is something else than a model."""
    store.check_destination(job.output)
    run = _Run(job, report, stopping, clock)
    try:
        run.begin(resume, build)
        while not run.over():
            run.epoch()
    except _StopRequested:
        run.checkpoint()
        raise Stopped(
            f"Stopped in epoch {run.state.epoch + 1}. {run.write_best()}"
            "The same command with --resume continues."
        ) from None
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
        self.job, self.recipe = job, job.recipe
        self.report, self.stopping, self.clock = report, stopping, clock
        self.data = TrainingData(job)
        self.checkpoints = Checkpoints(job.output)
        self.state = RunState(fingerprint=self.data.fingerprint())
        self.pace = Pace()

    def begin(self, resume: bool, build: Build) -> None:
        """Load the last checkpoint, or start anew."""
        if resume:
            self.state = self.checkpoints.resume(self.state)
        else:
            self.checkpoints.start()
        keras.utils.set_random_seed(self.job.rng_seed)
        batches = self.recipe.epochs * self.data.batch_count
        self.model = build(self.data.spec, self.recipe, batches)
        base = self.job.base
        if self.state.checkpoint:
            self._load(self.checkpoints.folder / self.state.checkpoint)
        elif base:
            network.adopt(self.model, base)
        self.validation = Validation(self.job, self.data, self.checkpoints.folder, self._heed_stop)
        if base and not self.state.history:
            # An epoch must do better than the base does untouched.
            before, (measured, best) = self.clock(), self._measure()
            self.state = replace(
                self.state,
                base_losses=measured.losses.tolist(),
                measuring_s=self.clock() - before,
            )
            self.state = self.state.noting(measured, best)

    def over(self) -> bool:
        """Whether all epochs are done, or patience has run out."""
        patience = self.recipe.patience
        since = self.state.epoch - self.state.best_epoch
        return self.state.epoch >= self.recipe.epochs or (
            patience is not None and since >= patience
        )

    def epoch(self) -> None:
        """Train for the rest of the epoch, then measure."""
        epoch, done = self.state.epoch, self.state.batches
        if not done:
            network.reset_state(self.model)
        before = reported = saved = self.clock()
        batches = islice(self.data.batches(epoch), done, None)
        for n, (inputs, targets) in enumerate(batches, start=done + 1):
            # Seeded by the batch's number, so that a resumed run repeats an uninterrupted one.
            network.seed_dropout(self.model, (self.job.rng_seed, epoch, n))
            loss = float(self.model.train_on_batch(inputs, targets, return_dict=True)["loss"])
            if not math.isfinite(loss):
                self._give_up(loss)
            now = self.clock()
            self.state = replace(
                self.state,
                batches=n,
                nats=self.state.nats + loss * targets.size,
                characters=self.state.characters + targets.size,
                seconds=self.state.seconds + now - before,
            )
            self.pace.add(now - before, targets.size)
            before = now
            self._heed_stop()
            if now - reported >= REPORT_INTERVAL_S:
                reported = now
                self._report_progress()
            if now - saved >= CHECKPOINT_INTERVAL_S:
                saved = now
                self.checkpoint()
        self._end_epoch()

    def checkpoint(self) -> None:
        name = f"{self.state.epoch}-{self.state.batches}.weights.h5"
        self.state = replace(self.state, checkpoint=name)
        self.checkpoints.save(self.model.save_weights, self.state)

    def write_best(self) -> str:
        """Write the best epoch's model; a sentence that says so. Empty before the first epoch."""
        if not self.state.best_epoch:
            return ""
        self._publish()
        return f"The best so far, of epoch {self.state.best_epoch}, is in {self.job.output}. "

    def finish(self) -> store.Model:
        model = self._publish()
        self.checkpoints.remove()
        return model

    def _load(self, checkpoint: Path) -> None:
        try:
            self.model.load_weights(checkpoint)
        except (OSError, KeyError, ValueError) as error:
            raise TrainingError(
                f"{checkpoint} is damaged. Delete {checkpoint.parent} to start afresh."
            ) from error

    def _heed_stop(self) -> None:
        if self.stopping():
            raise _StopRequested

    def _give_up(self, loss: float) -> None:
        sentence = (
            f"The loss became {loss} in epoch {self.state.epoch + 1}. {self.write_best()}"
            f"Try a learning rate below {self.recipe.learning_rate:g}."
        )
        self.checkpoints.remove()  # resuming would end the same way
        raise TrainingError(sentence)

    def _times(self) -> dict[str, float]:
        """The latest speed of training, and the time left: to train, to measure after each epoch,
        and to write the model, which takes about as long as measuring once more."""
        state, length = self.state, len(self.data.ids)
        trained = state.epoch * length + state.characters
        # Until a second batch, there is only the speed of the whole run, with compiling.
        speed = self.pace.characters_per_second or trained / state.seconds
        left = max(0, self.recipe.epochs * length - trained) / speed
        measuring = (self.recipe.epochs - state.epoch + 1) * state.measuring_s
        return {"characters_per_second": speed, "seconds_left": left + measuring}

    def _report_progress(self) -> None:
        self.report(
            Progress(
                epoch=self.state.epoch + 1,
                epochs=self.recipe.epochs,
                done=self.state.batches / self.data.batch_count,
                loss=self.state.nats / self.state.characters,
                **self._times(),
            )
        )

    def _end_epoch(self) -> None:
        self._report_progress()
        before = self.clock()
        measured, best = self._measure()
        loss = self.state.nats / self.state.characters
        epoch = self.state.epoch + 1
        seconds = self.state.seconds + self.clock() - before
        self.state = replace(
            self.state, epoch=epoch, batches=0, nats=0.0, characters=0, seconds=seconds
        )
        self.state = self.state.noting(measured, best, loss=loss)
        self.checkpoint()
        if self.job.plot:
            curve = plot.learning_curve(self.state.history, self.state.best_epoch)
            curve.savefig(self.job.plot)
        self.state = replace(self.state, measuring_s=self.clock() - before)
        voice = measured.voice
        self.report(
            EpochEnd(
                epoch=epoch,
                epochs=self.recipe.epochs,
                loss=loss,
                validation_loss=measured.nats,
                voice=voice and voice.value,
                voice_error=voice and voice.standard_error,
                best=best,
                sample=measured.sample[:SAMPLE_LENGTH],
                measuring_s=self.state.measuring_s,
                **self._times(),
            )
        )

    def _measure(self) -> tuple[Measured, bool]:
        """Measure the network as it is now. Saves the weights if they are the best so far; the
        second value says so."""
        with network.averaged(self.model):
            measured = self.validation.measure(self.model)
            if not math.isfinite(measured.nats):
                self._give_up(measured.nats)
            best = self.state.improved_by(measured)
            if best:
                # As plain Keras opens it: no fixed batch, no optimizer, float32.
                portable = network.build(self.data.spec, self.recipe)
                portable.set_weights(self.model.get_weights())
                network.scale_logits(portable, measured.factor)
                self.checkpoints.save_best(portable.save)
        return measured, best

    def _publish(self) -> store.Model:
        """Write the best epoch's model."""
        return publish(self.job, self.data, self.state, self.validation, self.checkpoints)
