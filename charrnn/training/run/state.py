"""How far a training run has come, how fast it goes, and which of its epochs is kept."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from charrnn.evaluation import Voice, standard_error

# The calibrated loss hardly changes over many epochs in which the voice grows, so among epochs
# whose loss is this close to the lowest, in nats per character, the voice chooses.
VOICE_MARGIN = 0.03
RECENT_S = 30.0  # the time constant of the speed's moving average


@dataclass(frozen=True)
class Measured:
    """What is measured after an epoch."""

    nats: float  # loss on the held-out text, per character
    losses: np.ndarray  # the same for each block of that text
    # If the loss is not finite, the rest is not measured.
    factor: float = 1.0  # calibrates the logits
    voice: Voice | None = None  # None from scratch, or with too few messages
    sample: str = ""


@dataclass(frozen=True)
class RunState:
    """How far a run has come."""

    epoch: int = 0  # epochs finished
    batches: int = 0  # finished in the current epoch
    characters: int = 0  # in those batches
    nats: float = 0.0  # loss, summed over those characters
    best_epoch: int = 0  # the one that is kept
    best_validation_loss: float = math.inf  # nats per character
    best_voice: float | None = None
    seconds: float = 0.0  # spent on training, and on measuring after each epoch
    measuring_s: float = 0.0  # seconds that measuring took the last time
    # `loss`, `validation_loss` and, if fine-tuned, `voice` of each epoch, and standard errors: of
    # the voice, and of the difference between the validation loss and the base's. First, without a
    # `loss`, those of the base untouched.
    history: list[dict[str, float]] = field(default_factory=list)
    base_losses: list[float] = field(default_factory=list)  # its validation loss, block by block
    checkpoint: str = ""  # the file with weights and optimizer
    fingerprint: str = ""  # job.TrainingData.fingerprint

    def improved_by(self, measured: Measured) -> bool:
        """Whether an epoch in which this was measured is better than the one kept."""
        nats, voice = measured.nats, measured.voice
        if voice is None or self.best_voice is None:
            return nats < self.best_validation_loss
        losses = [epoch["validation_loss"] for epoch in self.history]
        # Never worse than the base untouched, the first in the history.
        limit = min(min(nats, *losses) + VOICE_MARGIN, losses[0])
        closer = abs(voice.value - 1) < abs(self.best_voice - 1)
        return nats <= limit and (closer or self.best_validation_loss > limit)

    def noting(self, measured: Measured, best: bool, **losses: float) -> "RunState":
        """With what was measured after the epoch that just ended. `best`: its weights are kept."""
        losses["validation_loss"] = measured.nats
        if self.base_losses:
            differences = np.subtract(self.base_losses, measured.losses)
            losses["standard_error"] = standard_error(differences)
        if measured.voice is not None:
            losses["voice"] = measured.voice.value
            losses["voice_error"] = measured.voice.standard_error
        noted = replace(self, history=[*self.history, losses])
        if not best:
            return noted
        return replace(
            noted,
            best_epoch=self.epoch,
            best_validation_loss=measured.nats,
            best_voice=measured.voice and measured.voice.value,
        )


class Pace:
    """The speed of training alone, averaged over about the last half minute.

    Leaves out the first batch of the process, in which TensorFlow compiles the network."""

    def __init__(self) -> None:
        self._compiled = False
        self._seconds = self._characters = 0.0  # decaying sums

    def add(self, seconds: float, characters: int) -> None:
        """Note how long a batch took."""
        if self._compiled:
            fade = math.exp(-seconds / RECENT_S)
            self._seconds = fade * self._seconds + seconds
            self._characters = fade * self._characters + characters
        self._compiled = True

    @property
    def characters_per_second(self) -> float | None:
        """None before the second batch."""
        return self._characters / self._seconds if self._seconds else None
