"""Where texts are written and models trained: the executor's interface, and this machine."""

import asyncio
import logging
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bot.training_run import TrainingOrder, TrainingProcess, TrainingRun
from charrnn import store
from charrnn.errors import ModelError
from charrnn.generation import Generated, Prompt, generate
from charrnn.store import Model

log = logging.getLogger(__name__)

# A model in memory beside its graph's file: as read, and as the processor likes it best.
MEMORY_FACTOR = 4
# While one model takes another's place in a folder, there is neither for a moment.
LOADING_ATTEMPTS, LOADING_PAUSE_S = 5, 0.05

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

    @property
    def models(self) -> int:
        """Models in this process's memory."""
        ...

    def trouble(self) -> str | None:
        """Why nothing can be written at the moment, for the operator; None if nothing is known
        to be amiss."""
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

    @property
    def models(self) -> int:
        return len(self._models)

    def trouble(self) -> str | None:
        return None if len(self._models) else "No model is loaded."

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


Version = tuple[int, int, int]  # of a card's file: device, number, time of its change


@dataclass
class _Loaded:
    model: Model
    size: int  # in bytes
    version: Version | None


class LoadedModels:
    """The models used last, kept in memory up to a limit in bytes; the very last one always. One
    that another has taken the place of, in its folder, is used until the other is loaded."""

    def __init__(self, limit_bytes: int, load: Callable[[Path], Model] = store.load):
        self._limit_bytes = limit_bytes
        self._load = load
        self._models: OrderedDict[Path, _Loaded] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, folder: Path) -> Model:
        """The model in `folder`, loaded if need be. Raises ModelError. For any thread."""
        with self._lock:
            self._bring_up_to_date(folder)
            self._models.move_to_end(folder)
            while len(self._models) > 1 and self._bytes() > self._limit_bytes:
                self._models.popitem(last=False)
            return self._models[folder].model

    def _bring_up_to_date(self, folder: Path) -> None:
        loaded, version = self._models.get(folder), _version(folder)
        if loaded is None:
            self._models[folder] = self._load_steadily(folder)
        elif version not in (None, loaded.version):
            loaded.version = version  # one that cannot be loaded is not tried with each text
            try:
                self._models[folder] = self._load_steadily(folder)
            except ModelError as error:
                log.error("I go on with the model as it was: %s", error)

    def _load_steadily(self, folder: Path) -> _Loaded:
        for attempt in range(1, LOADING_ATTEMPTS + 1):
            version = _version(folder)
            try:
                model = self._load(folder)
                size = MEMORY_FACTOR * (folder / store.ONNX).stat().st_size
            except (ModelError, OSError) as error:
                damaged = version is not None and version == _version(folder)
                if damaged or attempt == LOADING_ATTEMPTS:
                    if isinstance(error, OSError):
                        raise ModelError(f"{folder} cannot be read: {error.strerror}.") from error
                    raise
                time.sleep(LOADING_PAUSE_S)
            else:
                return _Loaded(model, size, version)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def __len__(self) -> int:
        return len(self._models)

    def _bytes(self) -> int:
        return sum(loaded.size for loaded in self._models.values())


def _version(folder: Path) -> Version | None:
    """Of the model in `folder`; None when there is none."""
    try:
        status = (folder / store.CARD).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns
