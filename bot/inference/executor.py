"""Where texts are written and models trained: the executor's interface, and this machine."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from bot.training.process import TrainingOrder, TrainingProcess, TrainingRun
from charrnn.generation import Generated, Prompt, generate

log = logging.getLogger(__name__)


WRITER_NICENESS = 10  # above the event loop's 0, below a training's 19


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
