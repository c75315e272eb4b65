"""What a network scores and writes after an epoch of training."""

import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from charrnn import evaluation, store
from charrnn.engine import Engine
from charrnn.errors import CorpusError
from charrnn.evaluation import VoiceJudge, write_messages, write_samples
from charrnn.sampling import Sampling
from charrnn.training import export
from charrnn.training.job import Job, TrainingData
from charrnn.training.run.state import Measured

# While training, the held-out text is measured as at most this many stretches side by side. Each
# starts from zero state, which costs a little accuracy, so none is shorter than this.
LANES = 32
STRETCH = 2500  # characters
BASE_SAMPLES, VOICE_SAMPLES = 80, 32


class Validation:
    """Measures a network on a job's held-out text.

    If the job fine-tunes a base, it also measures how much the network sounds like the text."""

    def __init__(self, job: Job, data: TrainingData, folder: Path, heed_stop: Callable[[], None]):
        """`folder`: the path that error messages name. `heed_stop` is called often, and may
        raise to end the measuring."""
        self._job, self._data, self._folder = job, data, folder
        self._heed_stop = heed_stop
        self.judge = self._judge()

    def measure(self, model: keras.Model) -> Measured:
        """Measure the network as it is now."""
        engine = Engine(export.writing_graph(model, int8=False), self._data.spec)
        factor, losses = self._calibrated(engine)
        nats, blocks = evaluation.Score.of(losses).nats, evaluation.block_means(losses)
        if not math.isfinite(nats):
            return Measured(nats, blocks)
        # The engine's logits are not scaled; a temperature does the same.
        sampling = Sampling(Sampling.temperature / factor)
        samples = self.write(engine, VOICE_SAMPLES if self.judge else 1, sampling)
        voice = self.judge.voice(samples) if self.judge else None
        return Measured(nats, blocks, factor, voice, samples[0])

    def write(
        self, engine: Engine, count: int, sampling: Sampling, first_seed: int = 0
    ) -> list[str]:
        """`count` texts of the network that `engine` runs."""
        data = self._data
        card = store.Card(data.spec, data.vocabulary, data.opening, {}, {})
        model = store.Model("training", card, engine, self._folder, data.guard)
        write = write_messages if self.judge else write_samples
        return write(model, count, sampling, first_seed=first_seed)

    def _judge(self) -> VoiceJudge | None:
        base = self._job.base
        if base is None:
            return None
        try:
            return VoiceJudge(self._job.text, write_messages(base, BASE_SAMPLES, Sampling()))
        except CorpusError:
            return None  # then the loss alone chooses the epoch

    def _calibrated(self, engine: Engine) -> tuple[float, np.ndarray]:
        """The factor that calibrates the logits, and the losses with it, `(N,)`."""
        ids = self._data.validation_ids
        lanes = min(LANES, max(1, len(ids) // STRETCH))
        if not self._job.recipe.calibrate:
            return 1.0, evaluation.losses(engine, ids, lanes, self._heed_stop)
        calibration = evaluation.calibrate(engine, ids, lanes, self._heed_stop)
        return calibration.factor, calibration.losses
