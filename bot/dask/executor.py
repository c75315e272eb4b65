"""Texts written and models trained by a Dask cluster."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from bot.dask.cluster import Cluster, WorkLostError
from bot.dask.run import DaskRun
from bot.dask.worker import Batch, Missing, lacks, receive, write
from bot.errors import ExecutorError
from bot.models.reference import ModelReference
from bot.training.process import TrainingOrder
from charrnn import store
from charrnn.generation import Generated, Prompt

log = logging.getLogger(__name__)

# For one batch: a worker may lack the model, and connections may be lost.
ATTEMPTS, PATIENCE_S = 5, 150.0


class DaskExecutor:
    """Has workers write and train that share no folder with the bot: a model is sent to a worker
    when the worker lacks it, which is once."""

    def __init__(self, cluster: Cluster, memory_bytes: int):
        """`memory_bytes`: for models in memory, in each worker."""
        self._cluster = cluster
        self._memory_bytes = memory_bytes
        self._sendings: dict[tuple[str, str], asyncio.Task[None]] = {}  # by digest and worker

    @property
    def workers(self) -> int:
        return max(1, self._cluster.threads)

    @property
    def models(self) -> int:
        return 0  # they are in the workers' memory

    def trouble(self) -> str | None:
        return "Dask cannot be reached." if self._cluster.lost else None

    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        digest = await asyncio.to_thread(store.sha256, model.folder / store.CARD)
        batch = Batch(digest, tuple(prompts), self._memory_bytes)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._write(model.folder, batch)
        except TimeoutError as error:
            raise ExecutorError from error

    async def _write(self, folder: Path, batch: Batch) -> list[Generated]:
        worker: str | None = None
        for _ in range(ATTEMPTS):
            try:
                written = await self._cluster.submit(write, batch, worker=worker)
                if not isinstance(written, Missing):
                    return written
                worker = written.worker
                await self._send(folder, batch.digest, worker)
            except WorkLostError as error:
                log.warning("A batch was lost on its way: %r", error.__cause__ or error)
                worker = None
        raise ExecutorError

    def train(self, order: TrainingOrder) -> DaskRun:
        return DaskRun(self._cluster, order)

    async def close(self) -> None:
        await self._cluster.close()

    async def _send(self, folder: Path, digest: str, worker: str) -> None:
        """Send a model to a worker; whoever wants the same meanwhile waits for it."""
        key = digest, worker
        if key not in self._sendings:
            task = asyncio.create_task(self._send_files(folder, digest, worker), name="sending")
            self._sendings[key] = task
            task.add_done_callback(lambda _: self._sendings.pop(key))
        await asyncio.shield(self._sendings[key])

    async def _send_files(self, folder: Path, digest: str, worker: str) -> None:
        if not await self._cluster.run(worker, lacks, digest):
            return  # it came while the batch that missed it was on its way back
        files = await asyncio.to_thread(store.read_files, folder, only_to_write=True)
        await self._cluster.run(worker, receive, digest, files)
