"""The rows of the registry as dataclasses: training jobs, models, what is kept about a person."""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from typing import Self

from bot.errors import BotError
from charrnn.vocabulary import visible

NAME_LIMIT = 32  # characters of a model's name
JOINERS = "\u200c\u200d"  # part of how words of some scripts are written
_STEM_LIMIT = NAME_LIMIT - 8  # leaves room for a number

_SEPARATOR = re.compile(", | and ")  # of the channels in a source's name


class JobState(StrEnum):
    READING = "reading"  # its text is being gathered
    READY = "ready"  # it waits for somebody to press Train
    QUEUED = "queued"
    TRAINING = "training"
    INTERRUPTED = "interrupted"  # it can be resumed
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


GIVEN_UP = {JobState.FAILED, JobState.CANCELLED}
NEXT_STATES = {
    JobState.READING: {JobState.READY} | GIVEN_UP,
    JobState.READY: {JobState.QUEUED} | GIVEN_UP,
    JobState.QUEUED: {JobState.TRAINING, JobState.INTERRUPTED} | GIVEN_UP,
    JobState.TRAINING: {JobState.FINISHED, JobState.INTERRUPTED} | GIVEN_UP,
    JobState.INTERRUPTED: {JobState.QUEUED} | GIVEN_UP,
    JobState.FINISHED: set(),
    JobState.FAILED: set(),
    JobState.CANCELLED: set(),
}


class Shown(IntEnum):
    """Whether the message of a job shows how the job ended."""

    NOT_YET = 0
    YES = 1
    OUTDATED = 2  # it did, but the model has changed since


def model_name(text: str) -> str:
    """`text` as the name of a model, in Unicode's composed form. Raises BotError when it cannot be
    one."""
    name = unicodedata.normalize("NFKC", text)
    if not 1 <= len(name) <= NAME_LIMIT or name != _with_dashes(name):
        raise BotError(
            f"A model's name is 1 to {NAME_LIMIT} letters, digits, - and _. Choose another name.",
            "name",
        )
    return name


def name_like(wish: str) -> str:
    """A model's name that resembles `wish`, with room for a number; "" if none does."""
    name = re.sub("-{2,}", "-", _with_dashes(unicodedata.normalize("NFKC", wish)))
    return visible(name.strip("-")[:_STEM_LIMIT]).rstrip("-")


def name_key(name: str) -> str:
    """Equal for names that differ only in case and invisible joiners."""
    key = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(f"[{JOINERS}]", "", key)


def _with_dashes(text: str) -> str:
    """`text` with a dash for each character that no name may have: names consist of letters of any
    script, their marks and joiners, digits, `-` and `_`."""
    name, before = "", "-"
    for c in visible(text):
        in_word = c in JOINERS or unicodedata.category(c) in ("Mn", "Mc")
        before = c if c.isalnum() or c == "_" or (in_word and before not in "-_") else "-"
        name += before
    return name


def folder_of(guild_id: int, job_id: int | None = None) -> str:
    """The folder of a job's model, or of everything a guild has, relative to the state folder."""
    return f"models/{guild_id}" if job_id is None else f"models/{guild_id}/{job_id}"


@dataclass(frozen=True)
class Source:
    """What a job learns from: the newest messages of some channels, or an uploaded file."""

    name: str  # of the channels, each with its #, or of the file
    channel_ids: tuple[int, ...] = ()  # none: an uploaded file
    messages: int = 0  # of channels: at most this many, newest first
    days: int | None = None  # no older than this

    @property
    def stem(self) -> str:
        """The first channel's name, or the file's without its suffix: a model is called something
        like it."""
        if self.channel_ids:
            first = self.name if len(self.channel_ids) == 1 else _SEPARATOR.split(self.name)[0]
            return first.lstrip("#")
        return self.name.rpartition(".")[0] or self.name

    def __str__(self) -> str:
        """What people are told."""
        if not self.channel_ids:
            return f"the file {self.name}"
        newest = f"{self.name}, at most the newest {self.messages:,} messages"
        return newest if self.days is None else f"{newest} of {self.days:,} days"


@dataclass(frozen=True)
class TextCounts:
    """How much text a job learns from."""

    characters: int
    messages: int = 0  # 0: a file of plain text
    people: int = 0
    # Reason and number of messages, most first; then characters.
    left_out: tuple[tuple[str, int], ...] = ()
    known: float = 1.0  # the share of the characters that the base knows
    # Name and number of messages, most first; none for a file.
    channels: tuple[tuple[str, int], ...] = ()

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        pairs = {name: tuple(map(tuple, values[name])) for name in ("left_out", "channels")}
        return cls(**values | pairs)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class TrainingJob:
    """A row: a training that an admin has asked for. Times are in seconds since 1970."""

    id: int
    guild_id: int
    admin_id: int
    channel_id: int  # where the job is shown
    message_id: int | None  # the message that shows it, once there is one
    name: str  # of the model to be made
    base: str  # the base's name when the job was created
    base_id: int | None  # for a base of the guild's own; None: a shipped model
    source: Source
    counts: TextCounts | None  # None while READING
    estimate_s: int | None  # how long the training should take; None while READING
    state: JobState
    created_at: int
    queued_at: int | None  # for the first time: a resumed job keeps its place
    ready_at: int | None  # when its text had been read
    ended_at: int | None  # None while active
    ending: str | None  # why it ended without a model, for people
    shown: Shown

    @property
    def folder(self) -> str:
        """Where its model is written, relative to the state folder."""
        return folder_of(self.guild_id, self.id)


@dataclass(frozen=True)
class Scores:
    """How good a trained model is, beside its base."""

    nats_before: float  # the base's, per character of held-out text
    nats_after: float  # the new model's
    characters: int  # of training text
    longest_copied: int  # characters in a row, copied from the training text
    # How much it sounds like its text: 0 is like the base, 1 like the people who wrote the text,
    # more a caricature of them. None if that could not be measured.
    voice: float | None
    # Standard errors: of the difference between both losses, and of the voice.
    standard_error: float
    voice_error: float | None


@dataclass(frozen=True)
class Speed:
    """How fast this machine trains."""

    characters_per_second: float
    measuring_s: float  # seconds that measuring takes after each epoch


@dataclass(frozen=True)
class Sample:
    """What the base and the new model write after the same words, from the same random seed."""

    seed: str
    before: str
    after: str


@dataclass(frozen=True)
class StoredModel:
    """A row: a model that a guild has. It is a candidate until it is put to use."""

    id: int  # the id of the job that made it
    guild_id: int
    name: str
    base: str
    source: Source
    created_at: int  # seconds since 1970
    size_bytes: int
    scores: Scores
    samples: tuple[Sample, ...] | None  # None: not written yet
    in_use: bool

    @property
    def folder(self) -> str:
        """Relative to the state folder."""
        return folder_of(self.guild_id, self.id)


@dataclass(frozen=True)
class KeptAbout:
    """Everything that is kept about a person, in all guilds."""

    opted_out_at: int | None  # seconds since 1970
    models: tuple[StoredModel, ...]  # that learnt from their messages
    learning: tuple[TrainingJob, ...]  # unfinished jobs that use their messages
    asked_for: tuple[TrainingJob, ...]  # jobs that they created


@dataclass(frozen=True)
class Mentions:
    """Where in a guild messages that mention the bot are answered."""

    everywhere: bool  # but for `channels`
    channels: Mapping[int, bool]  # channel id -> whether they are answered there

    def answered_in(self, channel_id: int) -> bool:
        return self.channels.get(channel_id, self.everywhere)
