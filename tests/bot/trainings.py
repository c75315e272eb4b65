"""Trainings that take no time: what they report and how they end is up to the test."""

import asyncio
import json
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.models.reference import ModelReference
from bot.training.process import TrainingCommand, TrainingEnd, TrainingOutcome
from charrnn import store
from charrnn.generation import Generated, Prompt
from charrnn.store import Model
from charrnn.text.messages import Counts
from charrnn.training.events import EpochEnd, Progress

PROGRESS = Progress(1, 5, done=0.5, loss=1.5, characters_per_second=9000.0, seconds_left=90.0)
EPOCH = EpochEnd(
    1,
    5,
    loss=1.5,
    voice=0.4,
    validation_loss=1.4,
    best=True,
    characters_per_second=9000.0,
    seconds_left=90.0,
    sample="So be it.",
    measuring_s=4.0,
)


@dataclass
class FakeTraining:
    """A training process that does what the test says."""

    command: TrainingCommand
    told: list[Progress | EpochEnd] = field(default_factory=list)
    ended: TrainingOutcome | None = None
    looks: int = 0  # how often its events were asked for
    asked_to_stop: bool = False
    killed: bool = False

    def events(self) -> list[Progress | EpochEnd]:
        self.looks += 1
        told, self.told = self.told, []
        return told

    def running(self) -> bool:
        return self.ended is None

    def outcome(self) -> TrainingOutcome:
        assert self.ended
        return self.ended

    def stop(self) -> None:
        self.asked_to_stop = True

    def kill(self) -> None:
        self.killed = True
        self.ended = TrainingOutcome(TrainingEnd.STOPPED)

    def crash(self, sentence: str = "It broke.") -> None:
        self.ended = TrainingOutcome(TrainingEnd.FAILED, sentence)

    def finish(self, **scores: Any) -> None:
        """Write a model, which is its base with what a training adds to the card."""
        write_trained(self.command.base, self.command.output, **scores)
        self.ended = TrainingOutcome(TrainingEnd.FINISHED)


def write_trained(
    base: Path,
    output: Path,
    losses: Sequence[float] = (1.75, 1.5),  # first the base's, then each epoch's
    best_epoch: int = 1,
    voice: float | None = 0.71,
    standard_error: float = 0.05,
    voice_error: float | None = 0.06,
) -> None:
    output.mkdir(parents=True)
    for name in (store.KERAS, store.ONNX):
        (output / name).write_bytes((base / name).read_bytes())
    card = json.loads((base / store.CARD).read_text("utf-8"))
    card["training"] |= {
        "history": [{"validation_loss": n, "standard_error": standard_error} for n in losses],
        "best_epoch": best_epoch,
        "voice": voice,
        "voice_error": voice_error,
        "characters": 50_000,
        "longest_copy": {"allowed": 40, "found": 37},
    }
    (output / store.CARD).write_text(json.dumps(card))


class FakeExecutor:
    """Writes the model's name."""

    workers = 1
    models = 1

    def trouble(self) -> str | None:
        return None

    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        return [Generated(f"{model.name} says so", "") for _ in prompts]

    async def close(self) -> None:
        pass


class FakeTrainings:
    """Starts trainings that the test then drives."""

    def __init__(self) -> None:
        self.started: list[FakeTraining] = []

    def __call__(self, command: TrainingCommand) -> FakeTraining:
        self.started.append(FakeTraining(command))
        return self.started[-1]


def reading(lines: int = 1000, *authors: int) -> Callable[..., Any]:
    """Reads this many lines, of these authors."""

    async def read(path: Path, _: Container[str], count: Callable[[Counts], None]) -> Counts:
        await asyncio.to_thread(path.write_text, "so be it\n" * lines)
        counts = Counts(lines, 9 * lines, set(map(str, authors)))
        count(counts)
        return counts

    return read


def reference(model: Model) -> ModelReference:
    return ModelReference.of(model.folder)
