"""Requests -> batches -> executor -> texts."""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil

from bot.errors import BusyError, StoppingError, TooSlowError
from bot.inference.executor import Executor
from bot.models.reference import ModelReference
from charrnn.generation import Generated, Prompt

log = logging.getLogger(__name__)

FIRST_GUESS_S = 0.2  # how long a batch takes, before one has been seen
# For a text and for a batch: longer than a full queue takes, and than a cluster tries. Then whoever
# waits is told. The worker is not given up, since a thread cannot be: it works on when what it
# hangs on is over.
PATIENCE_S = 180.0


@dataclass(frozen=True)
class GenerationRequest:
    """A text that somebody wants."""

    model: ModelReference
    prompt: Prompt
    server: int  # where it was asked for, or the asker's own id: turns are taken by this


@dataclass(frozen=True)
class _Waiting:
    request: GenerationRequest
    future: asyncio.Future[Generated]


class Inference:
    """Has texts written by an executor, so that the event loop is never held.

    Whoever asks while a worker of the executor is idle is served at once. What arrives while all
    are busy waits, and forms the next batches: of one model each, the servers taking turns.
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
        # By server, the one whose turn is next first. No queue in it is empty.
        self._waiting: OrderedDict[int, deque[_Waiting]] = OrderedDict()
        self._batch_s = FIRST_GUESS_S
        self._batches: set[asyncio.Task[None]] = set()
        self._observers: list[Callable[[int, float], None]] = []
        self._closed = False
        self._hanging = 0
        self._all_hang = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def hanging(self) -> int:
        """Workers that have not come back from a batch, for so long that nobody waits for it."""
        return self._hanging

    async def hang(self) -> None:
        """Return when all workers hang, so that nobody gets a text any more."""
        await self._all_hang.wait()

    @property
    def waiting(self) -> int:
        """Requests that no worker has taken up yet."""
        return sum(map(len, self._waiting.values()))

    def observe(self, observer: Callable[[int, float], None]) -> None:
        """From now on, tell `observer` of each batch: its requests, and the seconds it took."""
        self._observers.append(observer)

    def check_room(self, server: int) -> None:
        """Raises StoppingError, or BusyError with the wait to expect when too many are waiting and
        `server` has its share of them."""
        if self._closed:
            raise StoppingError
        waiting = self.waiting
        if waiting < self._queue_limit:
            return
        own = len(self._waiting.get(server, ()))
        if own >= self._queue_limit // len({*self._waiting, server}):
            batches = ceil(waiting / self._batch_limit / self._executor.workers)
            raise BusyError(max(1.0, batches * self._batch_s))

    async def generate(self, request: GenerationRequest) -> Generated:
        """What the request's model writes. Raises BusyError, StoppingError, TooSlowError, and what
        the executor raises."""
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
            raise TooSlowError from error

    async def finish(self, grace_s: float) -> None:
        """Take no more requests, and finish those there are; turn away what is left of them after
        `grace_s` seconds, and count who is not done by then as hanging."""
        self._closed = True
        try:
            async with asyncio.timeout(grace_s):
                while self._batches:  # as long as anybody waits
                    await asyncio.wait(self._batches)
        except TimeoutError:
            left = [waiting for queue in self._waiting.values() for waiting in queue]
            self._waiting.clear()
            _refuse(left)
            self._hanging = len(self._batches)
            for batch in self._batches:
                batch.cancel()
            await asyncio.gather(*self._batches, return_exceptions=True)

    async def close(self) -> None:
        """End the executor, once all is finished."""
        await self._executor.close()

    def _dispatch(self) -> None:
        """Give idle workers what waits."""
        while self._waiting and len(self._batches) < self._executor.workers:
            if batch := self._next_batch():
                task = asyncio.create_task(self._write(batch), name="batch")
                self._batches.add(task)
                task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._dispatch()

    def _next_batch(self) -> list[_Waiting]:
        """Requests for the model of the server whose turn it is, one of each server at a time."""
        model = next(iter(self._waiting.values()))[0].request.model
        batch: list[_Waiting] = []
        grown = True
        while grown:
            grown = False
            for server in list(self._waiting):
                queue = self._waiting[server]
                if len(batch) == self._batch_limit or queue[0].request.model != model:
                    continue
                batch.append(queue.popleft())
                grown = True
                self._waiting.move_to_end(server)
                if not queue:
                    del self._waiting[server]
        return [waiting for waiting in batch if not waiting.future.done()]

    async def _write(self, batch: list[_Waiting]) -> None:
        model = batch[0].request.model
        prompts = [waiting.request.prompt for waiting in batch]
        started = self._clock()
        written = asyncio.ensure_future(self._executor.write(model, prompts))
        try:
            await self._come_back(written)
        except asyncio.CancelledError:
            _refuse(batch)
            raise
        seconds = self._clock() - started
        self._batch_s += 0.2 * (seconds - self._batch_s)  # a moving average
        for observer in self._observers:
            observer(len(batch), seconds)
        error = written.exception()
        for n, waiting in enumerate(batch):
            if waiting.future.done():
                continue  # who asked has stopped waiting
            if error is not None:
                waiting.future.set_exception(error)
            else:
                waiting.future.set_result(written.result()[n])

    async def _come_back(self, written: asyncio.Future[list[Generated]]) -> None:
        back, _ = await asyncio.wait([written], timeout=self._patience_s)
        if not back:
            log.error("A batch is not written after %.0f s: a worker hangs.", self._patience_s)
            self._hanging += 1
            if self._hanging >= self._executor.workers:
                self._all_hang.set()
            await asyncio.wait([written])
            self._hanging -= 1
            self._all_hang.clear()


def _refuse(waiting: Iterable[_Waiting]) -> None:
    """Tell who waits that the bot is being stopped."""
    for one in waiting:
        if not one.future.done():
            one.future.set_exception(StoppingError())
