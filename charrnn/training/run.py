"""One training run: fit a character LSTM to a text, or fine-tune one."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import keras
import numpy as np

from charrnn import evaluation, store
from charrnn.engine import Engine
from charrnn.errors import CorpusError, Stopped, TrainingError
from charrnn.evaluation import Voice, VoiceJudge, write_messages, write_samples
from charrnn.sampling import Sampling
from charrnn.spec import ModelSpec
from charrnn.training import export, network, plot
from charrnn.training.checkpoint import Checkpoints, Progressed
from charrnn.training.events import EpochEnd, Progress, Report
from charrnn.training.job import Job, Material
from charrnn.training.recipes import Recipe
from charrnn.verbatim import longest_copy

# While training, the held-out text is measured as at most this many stretches side by side. Each
# starts from zero state, which costs a little accuracy, so none is shorter than this.
VALIDATION_LANES = 32
VALIDATION_STRETCH = 2500  # characters
REPORT_INTERVAL_S = 0.5
CHECKPOINT_INTERVAL_S = 120.0
RECENT_S = 30.0  # the time constant of the speed's moving average
SAMPLE_LENGTH = 300  # characters
# The calibrated loss hardly changes over many epochs in which the voice grows, so among epochs
# whose loss is this close to the lowest, in nats per character, the voice chooses.
VOICE_MARGIN = 0.03
BASE_SAMPLES, VOICE_SAMPLES = 80, 32
# Other random seeds than those that chose the epoch, for the figures that are published.
FINAL_SEED, FINAL_SAMPLES = 1_000_000, 40

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
            f"Stopped in epoch {run.progressed.epoch + 1}. {run.write_best()}"
            "The same command with --resume continues."
        ) from None
    return run.finish()


@dataclass(frozen=True)
class _Measured:
    """What is measured after an epoch."""

    nats: float  # validation loss per character
    losses: np.ndarray  # the same for each block of the held-out text
    voice: Voice | None
    sample: str
    best: bool  # whether its weights are kept


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
        self.material = Material(job)
        self.checkpoints = Checkpoints(job.output)
        self.progressed = Progressed(fingerprint=self.material.fingerprint())
        self.compiled = False  # which happens in a process's first batch
        self.recent_s = self.recent_characters = 0.0  # decaying sums, of training alone

    def begin(self, resume: bool, build: Build) -> None:
        """Load the last checkpoint, or start anew."""
        if resume:
            self.progressed = self.checkpoints.resume(self.progressed)
        else:
            self.checkpoints.start()
        keras.utils.set_random_seed(self.job.rng_seed)
        batches = self.recipe.epochs * self.material.batch_count
        self.model = build(self.material.spec, self.recipe, batches)
        base = self.job.start if isinstance(self.job.start, store.Model) else None
        if self.progressed.checkpoint:
            self._load(self.checkpoints.folder / self.progressed.checkpoint)
        elif base:
            network.adopt(self.model, base)
        self.judge = self._judge(base) if base else None
        if base and not self.progressed.history:
            # An epoch must do better than the base does untouched.
            before, measured = self.clock(), self._measure()
            self.progressed = replace(
                self.progressed,
                base_losses=measured.losses.tolist(),
                measuring_s=self.clock() - before,
            )
            self._note(measured)

    def over(self) -> bool:
        """Whether all epochs are done, or patience has run out."""
        patience = self.recipe.patience
        since = self.progressed.epoch - self.progressed.best_epoch
        return self.progressed.epoch >= self.recipe.epochs or (
            patience is not None and since >= patience
        )

    def epoch(self) -> None:
        """Train for the rest of the epoch, then measure."""
        epoch, done = self.progressed.epoch, self.progressed.batches
        if not done:
            network.reset_state(self.model)
        before = reported = saved = self.clock()
        batches = islice(self.material.batches(epoch), done, None)
        for n, (inputs, targets) in enumerate(batches, start=done + 1):
            # Seeded by the batch's number, so that a resumed run repeats an uninterrupted one.
            network.seed_dropout(self.model, (self.job.rng_seed, epoch, n))
            loss = float(self.model.train_on_batch(inputs, targets, return_dict=True)["loss"])
            if not math.isfinite(loss):
                self._give_up(loss)
            now = self.clock()
            self.progressed = replace(
                self.progressed,
                batches=n,
                nats=self.progressed.nats + loss * targets.size,
                characters=self.progressed.characters + targets.size,
                seconds=self.progressed.seconds + now - before,
            )
            self._time(now - before, targets.size)
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
        name = f"{self.progressed.epoch}-{self.progressed.batches}.weights.h5"
        self.progressed = replace(self.progressed, checkpoint=name)
        self.checkpoints.save(self.model.save_weights, self.progressed)

    def write_best(self) -> str:
        """Write the best epoch's model; a sentence that says so. Empty before the first epoch."""
        if not self.progressed.best_epoch:
            return ""
        self._write()
        return f"The best so far, of epoch {self.progressed.best_epoch}, is in {self.job.output}. "

    def finish(self) -> store.Model:
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

    def _heed_stop(self) -> None:
        if self.stopping():
            raise _StopRequested

    def _give_up(self, loss: float) -> None:
        sentence = (
            f"The loss became {loss} in epoch {self.progressed.epoch + 1}. {self.write_best()}"
            f"Try a learning rate below {self.recipe.learning_rate:g}."
        )
        self.checkpoints.remove()  # resuming would end the same way
        raise TrainingError(sentence)

    def _time(self, seconds: float, characters: int) -> None:
        """Note how long a batch took."""
        if self.compiled:
            fade = math.exp(-seconds / RECENT_S)
            self.recent_s = fade * self.recent_s + seconds
            self.recent_characters = fade * self.recent_characters + characters
        self.compiled = True

    def _pace(self) -> dict[str, float]:
        """The latest speed of training, and the time left: to train, to measure after each epoch,
        and to write the model, which takes about as long as measuring once more."""
        progressed, length = self.progressed, len(self.material.ids)
        trained = progressed.epoch * length + progressed.characters
        # Until a second batch, there is only the speed of the whole run, with compiling.
        speed = (
            self.recent_characters / self.recent_s
            if self.recent_s
            else (trained / progressed.seconds)
        )
        left = max(0, self.recipe.epochs * length - trained) / speed
        measuring = (self.recipe.epochs - progressed.epoch + 1) * progressed.measuring_s
        return {"characters_per_second": speed, "seconds_left": left + measuring}

    def _report_progress(self) -> None:
        self.report(
            Progress(
                epoch=self.progressed.epoch + 1,
                epochs=self.recipe.epochs,
                done=self.progressed.batches / self.material.batch_count,
                loss=self.progressed.nats / self.progressed.characters,
                **self._pace(),
            )
        )

    def _judge(self, base: store.Model) -> VoiceJudge | None:
        try:
            return VoiceJudge(self.job.text, write_messages(base, BASE_SAMPLES, Sampling()))
        except CorpusError:
            return None  # then the loss alone chooses the epoch

    def _end_epoch(self) -> None:
        self._report_progress()
        before = self.clock()
        measured = self._measure()
        loss = self.progressed.nats / self.progressed.characters
        epoch = self.progressed.epoch + 1
        seconds = self.progressed.seconds + self.clock() - before
        self.progressed = replace(
            self.progressed, epoch=epoch, batches=0, nats=0.0, characters=0, seconds=seconds
        )
        self._note(measured, loss=loss)
        self.checkpoint()
        if self.job.plot:
            progressed = self.progressed
            curve = plot.learning_curve(progressed.history, progressed.best_epoch)
            curve.savefig(self.job.plot)
        self.progressed = replace(self.progressed, measuring_s=self.clock() - before)
        voice = measured.voice
        self.report(
            EpochEnd(
                epoch=epoch,
                epochs=self.recipe.epochs,
                loss=loss,
                validation_loss=measured.nats,
                voice=voice and voice.value,
                voice_error=voice and voice.standard_error,
                best=measured.best,
                sample=measured.sample[:SAMPLE_LENGTH],
                measuring_s=self.progressed.measuring_s,
                **self._pace(),
            )
        )

    def _measure(self) -> _Measured:
        """Measure the network as it is now. Saves the weights if they are the best so far."""
        spec, ids = self.material.spec, self.material.validation_ids
        lanes = min(VALIDATION_LANES, max(1, len(ids) // VALIDATION_STRETCH))
        with network.averaged(self.model):
            engine = Engine(export.writing_graph(self.model, int8=False), spec)
            factor, losses = self._calibrated(engine, lanes)
            nats = float(losses.mean(dtype=np.float64))
            if not math.isfinite(nats):
                self._give_up(nats)
            # The engine's logits are not scaled; a temperature does the same.
            sampling = Sampling(Sampling.temperature / factor)
            samples = self._samples(engine, VOICE_SAMPLES if self.judge else 1, sampling)
            voice = self.judge.voice(samples) if self.judge else None
            best = self._better(nats, voice and voice.value)
            if best:
                # As plain Keras opens it: no fixed batch, no optimizer, float32.
                portable = network.build(spec, self.recipe)
                portable.set_weights(self.model.get_weights())
                network.scale_logits(portable, factor)
                self.checkpoints.save_best(portable.save)
        return _Measured(nats, evaluation.block_means(losses), voice, samples[0], best)

    def _better(self, nats: float, voice: float | None) -> bool:
        """Whether an epoch with this validation loss and voice is better than the one kept."""
        kept = self.progressed
        if voice is None or kept.best_voice is None:
            return nats < kept.best_validation_loss
        losses = [epoch["validation_loss"] for epoch in kept.history]
        # Never worse than the base untouched, the first in the history.
        limit = min(min(nats, *losses) + VOICE_MARGIN, losses[0])
        closer = abs(voice - 1) < abs(kept.best_voice - 1)
        return nats <= limit and (closer or kept.best_validation_loss > limit)

    def _calibrated(self, engine: Engine, lanes: int) -> tuple[float, np.ndarray]:
        """The factor that calibrates the logits, and the validation losses with it, `(N,)`."""
        ids = self.material.validation_ids
        if not self.recipe.calibrate:
            return 1.0, evaluation.losses(engine, ids, lanes, self._heed_stop)
        calibration = evaluation.calibrate(engine, ids, lanes, self._heed_stop)
        return calibration.constant, calibration.losses

    def _note(self, measured: _Measured, **losses: float) -> None:
        """Add what was measured after the epoch that just ended to the history."""
        progressed = self.progressed
        losses["validation_loss"] = measured.nats
        if progressed.base_losses:
            differences = np.subtract(progressed.base_losses, measured.losses)
            losses["standard_error"] = evaluation.standard_error(differences)
        if measured.voice is not None:
            losses["voice"] = measured.voice.value
            losses["voice_error"] = measured.voice.standard_error
        self.progressed = replace(progressed, history=[*progressed.history, losses])
        if measured.best:
            self.progressed = replace(
                self.progressed,
                best_epoch=progressed.epoch,
                best_validation_loss=measured.nats,
                best_voice=measured.voice and measured.voice.value,
            )

    def _samples(
        self, engine: Engine, count: int, sampling: Sampling, first_seed: int = 0
    ) -> list[str]:
        """What the network writes that `engine` runs."""
        material = self.material
        card = store.Card(material.spec, material.vocabulary, material.opening, {}, {})
        model = store.Model("training", card, engine, self.checkpoints.folder, material.guard)
        write = write_messages if self.judge else write_samples
        return write(model, count, sampling, first_seed=first_seed)

    def _write(self) -> store.Model:
        material = self.material
        best = export.open_model(self.checkpoints.best)
        graph = export.shipped_graph(best)
        # In one stretch and with the graph that ships. The model's own factor was fitted on this
        # text, so the published score is cross-fitted.
        engine = Engine(graph, material.spec)
        if self.recipe.calibrate:
            score = evaluation.calibrate(engine, material.validation_ids).score
        else:
            score = evaluation.score(engine, material.validation_ids)
        training = {
            **self.job.source,
            "characters": len(material.ids),
            "parameters": best.count_params(),
            "epochs": self.progressed.epoch,
            "best_epoch": self.progressed.best_epoch,
            "minutes": round(self.progressed.seconds / 60, 1),
            "recipe": asdict(self.recipe),
            "history": [
                {name: round(value, 4) for name, value in epoch.items()}
                for epoch in self.progressed.history
            ],
            "keras": keras.__version__,
        }
        judged = self.judge is not None or material.guard is not None
        samples = self._samples(engine, FINAL_SAMPLES, Sampling(), FINAL_SEED) if judged else []
        voice = self.judge.voice(samples) if self.judge else None
        if voice is not None:
            training["voice"] = round(voice.value, 2)
            training["voice_error"] = round(voice.standard_error, 2)
        if material.guard is not None:
            texts = [material.vocabulary.encode(sample).ids for sample in samples]
            found = longest_copy(texts, material.ids)[0]
            training["longest_copy"] = {"allowed": material.guard.longest, "found": found}
        scores = {"held out": score.rounded()}
        # The text of a model that must not copy it may hold names of people.
        play = "" if material.guard else material.vocabulary.decode(material.ids)
        speakers = tuple(evaluation.speakers(play))
        card = store.Card(
            material.spec, material.vocabulary, material.opening, training, scores, speakers
        )
        with self.checkpoints.guarded():
            store.write(self.job.output, card, self.checkpoints.best, graph, material.guard)
        return store.load(self.job.output)
