"""The servers' trainings: prepared, queued, run, and what comes of them.

What is to be done stands in the registry before it is done. So after `kill -9` at any moment
`restore` goes on where the bot was, and the model that a server uses stays in use until an admin
puts another in its place.
"""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.corpus.source import Read
from bot.errors import BotError, NotFoundError, stopping
from bot.inference.executor import Executor
from bot.models.server_models import ServerModels
from bot.storage.files import StateFolder
from bot.storage.records import JobState, KeptAbout, StoredModel, TrainingJob, not_possible
from bot.storage.registry import Registry
from bot.training.ledger import Ledger
from bot.training.preparation import Preparation, author_ids
from bot.training.runs import OPTED_OUT, Runs
from bot.training.statuses import Candidate, Ended, Reading, Ready, Status

log = logging.getLogger(__name__)

READY_LIMIT_S = 86_400  # how long a text waits for Train,
INTERRUPTED_LIMIT_S = 7 * 86_400  # and an interrupted training for Resume

RESTARTED = "I was restarted before Train was pressed, so the text is gone. Use /retrain again."
NOT_STARTED = "Train was not pressed for a day, so the text is deleted. Use /retrain again."
NOT_RESUMED = "It was not resumed within a week, so its text is deleted. Use /retrain again."
BASE_OPTED_OUT = (
    "That base has learnt from somebody who has opted out. Choose another one, such as chat."
)
REMOVED = "I was removed from the server."
INTERRUPTED, CANCELLED = "It was interrupted.", "It was cancelled."
DELETED = "There is no such model any more."


