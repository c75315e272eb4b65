"""What the registry knows: trainings and their states, models, what is kept about a person."""

import re
import unicodedata
from dataclasses import dataclass, replace
from enum import StrEnum

from bot.errors import BotError

_NAME = re.compile(r"[\w-]{1,32}")


class JobState(StrEnum):
    PREPARING = "preparing"  # its texts are being gathered, or Train has not been pressed
    QUEUED = "queued"
    TRAINING = "training"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


GIVEN_UP = {JobState.FAILED, JobState.CANCELLED}
NEXT_STATES = {
    JobState.PREPARING: {JobState.QUEUED} | GIVEN_UP,
    JobState.QUEUED: {JobState.TRAINING, JobState.INTERRUPTED} | GIVEN_UP,
    JobState.TRAINING: {JobState.FINISHED, JobState.INTERRUPTED} | GIVEN_UP,
    JobState.INTERRUPTED: {JobState.QUEUED} | GIVEN_UP,
    JobState.FINISHED: set(),
    JobState.FAILED: set(),
    JobState.CANCELLED: set(),
}


def model_name(text: str) -> str:
    """A name for a model, as it is kept: é is one character, not e and an accent. Raises
    BotError."""
    name = unicodedata.normalize("NFKC", text)
    if not _NAME.fullmatch(name):
        raise BotError(
            "A model's name is 1 to 32 letters, digits, - and _. Choose another.", kind="name"
        )
    return name


def not_possible(state: JobState) -> BotError:
    """Says that a job in this state does not allow what was asked."""
    return BotError(
        f"That cannot be done any more: this training is marked as {state}. /models shows what "
        "has been made, and /retrain shows what is under way or begins another.",
        kind="job_state",
    )


def name_key(name: str) -> str:
    """The same for names that differ only in case."""
    return unicodedata.normalize("NFKC", name).casefold()


def folder_of(guild_id: int, job_id: int | None = None) -> str:
    """Where a job's model is, or all that a guild has; relative to the state folder."""
    return f"models/{guild_id}" if job_id is None else f"models/{guild_id}/{job_id}"


@dataclass(frozen=True)
class TrainingJob:
    """A training that an admin has asked for. Times are in seconds since 1970."""

    id: int
    guild_id: int
    admin_id: int
    channel_id: int  # where progress is shown,
    message_id: int | None  # and in which message, once there is one
    name: str  # of the model to be
    base: str  # the name that its base had when it was asked for
    source: str  # which texts, for people
    source_channel_id: int | None  # None: a file that was uploaded
    source_messages: int | None  # no more of them, the newest first
    source_days: int | None  # none older
    state: JobState
    created_at: int
    queued_at: int | None  # for the first time: one that is resumed keeps its place
    started_at: int | None  # for the last time
    ended_at: int | None  # None while active
    ending: str | None  # why it has ended without a model, for people
    shown: bool  # whether its end has been, where it has ended
    base_id: int | None  # of a base that is the guild's own; None: one that came along

    @property
    def folder(self) -> str:
        """Where its model is written, relative to the state folder."""
        return folder_of(self.guild_id, self.id)

    def moved(self, state: JobState, now: int, ending: str | None = None) -> "TrainingJob":
        """The job in another state. Raises BotError when that may not follow on its own."""
        if state not in NEXT_STATES[self.state]:
            raise not_possible(self.state)
        queued_first = state is JobState.QUEUED and self.queued_at is None
        goes_on = state in (JobState.QUEUED, JobState.TRAINING)
        return replace(
            self,
            state=state,
            queued_at=now if queued_first else self.queued_at,
            started_at=now if state is JobState.TRAINING else self.started_at,
            ended_at=None if goes_on else now,
            ending=ending,
            shown=goes_on,
        )


@dataclass(frozen=True)
class Scores:
    """What a training came to."""

    nats_before: float  # per character of held-out text: the base's,
    nats_after: float  # and the new model's
    characters: int  # learnt from
    longest_copied: int  # characters in a row


@dataclass(frozen=True)
class StoredModel:
    """A model that a guild has; until it is put to use, a candidate."""

    id: int  # that of the job that made it
    guild_id: int
    name: str
    base: str
    source: str
    created_at: int  # seconds since 1970
    size_bytes: int
    scores: Scores
    in_use: bool

    @property
    def folder(self) -> str:
        """Where it is, relative to the state folder."""
        return folder_of(self.guild_id, self.id)


@dataclass(frozen=True)
class KeptAbout:
    """All that is kept about a person, in all guilds."""

    opted_out_at: int | None  # seconds since 1970
    models: tuple[StoredModel, ...]  # that have learnt from their texts, guild by guild
    learning: tuple[TrainingJob, ...]  # the unfinished ones whose texts hold theirs
    asked_for: tuple[TrainingJob, ...]
