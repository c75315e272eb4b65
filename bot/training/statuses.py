"""How a training is, for whoever shows it."""

from dataclasses import dataclass
from typing import Any

from bot.storage.records import JobState, StoredModel, TrainingJob
from charrnn.text.messages import Counts


@dataclass(frozen=True)
class Reading:
    """Its text is being gathered."""

    job: TrainingJob
    counts: Counts


@dataclass(frozen=True)
class Ready:
    """It waits for Train or Cancel."""

    job: TrainingJob
    counts: Counts
    seconds: float  # that the training should take
    warning: str  # or empty


@dataclass(frozen=True)
class Queued:
    job: TrainingJob
    place: int  # 1 is next


@dataclass(frozen=True)
class Learning:
    """It trains, and reports as `charrnn.progress` says."""

    job: TrainingJob
    progress: dict[str, Any] | None = None  # the last `Progress`
    epoch: dict[str, Any] | None = None  # the last `EpochEnd`


@dataclass(frozen=True)
class Paused:
    """The bot is being stopped; the training goes on by itself when it is back."""

    job: TrainingJob


@dataclass(frozen=True)
class Sample:
    """What the base and the new model write after the same words, by the same chance."""

    seed: str
    before: str
    after: str


@dataclass(frozen=True)
class Candidate:
    """There is a model."""

    job: TrainingJob
    model: StoredModel
    samples: tuple[Sample, ...] | None = None  # None: they are being written


@dataclass(frozen=True)
class Ended:
    """It has ended without a model, for good or until it is resumed."""

    job: TrainingJob
    sentence: str

    @property
    def resumable(self) -> bool:
        return self.job.state is JobState.INTERRUPTED


Status = Reading | Ready | Queued | Learning | Paused | Candidate | Ended


def is_final(status: Status) -> bool:
    """Whether there is nothing more to come, unless somebody resumes it."""
    return isinstance(status, Ended) or (
        isinstance(status, Candidate) and status.samples is not None
    )
