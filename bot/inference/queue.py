"""Requests -> fair batches -> executor -> texts."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heapreplace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from bot.errors import BotError, stopping
from bot.inference.batch_times import BatchTimes
from bot.inference.executor import Executor
from bot.inference.turns import Batch, Turns
from bot.models.reference import ModelReference
from charrnn.generation import Generated, Prompt

# Longer than a full queue takes, and longer than a cluster keeps trying.
PATIENCE_S = 180.0
UNKNOWN = ModelReference("", Path(), 0)  # stands for a model that nobody else waits for
TOO_SLOW = "That takes far too long, so I gave up. Try again in a minute."


@dataclass(frozen=True)
class GenerationRequest:
    """A text that somebody asks for."""

    model: ModelReference
    prompt: Prompt
    server: int  # where it was asked; in private messages, the user's id. Servers take turns.


def _busy(wait_s: float) -> BotError:
    seconds = "1 second" if round(wait_s) == 1 else f"{wait_s:.0f} seconds"
    sentence = f"Too many people are asking at once. Try again in about {seconds}."
    return BotError(sentence, kind="busy")


@dataclass(frozen=True)
class _Waiting:
    request: GenerationRequest
    future: asyncio.Future[Generated]

    def refuse(self) -> None:
        if not self.future.done():
            self.future.set_exception(stopping())


class _Running(NamedTuple):
    batch: Batch[_Waiting]
    started: float  # by the queue's clock


class Inference:
    """Queues requests and has an executor write them in batches.

    An idle worker takes a request at once. Requests that arrive while all workers are busy form
    the next batches."""

    def __init__(
        self,
        executor: Executor,
        *,
        batch_limit: int,
        queue_limit: int,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._executor = executor
        self._queue_limit = queue_limit
        self._patience_s = patience_s
        self._clock = clock
        self._turns: Turns[_Waiting] = Turns(batch_limit)
        self._running: dict[asyncio.Task[None], _Running] = {}
        self._times = BatchTimes()
        self._observers: list[Callable[[int, float], None]] = []
        self._full = False
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def waiting(self) -> int:
        """How many requests no worker has taken yet."""
        return len(self._turns)

    @property
    def stuck(self) -> bool:
        """True while a batch takes longer than people wait for it."""
        now = self._clock()
        return any(now - running.started > self._patience_s for running in self._running.values())

    def observe(self, observer: Callable[[int, float], None]) -> None:
        """Call `observer` after each batch with its number of requests and its seconds."""
        self._observers.append(observer)

    def check_room(self, server: int) -> None:
        """Raises BotError if the queue is full and `server` has used its share of it, or if the bot
        is stopping."""
        if self._closed:
            raise stopping()
        # A queue that was full counts as full until it is half empty. Otherwise, those who were
        # refused would race for each place, and nobody could say how long it takes to get one.
        if self.waiting >= self._queue_limit:
            self._full = True
        elif self.waiting <= self._queue_limit // 2:
            self._full = False
        if self._full and len(self._turns.of(server)) >= self._share(server):
            raise _busy(max(1.0, self._wait_s(server)))

    async def generate(self, request: GenerationRequest) -> Generated:
        """The text that the request's model writes. Raises what `check_room` and the executor
        raise, and BotError if it is not written in time."""
        self.check_room(request.server)
        future: asyncio.Future[Generated] = asyncio.get_running_loop().create_future()
        self._turns.add(request.server, request.model, _Waiting(request, future))
        self._dispatch()
        try:
            async with asyncio.timeout(self._patience_s):
                return await future
        except TimeoutError as error:
            raise BotError(TOO_SLOW, kind="too_slow") from error

    async def finish(self, grace_s: float) -> None:
        """Take no more requests, and finish those that wait. After `grace_s` seconds, refuse the
        rest."""
        self._closed = True
        try:
            async with asyncio.timeout(grace_s):
                while self._running:  # each batch that ends may start the next one
                    await asyncio.wait(self._running)
        except TimeoutError:
            batches = (running.batch.requests for running in self._running.values())
            waiting = [*self._turns, *chain(*batches)]
            self._turns.clear()
            for each in waiting:
                each.refuse()

    def _share(self, server: int) -> int:
        """How many places of a full queue `server` may use."""
        new = not self._turns.of(server)
        return self._queue_limit // (self._turns.servers + new)

    def _wait_s(self, server: int) -> float:
        """Seconds until somebody who is refused now can have a text: goes through the batches until
        the server has a place, and on to the batch with that place."""
        turns = self._turns.outline()
        own, share = turns.of(server), self._share(server)
        model = own[-1][0] if own else UNKNOWN
        now = self._clock()
        # Of each worker: seconds until its batch ends, and the servers of that batch. A batch that
        # is late is expected to take as long again as it is late.
        workers = [
            (abs(self._times.expected_s(batch) - (now - started)), batch.servers)
            for batch, started in self._running.values()
        ]
        workers += [(0.0, [])] * (self._executor.workers - len(workers))
        heapify(workers)
        end_s, asked = 0.0, False
        while len(turns):
            end_s, servers = workers[0]
            turns.written(servers)
            batch = turns.take()
            end_s += self._times.expected_s(batch)
            heapreplace(workers, (end_s, batch.servers))
            if asked and not turns.of(server):
                break
            if not asked and len(turns.of(server)) < share:
                turns.add(server, model, None)
                asked = True
        return end_s

    def _dispatch(self) -> None:
        """Give idle workers the next batches."""
        while len(self._turns) and len(self._running) < self._executor.workers:
            batch = self._turns.take()
            batch.requests[:] = [each for each in batch.requests if not each.future.done()]
            if batch.requests:  # somebody still waits
                running = _Running(batch, self._clock())
                task = asyncio.create_task(self._write(running), name="batch")
                self._running[task] = running
                task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._turns.written(self._running.pop(task).batch.servers)
        self._dispatch()

    async def _write(self, running: _Running) -> None:
        batch, started = running
        prompts = [waiting.request.prompt for waiting in batch.requests]
        # Errors are returned, not raised, so that they reach the people who wait.
        [result] = await asyncio.gather(
            self._executor.write(batch.model, prompts), return_exceptions=True
        )
        seconds = self._clock() - started
        self._times.add(batch, seconds)
        for observer in self._observers:
            observer(len(batch.requests), seconds)
        for n, waiting in enumerate(batch.requests):
            if waiting.future.done():
                continue  # gave up waiting
            if isinstance(result, BaseException):
                waiting.future.set_exception(result)
            else:
                waiting.future.set_result(result[n])
