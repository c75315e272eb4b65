"""The Executor interface, and the executor that writes in threads of this process."""

import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from charrnn.generation import Generated, Prompt, generate

WRITER_NICENESS = 10  # between the event loop's 0 and a training's 19


class Executor(Protocol):
    """Writes texts without blocking the event loop."""

    @property
    def workers(self) -> int:
        """How many batches it writes at the same time."""
        ...

    @property
    def models(self) -> int:
        """How many models are in this process's memory."""
        ...

    def trouble(self) -> str | None:
        """Why nothing can be written at the moment, for the operator; None if all is well."""
        ...

    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        """The model's text for each prompt. Raises ModelError if the model cannot be loaded, and
        BotError if the executor failed."""
        ...

    async def close(self) -> None:
        """Release all resources. Call it once nothing is being written."""
        ...


class LocalExecutor:
    """Writes in threads of this process. ONNX Runtime releases the GIL while it computes."""

    def __init__(self, workers: int, models: LoadedModels):
        self.workers = workers
        self._models = models
        self._pool = ThreadPoolExecutor(
            workers, thread_name_prefix="writer", initializer=_lower_priority
        )

    @property
    def models(self) -> int:
        return len(self._models)

    def trouble(self) -> str | None:
        return None if len(self._models) else "No model is loaded."

    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._write, model, prompts)

    async def close(self) -> None:
        self._pool.shutdown(wait=False)

    def _write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        return generate(self._models.get(model.folder), prompts)


def _lower_priority() -> None:
    """Let the event loop run first. Only Linux gives each thread a priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), WRITER_NICENESS)
