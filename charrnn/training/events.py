"""What a training run reports as it goes."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a run is, within an epoch."""

    epoch: int  # the one under way, from 1
    epochs: int
    done: float  # share of this epoch, 0 to 1
    loss: float  # nats per character, mean of this epoch so far
    characters_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class EpochEnd:
    """What an epoch came to."""

    epoch: int
    epochs: int
    loss: float  # nats per character
    validation_loss: float
    best: bool  # no epoch before did better on the validation text
    characters_per_second: float
    seconds_left: float
    sample: str


Event = Progress | EpochEnd

Report = Callable[[Event], None]
