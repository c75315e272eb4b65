"""The trainings as they stand: in the registry first, and then as whoever shows them is told."""

import asyncio
import logging
from collections.abc import Collection
from collections.abc import Set as AbstractSet

from bot.storage.files import StateFolder
from bot.storage.records import TrainingJob
from bot.storage.registry import Registry
from bot.training.statuses import Ended, Queued, Status

log = logging.getLogger(__name__)


class Ledger:
    """The status of each training that is under way, or has ended since the start. Methods raise
    RegistryError; what could not be written down has not happened."""

    def __init__(self, registry: Registry, state: StateFolder):
        self.statuses: dict[int, Status] = {}  # by job
        self._registry = registry
        self._state = state

    async def opted_out(self, people: AbstractSet[int]) -> bool:
        """Whether one of them has."""
        return not people.isdisjoint(await asyncio.to_thread(self._registry.opted_out))

    async def enqueue(self, job: TrainingJob, authors: Collection[int] = ()) -> None:
        await asyncio.to_thread(self._registry.enqueue, job.guild_id, job.id, authors)
        await self.number()

    async def number(self) -> None:
        """Give those that wait their places."""
        for place, job in enumerate(await asyncio.to_thread(self._registry.queue), start=1):
            self.statuses[job.id] = Queued(job, place)

    async def interrupt(self, job: TrainingJob, sentence: str) -> None:
        log.warning("Training %d of server %d broke off: %s", job.id, job.guild_id, sentence)
        interrupted = await asyncio.to_thread(
            self._registry.interrupt, job.guild_id, job.id, sentence
        )
        self.statuses[job.id] = Ended(interrupted, sentence)

    async def fail(self, job: TrainingJob, sentence: str) -> None:
        log.warning("Training %d of server %d failed: %s", job.id, job.guild_id, sentence)
        failed = await asyncio.to_thread(self._registry.fail, job.guild_id, job.id, sentence)
        self.statuses[job.id] = Ended(failed, sentence)
        await asyncio.to_thread(self._state.delete, job)

    async def cancel(self, job: TrainingJob, sentence: str, kept: str | None = None) -> None:
        """Its files are left to the caller: it may be running. `kept`: what is written down in
        place of a sentence that names somebody."""
        cancelled = await asyncio.to_thread(
            self._registry.cancel, job.guild_id, job.id, kept or sentence
        )
        self.statuses[job.id] = Ended(cancelled, sentence)
