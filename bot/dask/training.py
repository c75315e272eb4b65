"""A training in a worker of a Dask cluster."""

import asyncio
import logging
from pathlib import Path

from distributed import Client, Future, KilledWorker

from bot.dask.cluster import LOST, Cluster
from bot.dask.worker import Files, Report, SentTraining, Training, read_tree, write_tree
from bot.errors import ExecutorError
from bot.training.process import (
    CRASHED,
    TrainingCommand,
    TrainingEnd,
    TrainingEvent,
    TrainingOutcome,
)
from charrnn import store

log = logging.getLogger(__name__)

REPORT_INTERVAL_S = 0.5
PATIENCE_S = 60.0  # for one answer of a worker

MACHINE_LOST = "The machine that trained was lost. Start the training again."


class DaskTraining:
    """`charrnn train` in the Dask worker that has the fewest trainings.

    When it ends, its model or its checkpoints come to this machine. It does not survive its worker,
    nor the bot's connection to the scheduler."""

    def __init__(
        self, cluster: Cluster, command: TrainingCommand, program: tuple[str, ...] | None = None
    ):
        """Start it, from the last checkpoint if there is one. `program` replaces charrnn."""
        self._cluster = cluster
        self._command = command
        self._program = program
        self._events: list[TrainingEvent] = []
        self._asked_to_stop = False
        self._task = asyncio.create_task(self._run(), name=f"training {command.output.name}")

    def events(self) -> list[TrainingEvent]:
        events, self._events = self._events, []
        return events

    def running(self) -> bool:
        return not self._task.done()

    def outcome(self) -> TrainingOutcome:
        if self._task.cancelled():
            return TrainingOutcome(TrainingEnd.STOPPED)
        error = self._task.exception()
        if error is not None:
            log.error("The training of %s broke.", self._command.output.name, exc_info=error)
            return TrainingOutcome(TrainingEnd.FAILED, CRASHED)
        return self._task.result()

    def stop(self) -> None:
        self._asked_to_stop = True

    def kill(self) -> None:
        self._task.cancel()

    async def _run(self) -> TrainingOutcome:
        sent = await asyncio.to_thread(self._to_send)
        try:
            return await self._train(sent)
        except (*LOST, KilledWorker, ExecutorError) as error:
            log.warning("The training of %s is lost: %r", self._command.output.name, error)
            if self._asked_to_stop:
                return TrainingOutcome(TrainingEnd.STOPPED)
            return TrainingOutcome(TrainingEnd.FAILED, MACHINE_LOST)

    async def _train(self, sent: SentTraining) -> TrainingOutcome:
        client = await self._cluster.client()
        async with asyncio.timeout(PATIENCE_S):
            actor = await _start(client, sent)
        try:
            async with asyncio.timeout(PATIENCE_S):
                training = await actor
            while actor.status == "finished":  # until Dask loses its worker or the connection
                async with asyncio.timeout(PATIENCE_S):
                    report: Report = await training.report(stop=self._asked_to_stop)
                self._events += report.events
                await asyncio.to_thread(self._keep, report)
                if report.outcome is not None:
                    return report.outcome
                await asyncio.sleep(REPORT_INTERVAL_S)
            raise ExecutorError
        finally:
            if client.status == "running":  # otherwise, Dask has dropped the actor by itself
                await client.cancel([actor])

    def _to_send(self) -> SentTraining:
        command = self._command
        base = command.base.resolve()
        sent = TrainingCommand(
            Path("text", command.text.name),
            Path("base", base.name),
            Path("output", command.output.name),
            command.threads,
        )
        files = {sent.text.as_posix(): command.text.read_bytes()}
        for here, there in (base, sent.base), (command.checkpoints, sent.checkpoints):
            for name, content in read_tree(here).items():
                files[(there / name).as_posix()] = content
        return SentTraining(sent, Files(files), self._program)

    def _keep(self, report: Report) -> None:
        command = self._command
        command.output.parent.mkdir(parents=True, exist_ok=True)
        if report.curve is not None:
            store.write_file(command.curve, report.curve)
        if report.model:
            store.write_files(command.output, report.model)
        if report.outcome is not None:
            write_tree(command.checkpoints, report.checkpoints)


async def _start(client: Client, sent: SentTraining) -> Future:
    # Dask chooses the worker with the fewest actors only for an actor that depends on data. As
    # data, the text also leaves Dask's memory once the actor has started.
    [data] = await client.scatter([sent], hash=False)
    return client.submit(Training, data, actor=True)