class Retraining:
    """Trains models for servers, one at a time for each, and `limit` at the same time.

    Methods that take a guild's and a job's id raise NotFoundError, BotError when the job is
    past what is asked of it, and RegistryError."""

    def __init__(
        self,
        registry: Registry,
        executor: Executor,
        models: ServerModels,
        state: StateFolder,
        *,
        limit: int = 1,
        threads: int = 1,
        keep_texts: bool = False,
    ):
        self._registry = registry
        self._models = models
        self._state = state
        self._keep_texts = keep_texts
        self._ledger = Ledger(registry, state)
        self._statuses = self._ledger.statuses
        self._runs = Runs(
            self._ledger,
            registry,
            executor,
            models,
            state,
            limit=limit,
            threads=threads,
            keep_texts=keep_texts,
        )
        # What is read of the registry must not have changed when it is acted upon.
        self._turn = asyncio.Lock()
        self._preparation = Preparation(
            self._ledger,
            registry,
            models,
            state,
            turn=self._turn,
            speed=lambda: self._runs.speed,
        )

    @property
    def keeps_texts(self) -> bool:
        """Whether a text is kept when its model has been made."""
        return self._keep_texts

    def statuses(self) -> dict[int, Status]:
        """How the trainings are that are under way, or have ended since the start; by job."""
        return dict(self._statuses)

    async def mark_shown(self, end: Status) -> None:
        """The end of a training has been shown, and need not be remembered."""
        await asyncio.to_thread(self._registry.mark_shown, end.job.guild_id, end.job.id)
        self.forget(end)

    def forget(self, end: Status) -> None:
        """The end of a training cannot be shown; at the next start it is tried again."""
        if self._statuses.get(end.job.id) is end:  # and it has not been resumed since
            del self._statuses[end.job.id]

    async def create(self, guild_id: int, admin_id: int, channel_id: int, **asked: Any) -> Reading:
        """A new training, as `Registry.create_job` takes it. Raises
        NotFoundError if there is no such base, and BotError if it cannot be created now."""
        if self._preparation.closing:
            raise stopping()
        async with self._turn:
            base = await self._models.own(guild_id, asked["base"])
            base_id = base and base.id
            if await self._ledger.opted_out(await self._taught(base_id)):
                raise BotError(BASE_OPTED_OUT, kind="corpus")
            where = guild_id, admin_id, channel_id
            job = await asyncio.to_thread(
                self._registry.create_job, *where, base_id=base_id, **asked
            )
            return self._preparation.begin(job)

    async def prepare(self, job: TrainingJob, read: Read) -> None:
        """Let `read` gather the job's text; then it waits for Train. Raises BotError when
        that is too little or the job was cancelled meanwhile, and what `read`
        raises; then the job has ended."""
        await self._preparation.prepare(job, read)

    async def start(self, guild_id: int, job_id: int) -> None:
        """Train was pressed. Raises BotError when somebody has opted out since."""
        async with self._turn:
            job = await asyncio.to_thread(self._registry.job, guild_id, job_id)
            ready = self._statuses.get(job_id)
            if not isinstance(ready, Ready):
                raise not_possible(job.state)
            authors = author_ids(ready.counts) | await self._taught(job.base_id)
            if await self._ledger.opted_out(authors):
                await self._give_up(job, OPTED_OUT)
                raise BotError(f"{OPTED_OUT} Use /retrain again.", kind="corpus")
            await self._ledger.enqueue(job, authors)

    async def resume(self, guild_id: int, job_id: int) -> None:
        """Resume was pressed. Raises BotError when another has begun since."""
        async with self._turn:
            job = await asyncio.to_thread(self._registry.job, guild_id, job_id)
            if job.state is not JobState.INTERRUPTED:
                raise not_possible(job.state)
            await self._ledger.enqueue(job)

    async def cancel(self, guild_id: int, job_id: int, sentence: str) -> None:
        """Cancel was pressed, or what `sentence` says has happened; it may name who did it."""
        async with self._turn:
            job = await asyncio.to_thread(self._registry.job, guild_id, job_id)
            await self._give_up(job, sentence, CANCELLED)

    async def show_in(self, job: TrainingJob, channel_id: int, message_id: int) -> None:
        """From now on the job's progress is shown in this message."""
        where = job.guild_id, job.id, channel_id, message_id
        job = await asyncio.to_thread(self._registry.show_in, *where)
        if job.id in self._statuses:
            self._statuses[job.id] = replace(self._statuses[job.id], job=job)

    async def job(self, guild_id: int, job_id: int) -> TrainingJob:
        """A training, whether under way or over."""
        return await asyncio.to_thread(self._registry.job, guild_id, job_id)

    async def active(self, guild_id: int) -> Status | None:
        """What a guild's training is at, if there is one that is not over."""
        for job in await asyncio.to_thread(self._registry.unfinished):
            if job.guild_id == guild_id:
                return await self.status(job)
        return None

    async def status(self, job: TrainingJob) -> Status:
        """How a training is, or how it has ended."""
        if job.id in self._statuses:
            return self._statuses[job.id]
        job = await asyncio.to_thread(self._registry.job, job.guild_id, job.id)
        if job.state is not JobState.FINISHED:
            return Ended(job, job.ending or INTERRUPTED)
        try:
            model = await asyncio.to_thread(self._registry.model, job.guild_id, job.id)
        except NotFoundError:
            return Ended(job, DELETED)
        return Candidate(job, model, samples=())

    async def tick(self) -> None:
        """Look at what trains, and start what waits. To be called every second. Raises
        RegistryError; what could not be written down is done again the next time."""
        async with self._turn:
            await self._preparation.look()
            await self._runs.look()
            await self._runs.start_next()

    async def restore(self, no_training: str | None = None) -> None:
        """Go on where the bot was when it ended, and delete what is left over; interrupt all where
        `no_training` says why there can be none. To be called once, first of all. Raises
        RegistryError."""
        for person in await asyncio.to_thread(self._registry.opted_out):
            await self.without(person)  # it may have ended before that was done
        for job in await asyncio.to_thread(self._registry.unfinished):
            if job.state is JobState.PREPARING:
                await self._give_up(job, RESTARTED)
            elif no_training and job.state in (JobState.QUEUED, JobState.TRAINING):
                await self._ledger.interrupt(job, no_training)
            elif job.state is JobState.TRAINING:
                await asyncio.to_thread(self._registry.requeue, job.guild_id, job.id)
        for job in await asyncio.to_thread(self._registry.unshown):
            self._statuses[job.id] = await self.status(job)
        await self._ledger.number()
        folders = await asyncio.to_thread(self._registry.folders)
        unfinished = {job.id for job in await asyncio.to_thread(self._registry.unfinished)}
        models = {int(Path(folder).name) for folder in folders} if self._keep_texts else set()
        await asyncio.to_thread(self._state.sweep, folders, unfinished | models)

    async def expire(self, now: float) -> None:
        """Delete the texts that nobody has asked for in time; `now` in seconds since 1970."""
        async with self._turn:
            for job in await asyncio.to_thread(self._registry.unfinished):
                if job.state is JobState.PREPARING and now - job.created_at > READY_LIMIT_S:
                    await self._give_up(job, NOT_STARTED)
                elif job.ended_at is not None and now - job.ended_at > INTERRUPTED_LIMIT_S:
                    await self._give_up(job, NOT_RESUMED)

    async def kept_about(self, user_id: int) -> KeptAbout:
        """What a person is told who asks; their texts may also wait for Train."""
        kept = await asyncio.to_thread(self._registry.kept_about, user_id)
        ready = (status for status in self._statuses.values() if isinstance(status, Ready))
        waiting = (status.job for status in ready if str(user_id) in status.counts.authors)
        return replace(kept, learning=(*kept.learning, *waiting))

    async def without(self, user_id: int) -> tuple[StoredModel, ...]:
        """Somebody has opted out: end the trainings that hold their texts, delete texts kept of
        theirs, and return the models that have learnt from them."""
        async with self._turn:
            kept = await self.kept_about(user_id)
            for job in kept.learning:
                await self._give_up(job, OPTED_OUT)
            for model in kept.models:
                await asyncio.to_thread(self._state.delete_text, model)
            return kept.models

    async def leave_guild(self, guild_id: int) -> None:
        """The bot was removed from a guild: end its training."""
        async with self._turn:
            await self._leave(guild_id)

    async def forget_guild(self, guild_id: int) -> None:
        """Delete the trainings, models and texts of a guild that has removed the bot, unless it
        is there again."""
        async with self._turn:
            await self._leave(guild_id)
            models = await asyncio.to_thread(self._registry.models, guild_id)
            folder = await asyncio.to_thread(self._registry.forget_guild, guild_id)
            if folder is not None:
                log.info("Server %d has removed me; what I kept of it is deleted.", guild_id)
                await asyncio.to_thread(self._state.delete_guild, folder, models)

    async def _leave(self, guild_id: int) -> None:
        for job in await asyncio.to_thread(self._registry.unfinished):
            if job.guild_id == guild_id:
                await self._give_up(job, REMOVED)

    async def close(self, grace_s: float) -> None:
        """Let the trainings write a checkpoint, from which they go on after a restart. What is
        being read is given up at once."""
        self._preparation.closing = True
        await self._runs.close(grace_s)

    async def _give_up(self, job: TrainingJob, sentence: str, kept: str | None = None) -> None:
        await self._ledger.cancel(job, sentence, kept)
        if not self._runs.kill(job.id):
            await asyncio.to_thread(self._state.delete, job)

    async def _taught(self, base_id: int | None) -> frozenset[int]:
        """The ids of those who taught a base; nobody whom the registry knows, where it came
        along."""
        return (
            await asyncio.to_thread(self._registry.learnt_from, base_id) if base_id else frozenset()
        )
