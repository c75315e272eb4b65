"""What a training job is at this moment."""

from dataclasses import dataclass, field

from bot.storage.records import JobState, StoredModel, TrainingJob
from bot.words.matching import WordFilter
from charrnn.text.messages import Counts
from charrnn.training.events import EpochEnd, Progress


@dataclass(frozen=True)
class Job:
    """A job's row in the registry, and what only this process knows about it. Everything that is
    shown of a job is computed from this."""

    row: TrainingJob
    counts: Counts | None = None  # while READING: what has been read so far
    place: int = 0  # while QUEUED: 1 is next
    running_s: float = 0.0  # while TRAINING: since its process was started
    progress: Progress | None = None  # while TRAINING: the latest,
    epoch: EpochEnd | None = None  # and the last whole epoch
    cores: float | None = None  # of a processor that it got lately; None: not measured yet
    paused: bool = False  # while TRAINING: the bot is stopping, and goes on after its restart
    model: StoredModel | None = None  # once FINISHED; None again when the model is deleted
    never_said: WordFilter = field(default_factory=WordFilter, compare=False)  # in the server

    @property
    def id(self) -> int:
        return self.row.id

    @property
    def state(self) -> JobState:
        return self.row.state

    @property
    def over(self) -> bool:
        """Whether the job stays as it is until somebody presses a button."""
        if self.state is JobState.FINISHED:
            return self.model is None or self.model.samples is not None
        return self.state in (JobState.INTERRUPTED, JobState.FAILED, JobState.CANCELLED)
