"""Texts written by a Dask cluster."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from distributed import Client, Future, KilledWorker

from bot.dask.cluster import LOST, Cluster
from bot.dask.worker import Batch, Files, Missing, write
from bot.errors import ExecutorError
from bot.models.reference import ModelReference
from charrnn import store
from charrnn.generation import Generated, Prompt

log = logging.getLogger(__name__)

ATTEMPTS, PATIENCE_S = 5, 150.0  # for one batch


class DaskExecutor:
    """Writes in the workers of a cluster. They share no folder with the bot, so a worker that lacks
    a model is sent its files, once."""

    def __init__(self, cluster: Cluster, memory_bytes: int):
        """`memory_bytes` limits the loaded models in each worker."""
        self._cluster = cluster
        self._memory_bytes = memory_bytes
        self._sent: WeakValueDictionary[str, Future] = WeakValueDictionary()  # files by digest
        self._sending = asyncio.Lock()

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
        except (TimeoutError, KilledWorker) as error:
            log.error("Giving up on a batch: %r", error)
            raise ExecutorError from error

    async def close(self) -> None:
        await self._cluster.close()

    async def _write(self, folder: Path, batch: Batch) -> list[Generated]:
        for _ in range(ATTEMPTS):
            client = await self._cluster.client()
            try:
                written = await client.submit(write, batch, pure=False)
                if isinstance(written, Missing):
                    files = await self._send(client, folder, batch.digest)
                    written = await client.submit(
                        write,
                        batch,
                        files,
                        workers=[written.worker],
                        allow_other_workers=True,
                        pure=False,
                    )
                return written
            except LOST as error:
                log.warning("A batch is lost and will be written again: %r", error)
        raise ExecutorError

    async def _send(self, client: Client, folder: Path, digest: str) -> Future:
        """The model's files as Dask data, which stay in the cluster while a batch needs them."""
        async with self._sending:
            sent = self._sent.get(digest)
            if sent is None or sent.status != "finished":
                files = Files(await asyncio.to_thread(store.read_files, folder))
                [sent] = await client.scatter([files], hash=False)
                self._sent[digest] = sent
            return sent
