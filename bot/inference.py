"""Requests -> batches -> executor -> texts."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from math import ceil

from bot.errors import BusyError, StoppingError
from charrnn.generation import Generated, Prompt, generate
from charrnn.store import Model

FIRST_GUESS_S = 0.2  # how long a batch takes, before one has been seen


class Inference:
    """Writes texts in an executor, so that the event loop is never held.

    Whoever asks alone is served at once. What arrives while a batch is being written waits and
    forms the next one.
    """

    def __init__(
        self,
        model: Model,
        executor: Executor,
        *,
        batch_limit: int,
        queue_limit: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._model = model
        self._executor = executor
        self._batch_limit = batch_limit
        self._queue_limit = queue_limit
        self._clock = clock
        self._waiting: deque[tuple[Prompt, asyncio.Future[Generated]]] = deque()
        self._batch_s = FIRST_GUESS_S
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def model_name(self) -> str:
        return self._model.name

    @property
    def window(self) -> int:
        """Characters of a text that the model goes on from."""
        return self._model.card.spec.window

    def check_room(self) -> None:
        """Raises StoppingError, or BusyError with the wait to expect when the queue is full."""
        if self._closed:
            raise StoppingError
        if len(self._waiting) >= self._queue_limit:
            batches = ceil(len(self._waiting) / self._batch_limit)
            raise BusyError(max(1.0, batches * self._batch_s))

    async def generate(self, prompt: Prompt) -> Generated:
        """What the model writes after `prompt`. Raises BusyError, StoppingError."""
        self.check_room()
        future: asyncio.Future[Generated] = asyncio.get_running_loop().create_future()
        self._waiting.append((prompt, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="inference")
        return await future

    async def close(self) -> None:
        """Finish the batch under way, turn the others away, and end the executor."""
        self._closed = True
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(StoppingError())
        if self._worker is not None:
            await asyncio.wait([self._worker])
        self._executor.shutdown(wait=False)

    async def _work(self) -> None:
        while self._waiting:
            size = min(len(self._waiting), self._batch_limit)
            taken = [self._waiting.popleft() for _ in range(size)]
            batch = [(prompt, future) for prompt, future in taken if not future.done()]
            if batch:
                await self._write(batch)

    async def _write(self, batch: list[tuple[Prompt, "asyncio.Future[Generated]"]]) -> None:
        prompts, futures = zip(*batch, strict=True)
        started = self._clock()
        loop = asyncio.get_running_loop()
        outcome = loop.run_in_executor(self._executor, generate, self._model, prompts)
        await asyncio.wait([outcome])
        self._batch_s += 0.2 * (self._clock() - started - self._batch_s)  # a moving average
        error = outcome.exception()
        for n, future in enumerate(futures):
            if future.done():
                continue  # who asked has stopped waiting
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(outcome.result()[n])
