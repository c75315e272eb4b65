"""A training run in a worker of a Dask cluster, followed from here."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bot.dask.cluster import Cluster, WorkerGoneError, WorkLostError
from bot.dask.worker import (
    Made,
    Report,
    Start,
    Wish,
    attend,
    begin,
    end,
    fetch,
    read_folder,
    trainings,
    write_folder,
)
from bot.errors import ExecutorError
from bot.training.process import CRASHED, TrainingEnd, TrainingOrder, TrainingOutcome
from charrnn import store

log = logging.getLogger(__name__)

ATTEMPTS = 3  # to find a worker that begins it
ASK_INTERVAL_S = 1.0
# So long the bot and a worker may be without each other. Then each gives the training up.
LEASE_S = 60.0

LOST = "The machine that trained was lost. Start the training again."


class DaskRun:
    """`charrnn train` in the worker that has the fewest trainings.

    When it ends, its model comes here, and so do the checkpoints of one that was stopped, from
    which the next run of the same order goes on. With a worker that dies, its checkpoints are
    lost: that run has failed."""

    def __init__(
        self,
        cluster: Cluster,
        order: TrainingOrder,
        *,
        lease_s: float = LEASE_S,
        program: tuple[str, ...] | None = None,
    ):
        """Starts it. `program` stands in for charrnn."""
        self._cluster = cluster
        self._order = order
        self._lease_s = lease_s
        self._program = program
        self._run = ""  # its name in the worker
        self._events: list[dict[str, Any]] = []  # not yet asked for
        self._told = 0  # events received
        self._drawn_ns = 0
        self._wish: Wish | None = None
        self._wished = asyncio.Event()
        self._task = asyncio.create_task(self._follow(), name=f"training {order.output.name}")

    def events(self) -> list[dict[str, Any]]:
        events, self._events = self._events, []
        return events

    def running(self) -> bool:
        return not self._task.done()

    def outcome(self) -> TrainingOutcome:
        if self.running():
            raise RuntimeError("the training is still running")
        error = self._task.exception()
        if error is not None:  # such as of a worker of another version
            log.error("The training of %s broke off.", self._order.output.name, exc_info=error)
            return TrainingOutcome(TrainingEnd.FAILED, CRASHED)
        return self._task.result()

    def stop(self) -> None:
        if self._wish is None:
            self._wish = Wish.STOP
            self._wished.set()

    def kill(self) -> None:
        self._wish = Wish.KILL
        self._wished.set()

    async def _follow(self) -> TrainingOutcome:
        try:
            worker = await self._begin()
            outcome = await self._ended(worker)
            await asyncio.to_thread(self._keep, await self._ask(worker, fetch))
        except ExecutorError as error:
            log.warning("The training of %s was lost: %r", self._order.output.name, error)
            if self._wish is not None:
                return TrainingOutcome(TrainingEnd.STOPPED)
            return TrainingOutcome(TrainingEnd.FAILED, LOST)
        with contextlib.suppress(ExecutorError):  # then the worker lets go of it after a while
            await self._cluster.run(worker, end, self._run)
        return outcome

    async def _begin(self) -> str:
        """The worker in which it has begun. Raises ExecutorError, and what `begin` raises."""
        start = await asyncio.to_thread(self._start)
        for _ in range(ATTEMPTS):
            # Anew each time: what seemed lost may have begun. It ends when nobody asks after it.
            self._run = uuid.uuid4().hex
            with contextlib.suppress(WorkLostError):
                counts: dict[str, int] = await self._cluster.run_in_all(trainings)
                if not counts:
                    break
                worker = min(counts, key=counts.__getitem__)
                await self._cluster.run(worker, begin, replace(start, run=self._run))
                return worker
        raise ExecutorError

    async def _ended(self, worker: str) -> TrainingOutcome:
        """How it has ended, once it has. Raises ExecutorError."""
        while True:
            self._wished.clear()
            asked = self._told, self._drawn_ns, self._wish
            report: Report = await self._ask(worker, attend, *asked)
            self._events += report.events
            self._told += len(report.events)
            self._drawn_ns = report.drawn_ns
            if report.curve is not None:
                await asyncio.to_thread(self._draw, report.curve)
            if report.outcome is not None:
                return report.outcome
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_INTERVAL_S):
                    await self._wished.wait()

    async def _ask(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a worker says of the run, asked again while the connection is lost. Raises
        ExecutorError when it has lost the run, or is lost itself."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._lease_s
        while True:
            try:
                answer = await self._cluster.run(worker, function, self._run, *arguments)
            except WorkerGoneError:
                raise
            except ExecutorError:
                if loop.time() > deadline:
                    raise
                await asyncio.sleep(ASK_INTERVAL_S)
            else:
                if answer is None:
                    raise WorkerGoneError
                return answer

    def _start(self) -> Start:
        order = self._order
        base = order.base.resolve()
        return Start(
            run="",
            text=(order.text.name, order.text.read_bytes()),
            base=(base.name, store.read_files(base)),
            output=order.output.name,
            checkpoints=read_folder(order.checkpoints),
            threads=order.threads,
            lease_s=self._lease_s,
            program=self._program,
        )

    def _draw(self, curve: bytes) -> None:
        self._order.curve.parent.mkdir(parents=True, exist_ok=True)
        store.write_file(self._order.curve, curve)

    def _keep(self, made: Made) -> None:
        if made.model:
            store.write_files(self._order.output, made.model)
        write_folder(self._order.checkpoints, made.checkpoints)
