"""Where texts are written and models trained: the executor's interface, and this machine."""

import asyncio
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bot.training_run import TrainingOrder, TrainingProcess, TrainingRun
from charrnn import store
from charrnn.generation import Generated, Prompt, generate
from charrnn.store import Model

# A model in memory beside its graph's file: as read, and as the processor likes it best.
MEMORY_FACTOR = 4

WRITER_NICENESS = 10  # above the event loop's 0, below a training's 19


@dataclass(frozen=True)
class ModelReference:
    """A model to write with, which need not be in memory."""

    name: str
    folder: Path
    window: int  # characters of a text that it goes on from

    @classmethod
    def of(cls, model: str | Path) -> "ModelReference":
        """The model of a shipped name or in a folder. Raises ModelError."""
        folder = store.locate(model)
        card, _ = store.read_card(folder)
        return cls(folder.resolve().name, folder, card.spec.window)


class Executor(Protocol):
    """Writes texts and trains models, without holding the event loop."""

    @property
    def workers(self) -> int:
        """Batches that are written at the same time."""
        ...

    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        """What `model` writes after each prompt. Raises ModelError, and a BotError where the
        executor is at fault."""
        ...

    def train(self, order: TrainingOrder) -> TrainingRun:
        """Start to train a model."""
        ...

    async def close(self) -> None:
        """Let go of everything, once nothing is being written."""
        ...


class LocalExecutor:
    """Writes in threads of this process; the GIL is free while they do. Trains in processes."""

    def __init__(self, workers: int, models: "LoadedModels"):
        self.workers = workers
        self._models = models
        self._pool = ThreadPoolExecutor(
            workers, thread_name_prefix="writer", initializer=_give_way_to_the_event_loop
        )

    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, self._write, model, prompts
        )

    def train(self, order: TrainingOrder) -> TrainingProcess:
        return TrainingProcess(order)

    async def close(self) -> None:
        self._pool.shutdown(wait=False)

    def _write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        return generate(self._models.get(model.folder), prompts)


def _give_way_to_the_event_loop() -> None:
    """Let the calling thread write only when the others have nothing to do. Elsewhere than on
    Linux, a thread has no priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), WRITER_NICENESS)


class LoadedModels:
    """The models used last, kept in memory up to a limit in bytes; the very last one always."""

    def __init__(self, limit_bytes: int, load: Callable[[Path], Model] = store.load):
        self._limit_bytes = limit_bytes
        self._load = load
        self._models: OrderedDict[Path, tuple[Model, int]] = OrderedDict()  # with its size
        self._lock = threading.Lock()

    def get(self, folder: Path) -> Model:
        """The model in `folder`, loaded if need be. Raises ModelError. For any thread."""
        with self._lock:
            if folder not in self._models:
                model = self._load(folder)
                size = MEMORY_FACTOR * (folder / store.ONNX).stat().st_size
                self._models[folder] = model, size
            self._models.move_to_end(folder)
            while len(self._models) > 1 and self._bytes() > self._limit_bytes:
                self._models.popitem(last=False)
            return self._models[folder][0]

    def _bytes(self) -> int:
        return sum(size for _, size in self._models.values())
