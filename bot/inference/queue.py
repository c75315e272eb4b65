"""Requests -> fair batches -> executor -> texts."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from bot.errors import BotError, stopping
from bot.inference.executor import Executor
from bot.models.reference import ModelReference
from charrnn.generation import Generated, Prompt

FIRST_BATCH_S = 0.2  # assumed duration of a batch until one has been measured
# Longer than a full queue takes, and longer than a cluster keeps trying.
PATIENCE_S = 180.0
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


@dataclass(frozen=True)
class _Batch:
    waiting: list[_Waiting]
    started: float


class Inference:
    """Queues requests and has an executor write them in batches.

    An idle worker takes a request at once. Requests that arrive while all workers are busy form
    the next batches: each batch is for one model, and servers take turns in it.
    """

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
        self._batch_limit = batch_limit
        self._queue_limit = queue_limit
        self._patience_s = patience_s
        self._clock = clock
        # By server; the server whose turn is next comes first. Empty queues are removed.
        self._waiting: OrderedDict[int, deque[_Waiting]] = OrderedDict()
        self._batches: dict[asyncio.Task[None], _Batch] = {}  # being written
        self._batch_s = FIRST_BATCH_S  # moving average
        self._observers: list[Callable[[int, float], None]] = []
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def waiting(self) -> int:
        """How many requests no worker has taken yet."""
        return sum(map(len, self._waiting.values()))

    @property
    def stuck(self) -> bool:
        """True while a batch takes longer than people wait for it."""
        now = self._clock()
        return any(now - batch.started > self._patience_s for batch in self._batches.values())

    def observe(self, observer: Callable[[int, float], None]) -> None:
        """Call `observer` after each batch with its number of requests and its seconds."""
        self._observers.append(observer)

    def check_room(self, server: int) -> None:
        """Raises BotError if the queue is full and `server` has used its share of it, or if the bot
        is stopping."""
        if self._closed:
            raise stopping()
        waiting = self.waiting
        if waiting < self._queue_limit:
            return
        own = len(self._waiting.get(server, ()))
        if own >= self._queue_limit // len({*self._waiting, server}):
            batches = ceil(waiting / self._batch_limit / self._executor.workers)
            raise _busy(max(1.0, batches * self._batch_s))

    async def generate(self, request: GenerationRequest) -> Generated:
        """The text that the request's model writes. Raises what `check_room` and the executor
        raise, and BotError if it is not written in time."""
        self.check_room(request.server)
        future: asyncio.Future[Generated] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(request.server, deque())
        queue.append(_Waiting(request, future))
        self._dispatch()
        try:
            async with asyncio.timeout(self._patience_s):
                return await future
        except TimeoutError as error:
            if not future.cancelled():
                raise  # the executor's own
            raise BotError(TOO_SLOW, kind="too_slow") from error

    async def finish(self, grace_s: float) -> None:
        """Take no more requests, and finish those that wait. After `grace_s` seconds, refuse the
        rest."""
        self._closed = True
        try:
            async with asyncio.timeout(grace_s):
                while self._batches:  # each batch that ends may start the next one
                    await asyncio.wait(self._batches)
        except TimeoutError:
            queues = [*self._waiting.values(), *(b.waiting for b in self._batches.values())]
            self._waiting.clear()
            for queue in queues:
                for waiting in queue:
                    waiting.refuse()

    def _dispatch(self) -> None:
        """Give idle workers the next batches."""
        while self._waiting and len(self._batches) < self._executor.workers:
            if waiting := self._next_batch():
                batch = _Batch(waiting, self._clock())
                task = asyncio.create_task(self._write(batch), name="batch")
                self._batches[task] = batch
                task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._batches[task]
        self._dispatch()

    def _next_batch(self) -> list[_Waiting]:
        """Requests for the model that the next server wants: one request of each server in turn,
        until the batch is full. Drops requests whose people have stopped waiting."""
        model = next(iter(self._waiting.values()))[0].request.model
        batch: list[_Waiting] = []
        while room := self._batch_limit - len(batch):
            servers = [s for s, queue in self._waiting.items() if queue[0].request.model == model]
            if not servers:
                break
            for server in servers[:room]:
                queue = self._waiting[server]
                batch.append(queue.popleft())
                self._waiting.move_to_end(server)
                if not queue:
                    del self._waiting[server]
        return [waiting for waiting in batch if not waiting.future.done()]

    async def _write(self, batch: _Batch) -> None:
        model = batch.waiting[0].request.model
        prompts = [waiting.request.prompt for waiting in batch.waiting]
        # Errors are returned, not raised, so that they reach the people who wait.
        [result] = await asyncio.gather(
            self._executor.write(model, prompts), return_exceptions=True
        )
        seconds = self._clock() - batch.started
        self._batch_s += 0.2 * (seconds - self._batch_s)
        for observer in self._observers:
            observer(len(batch.waiting), seconds)
        for n, waiting in enumerate(batch.waiting):
            if waiting.future.done():
                continue  # gave up waiting
            if isinstance(result, BaseException):
                waiting.future.set_exception(result)
            else:
                waiting.future.set_result(result[n])
