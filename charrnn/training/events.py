"""The events of a training run, and the JSON lines that carry them to another process.

Imports neither Keras nor Rich, so that a program which starts `charrnn train` can read its output.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Progress:
    """How far the current epoch is."""

    epoch: int  # the current one, from 1
    epochs: int
    done: float  # share of this epoch, 0 to 1
    loss: float  # nats per character, mean of this epoch so far
    characters_per_second: float  # lately, in training alone
    seconds_left: float  # until the model is written


@dataclass(frozen=True)
class EpochEnd:
    """The result of an epoch."""

    epoch: int
    epochs: int
    loss: float  # nats per character
    validation_loss: float  # nats per character
    # How much it sounds like its text: 0 is like the base, 1 like the people who wrote the text.
    # None if that cannot be measured: trained from scratch, or with too few messages.
    voice: float | None
    best: bool  # the epoch that is kept so far
    characters_per_second: float
    seconds_left: float
    sample: str  # text written by the model as it is now
    voice_error: float | None = None  # the standard error of `voice`
    measuring_s: float = 0.0  # seconds that measuring took after this epoch


@dataclass(frozen=True)
class Warned:
    """Something the user should know before training starts."""

    message: str


@dataclass(frozen=True)
class Finished:
    """The model is written."""

    output: str  # its folder
    scores: dict[str, dict[str, float]]  # as in its card
    base_nats: float | None  # the base's validation loss; None if trained from scratch
    voice: float | None  # of the epoch that was kept, as in `EpochEnd`
    standard_error: float | None = None  # of the difference between both validation losses
    voice_error: float | None = None  # the standard error of `voice`


@dataclass(frozen=True)
class Halted:
    """The run was asked to stop. `--resume` continues it."""

    message: str


@dataclass(frozen=True)
class Failed:
    """The run ended with an error."""

    message: str


Event = Progress | EpochEnd | Warned | Finished | Halted | Failed

Report = Callable[[Event], None]

_KINDS: dict[str, type[Event]] = {
    "progress": Progress,
    "epoch": EpochEnd,
    "warning": Warned,
    "finished": Finished,
    "stopped": Halted,
    "error": Failed,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def json_line(event: Event) -> str:
    """The line that `charrnn train --progress json` prints for an event, without its newline."""
    return json.dumps({"event": _NAMES[type(event)], **asdict(event)})


def parse_event(line: str | bytes) -> Event | None:
    """The event of a line that `json_line` made; None for other lines, such as TensorFlow's.

    >>> parse_event('{"event": "stopped", "message": "Stopped in epoch 2."}')
    Halted(message='Stopped in epoch 2.')
    """
    try:
        content = json.loads(line)
        return _KINDS[content.pop("event")](**content)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
