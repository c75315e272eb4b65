"""The connection to a Dask cluster: made when first needed, and made again whenever it is lost."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from distributed import Client, KilledWorker
from distributed.client import FutureCancelledError

from bot.errors import ExecutorError

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0  # between two looks at the connection and at the cluster's size
CONNECT_TIMEOUT_S = 5.0  # of one attempt
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0  # between two attempts
# So long after the connection was lost, those who ask wait for it; later, they are told at once.
GRACE_S = 5.0
# For an answer: longer than a batch takes, and than Dask needs to notice a machine that vanished.
PATIENCE_S = 60.0


class WorkLostError(ExecutorError):
    """The work was lost on its way, with a connection or a worker: to be tried again."""


class WorkerGoneError(WorkLostError):
    """The worker that was meant is no longer in the cluster."""


class Cluster:
    """The workers behind a Dask scheduler. Nothing here holds the event loop."""

    def __init__(self, scheduler: str, *, grace_s: float = GRACE_S):
        """`scheduler`: its HOST:PORT. Nobody needs to be there yet."""
        self.threads = 0  # that the workers have at the moment
        self._scheduler = scheduler
        self._grace_s = grace_s
        self._client: Client | None = None
        self._connected = asyncio.Event()
        self._lost_at = 0.0  # in the event loop's time
        self._connection: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def lost(self) -> bool:
        """Whether it is looked for and not found; before anybody asks, nobody looks for it."""
        return self._connection is not None and not self._connected.is_set()

    async def submit(
        self, function: Callable[..., Any], *arguments: Any, worker: str | None = None
    ) -> Any:
        """What `function` returns in a worker, or raises; in `worker`, if that one is still there.
        When a worker dies, Dask has another one do its work.

        Raises ExecutorError; WorkLostError when the connection was lost meanwhile, or nothing came
        of it for a long time."""
        client = await self._running()
        where = {"workers": [worker], "allow_other_workers": True} if worker else {}
        future = client.submit(function, *arguments, pure=False, **where)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await future
        except KilledWorker as error:
            log.error("The cluster gives a batch up: %s", error)
            raise ExecutorError from error
        except TimeoutError as error:
            raise (WorkLostError if self.threads else ExecutorError) from error
        except (FutureCancelledError, OSError) as error:
            raise WorkLostError from error
        finally:
            future.release()

    async def run(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function` returns, or raises, in the event loop of `worker`, which is handed to it
        as `dask_worker` if it wants it.

        Raises ExecutorError; WorkLostError when the connection or the worker was lost."""
        client = await self._running()
        try:
            async with asyncio.timeout(PATIENCE_S):
                if worker not in await client.nthreads():
                    raise WorkerGoneError
                answers = await client.run(function, *arguments, workers=[worker])
        except OSError as error:
            raise WorkLostError from error
        return answers[worker]

    async def run_in_all(self, function: Callable[..., Any]) -> dict[str, Any]:
        """What `function` returns in the event loop of each worker. Raises as `run` does."""
        client = await self._running()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await client.run(function, on_error="ignore")
        except OSError as error:
            raise WorkLostError from error

    async def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            self._connection.cancel()
            await asyncio.wait([self._connection])

    async def _running(self) -> Client:
        """A client that is connected. Raises ExecutorError."""
        if self._closed:
            raise ExecutorError
        if self._connection is None or self._connection.done():
            self._lost_at = asyncio.get_running_loop().time()
            self._connection = asyncio.create_task(self._stay_connected(), name="dask")
        if self._client is not None and self._client.status != "running":
            self._lost()
        try:
            async with asyncio.timeout_at(self._lost_at + self._grace_s):
                await self._connected.wait()
        except TimeoutError as error:
            raise ExecutorError from error
        assert self._client is not None
        return self._client

    async def _stay_connected(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with Client(
                    self._scheduler,
                    asynchronous=True,
                    timeout=CONNECT_TIMEOUT_S,
                    set_as_default=False,
                ) as client:
                    pause_s = FIRST_PAUSE_S
                    await self._follow(client)
            except OSError as error:
                if pause_s == FIRST_PAUSE_S:  # once is enough
                    log.warning("Dask at %s cannot be reached: %s", self._scheduler, error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _follow(self, client: Client) -> None:
        """Keep an eye on the connection until it is lost for good."""
        self._client = client
        while client.status in ("running", "connecting"):  # at first, Dask reconnects by itself
            if client.status == "running":
                with contextlib.suppress(OSError):  # then it is about to be lost
                    self.threads = sum((await client.nthreads()).values())
                    self._found()
            else:
                self._lost()
            await asyncio.sleep(LOOK_INTERVAL_S)
        self._lost()

    def _found(self) -> None:
        if not self._connected.is_set():
            log.info("Connected to Dask at %s: %d threads.", self._scheduler, self.threads)
            self._connected.set()

    def _lost(self) -> None:
        if self._connected.is_set():
            log.warning("The connection to Dask at %s is lost.", self._scheduler)
            self._connected.clear()
            self._lost_at = asyncio.get_running_loop().time()
            self.threads = 0
