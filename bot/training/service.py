"""The training service: takes each job from its text to a model, and is the only writer of a job's
state.

The registry's row says what is to be done before it is done, and `tick` compares the rows with
what runs in this process. So the next tick corrects what failed, and `restore` corrects it after a
restart.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bot.corpus.source import Read
from bot.errors import BotError, RegistryError, stopping
from bot.inference.executor import Executor
from bot.models.server_models import ServerModels
from bot.privacy import OPTED_OUT, Privacy, author_ids
from bot.storage.files import StateFolder
from bot.storage.records import JobState, Sample, Source, Speed, TrainingJob
from bot.storage.registry import Registry
from bot.training.estimate import examine
from bot.training.job import Job
from bot.training.process import (
    ProcessorUse,
    StartTraining,
    TrainingCommand,
    TrainingEnd,
    TrainingProcess,
    stop_all,
)
from bot.training.results import read_scores, write_samples
from bot.words.lists import NeverSaid
from charrnn import store
from charrnn.errors import CharRNNError, CorpusError
from charrnn.text.messages import Counts
from charrnn.training.events import EpochEnd, Progress

log = logging.getLogger(__name__)

READY_LIMIT_S = 86_400  # how long a text waits for Train
INTERRUPTED_LIMIT_S = 7 * 86_400  # how long an interrupted job waits for Resume
READING_BROKE = "Something went wrong on my side while I was reading. Try again."
RESTARTED = "I was restarted while I was reading. Use /retrain again."
NOT_STARTED = "Nobody pressed Train for a day, so the text is deleted. Use /retrain again."
NOT_RESUMED = "Nobody pressed Resume for a week, so the text is deleted. Use /retrain again."
DAMAGED = "A model or the disk is damaged. The reason is in my log, for the operator."
STOPPED = "The training was stopped from outside."
REMOVED = "I was removed from the server."
CANCELLED = "The training was cancelled."


@dataclass
class _Running:
    row: TrainingJob
    command: TrainingCommand
    process: TrainingProcess
    started: float  # by the service's clock
    parameters: int  # of the base
    progress: Progress | None = None
    epoch: EpochEnd | None = None
    cores: float | None = None


class TrainingService:
    """Trains models for servers: one job at a time for each server, and `limit` trainings at the
    same time.

    Methods raise RegistryError. Methods that take the ids of a guild and a job raise BotError when
    there is no such job, or it is too late for what is asked."""

    def __init__(
        self,
        registry: Registry,
        privacy: Privacy,
        files: StateFolder,
        models: ServerModels,
        never_said: NeverSaid,
        executor: Executor,
        start_training: StartTraining,
        *,
        limit: int,
        threads: int,  # of each training
        keep_texts: bool,  # after training, until the model is deleted
        clock: Callable[[], float] = time.monotonic,  # in seconds
    ):
        self._registry = registry
        self._privacy = privacy
        self._files = files
        self._models = models
        self._never_said = never_said
        self._executor = executor
        self._start_training = start_training
        self._limit = limit
        self._threads = threads
        self._keep_texts = keep_texts
        self._clock = clock
        # A row must not change between reading it and acting on it.
        self._turn = asyncio.Lock()
        self._reading: dict[int, Counts] = {}  # by job
        self._running: dict[int, _Running] = {}  # by job
        self._sampling: dict[int, asyncio.Task[tuple[Sample, ...]]] = {}  # by job
        self._closing = False
        # Called when a job starts, goes on or ends, so that somebody calls `tick` and shows it.
        self.on_change: Callable[[], None] = lambda: None

    async def create(
        self,
        guild_id: int,
        admin_id: int,
        channel_id: int,
        *,
        name: str | None,  # None: one that resembles the source's
        base: str,
        source: Source,
    ) -> Job:
        """A new job, for `prepare`. Raises BotError when the guild has an active job, the name is
        taken or invalid, or the base is missing or learnt from somebody who has opted out."""
        if self._closing:
            raise stopping()
        async with self._turn:
            base_id = await self.check(guild_id, name, base)
            row = await self._registry.create_job(
                guild_id,
                admin_id,
                channel_id,
                name=name or await self._registry.free_name(guild_id, source.stem),
                base=base,
                base_id=base_id,
                source=source,
            )
            self._reading[row.id] = Counts()
            self.on_change()
            return self._job(row)

    async def check(self, guild_id: int, name: str | None, base: str) -> int | None:
        """The id of the base, if it is the guild's own. Raises BotError when the name is taken or
        invalid, or the base is missing or learnt from somebody who has opted out."""
        if name is not None:
            await self._registry.check_name(guild_id, name)
        base_id = await self._models.own_id(guild_id, base)
        await self._privacy.check_base(base_id)
        return base_id

    async def prepare(self, row: TrainingJob, read: Read) -> None:
        """Gather the job's text with `read`; then the job waits for Train. Raises BotError when
        there is too little text or the job was cancelled, and what `read` raises. Then the job has
        ended."""
        try:
            text = self._files.text(row)
            text.parent.mkdir(parents=True, exist_ok=True)
            opted_out = await self._privacy.opted_out()
            counts = await read(text, opted_out, partial(self._count, row.id))
            async with self._turn:
                await self._ready(row, counts)
        except (BotError, CharRNNError) as error:
            async with self._turn:
                if row.id in self._reading:
                    await self._fail(row, _for_people(error))
                else:  # cancelled, but `read` may have written its text after that
                    await asyncio.to_thread(self._files.delete, row)
            raise
        finally:
            self._reading.pop(row.id, None)

    def abandon(self, job: Job) -> None:
        """End a new job that nobody can see. The next tick marks it as failed."""
        self._reading.pop(job.id, None)

    def _count(self, job_id: int, counts: Counts) -> None:
        """Keep what has been read so far; end the reading when it is no longer wanted."""
        if self._closing:
            raise stopping()
        if job_id not in self._reading:
            raise BotError(CANCELLED, "job_state")
        self._reading[job_id] = counts

    async def _ready(self, row: TrainingJob, counts: Counts) -> None:
        self._count(row.id, counts)
        authors = author_ids(counts)
        await self._privacy.check_authors(authors)  # somebody may have opted out meanwhile
        base = await self._models.base(row)
        card, _ = await asyncio.to_thread(store.read_card, base.folder)
        speed = await self._registry.speed(card.spec.parameters, self._threads)
        kept, seconds = await asyncio.to_thread(examine, self._files.text(row), counts, card, speed)
        await self._registry.ready(row.guild_id, row.id, kept, authors, seconds)

    async def enqueue(self, guild_id: int, job_id: int) -> None:
        """Train or Resume was pressed."""
        async with self._turn:
            await self._registry.enqueue(guild_id, job_id)
            self.on_change()

    async def cancel(self, guild_id: int, job_id: int, why: str = CANCELLED) -> None:
        """End a job for good. `why` is a sentence for people, and is kept."""
        async with self._turn:
            await self._cancel(await self._registry.job(guild_id, job_id), why)

    async def cancel_using_opted_out(self) -> None:
        """Cancel the jobs that would learn from somebody who has opted out, and delete their kept
        texts, also those of jobs that have just become models."""
        async with self._turn:
            for row in await self._registry.jobs_using_opted_out():
                await self._cancel(row, OPTED_OUT)
            await self._privacy.delete_texts()

    async def cancel_in(self, guild_id: int) -> None:
        """Cancel the job of a guild that removed the bot."""
        async with self._turn:
            for row in await self._registry.unfinished():
                if row.guild_id == guild_id:
                    await self._cancel(row, REMOVED)

    async def cancel_expired(self, now: float) -> None:
        """Cancel jobs whose Train or Resume nobody pressed in time. `now`: seconds since 1970."""
        async with self._turn:
            for row in await self._registry.unfinished():
                if row.state is JobState.READY and now - (row.ready_at or 0) > READY_LIMIT_S:
                    await self._cancel(row, NOT_STARTED)
                elif row.ended_at is not None and now - row.ended_at > INTERRUPTED_LIMIT_S:
                    await self._cancel(row, NOT_RESUMED)

    async def _cancel(self, row: TrainingJob, why: str) -> None:
        await self._registry.end(row.guild_id, row.id, JobState.CANCELLED, why)
        self.on_change()
        self._reading.pop(row.id, None)
        if row.id in self._running:
            self._running[row.id].process.kill()  # the next tick deletes its files
        else:
            await asyncio.to_thread(self._files.delete, row)

    async def jobs(self) -> list[Job]:
        """The jobs to show: those under way, and those whose message does not show how they ended,
        or that their model has changed since."""
        rows = await self._registry.jobs_to_show()
        return [await self._with_model(self._job(row, rows)) for row in rows]

    async def job(self, guild_id: int, job_id: int) -> Job:
        """A job, whether under way or over."""
        row = await self._registry.job(guild_id, job_id)
        waiting = await self._registry.jobs_to_show() if row.state is JobState.QUEUED else ()
        return await self._with_model(self._job(row, waiting))

    async def unfinished_job(self, guild_id: int) -> Job | None:
        """The job that a guild has under way or interrupted, if any."""
        for row in await self._registry.unfinished():
            if row.guild_id == guild_id:
                return await self.job(guild_id, row.id)
        return None

    def _job(self, row: TrainingJob, rows: Sequence[TrainingJob] = ()) -> Job:
        """`rows`: all jobs, to find the place of a queued one."""
        running = self._running.get(row.id)
        queue = [other.id for other in rows if other.state is JobState.QUEUED]
        return Job(
            row,
            counts=self._reading.get(row.id),
            place=queue.index(row.id) + 1 if row.id in queue else 0,
            running_s=self._clock() - running.started if running else 0.0,
            progress=running.progress if running else None,
            epoch=running.epoch if running else None,
            cores=running.cores if running else None,
            paused=self._closing and row.state is JobState.TRAINING,
            never_said=self._never_said.in_server(row.guild_id),
        )

    async def _with_model(self, job: Job) -> Job:
        if job.state is not JobState.FINISHED:
            return job
        model = await self._registry.find_model(job.row.guild_id, job.id)
        return replace(job, model=model)

    async def tick(self) -> list[Job]:
        """Follow the trainings, start queued ones, and return the jobs to show. Call it every
        second. After a RegistryError, the next call completes the work."""
        async with self._turn:
            rows = {row.id: row for row in await self._registry.jobs_to_follow()}
            if not rows and not self._running:
                return []
            for row in await self._registry.jobs_using_opted_out():
                await self._cancel(row, OPTED_OUT)
                del rows[row.id]
            states = Counter(row.state for row in rows.values())
            if not self._closing:
                for row in rows.values():
                    if row.state is JobState.READING and row.id not in self._reading:
                        await self._fail(row, READING_BROKE)
                    elif row.state is JobState.TRAINING and row.id not in self._running:
                        await self._begin(row)
                    elif row.state is JobState.FINISHED:
                        await self._write_samples(row)
            for running in list(self._running.values()):
                row = rows.get(running.row.id)
                wanted = row is not None and row.state is JobState.TRAINING
                await self._follow(running, wanted)
            while states[JobState.QUEUED] and len(self._running) < self._limit:
                row = None if self._closing else await self._registry.start_next()
                if row is None:
                    break
                await self._begin(row)
        return await self.jobs()

    async def _begin(self, row: TrainingJob) -> None:
        try:
            base = await self._models.base(row)
            command = TrainingCommand(
                self._files.text(row), base.folder, self._files.model(row), self._threads
            )
            if (command.output / store.CARD).is_file() and not command.checkpoints.is_dir():
                await self._accept(row, command)  # it finished just before the bot ended
            else:
                card, _ = await asyncio.to_thread(store.read_card, base.folder)
                process = self._start_training(command)
                self._running[row.id] = _Running(
                    row, command, process, self._clock(), card.spec.parameters
                )
        except RegistryError:
            raise
        except (BotError, CharRNNError, OSError) as error:
            await self._fail(row, _for_people(error))

    async def _follow(self, running: _Running, wanted: bool) -> None:
        over = not running.process.running()  # asked before the events, so that none is missed
        for event in running.process.events():
            if isinstance(event, Progress):
                running.progress = event
            elif isinstance(event, ProcessorUse):
                running.cores = event.cores
            else:
                running.epoch = event
                speed = Speed(event.characters_per_second, event.measuring_s)
                await self._registry.save_speed(running.parameters, self._threads, speed)
        if not over or self._closing:
            return
        row, outcome = running.row, running.process.outcome()
        if not wanted:
            await asyncio.to_thread(self._files.delete, row)
        elif outcome.end is TrainingEnd.FINISHED:
            await self._accept(row, running.command)
        elif await asyncio.to_thread(running.command.checkpoints.is_dir):
            await self._end(row, JobState.INTERRUPTED, outcome.sentence or STOPPED)
        else:
            await self._fail(row, outcome.sentence or STOPPED)
        del self._running[row.id]

    async def _accept(self, row: TrainingJob, command: TrainingCommand) -> None:
        """Make the model a candidate of its guild."""
        try:
            scores, size_bytes = await asyncio.to_thread(read_scores, command)
        except (CharRNNError, LookupError, OSError) as error:
            await self._fail(row, _for_people(error))
            return
        await self._registry.finish(row.guild_id, row.id, scores, size_bytes)
        log.info("Training %d of server %d has made a model.", row.id, row.guild_id)
        if not self._keep_texts:
            await asyncio.to_thread(self._files.delete_text, row)

    async def _write_samples(self, row: TrainingJob) -> None:
        """Have a new model and its base write something to compare."""
        writing = self._sampling.get(row.id)
        if writing is None:
            model = await self._registry.find_model(row.guild_id, row.id)
            if model is not None and model.samples is None:
                samples = write_samples(self._executor, self._models, row)
                self._sampling[row.id] = asyncio.create_task(samples)
        elif writing.done():
            if error := writing.exception():
                log.error("No samples could be written for job %d.", row.id, exc_info=error)
            samples = () if error else writing.result()
            await self._registry.save_samples(row.guild_id, row.id, samples)
            del self._sampling[row.id]

    async def _fail(self, row: TrainingJob, why: str) -> None:
        await self._end(row, JobState.FAILED, why)
        await asyncio.to_thread(self._files.delete, row)

    async def _end(self, row: TrainingJob, state: JobState, why: str) -> None:
        log.warning("Training %d of server %d: %s. %s", row.id, row.guild_id, state, why)
        await self._registry.end(row.guild_id, row.id, state, why)

    async def restore(self, blocked: str | None = None) -> None:
        """Continue the jobs after a restart, and delete files that no job or model needs.
        `blocked`: why training is impossible now, for people. Call it once, before anything
        else."""
        await self.cancel_using_opted_out()
        for row in await self._registry.unfinished():
            if row.state is JobState.READING:
                await self._cancel(row, RESTARTED)
            elif blocked and row.state in (JobState.QUEUED, JobState.TRAINING):
                await self._end(row, JobState.INTERRUPTED, blocked)
            elif row.state is JobState.TRAINING:
                await self._registry.requeue(row.guild_id, row.id)
        folders = await self._registry.folders()
        texts = {row.id for row in await self._registry.unfinished()}
        if self._keep_texts:
            texts |= {int(folder.rpartition("/")[2]) for folder in folders}
        await asyncio.to_thread(self._files.sweep, folders, texts)

    async def close(self, grace_s: float) -> None:
        """Let the trainings write a checkpoint within `grace_s` seconds; after a restart they go on
        from it. Reading ends at once."""
        self._closing = True
        async with self._turn:  # a tick may be starting a training
            for writing in self._sampling.values():
                writing.cancel()
            processes = [running.process for running in self._running.values()]
        await stop_all(processes, grace_s)


def _for_people(error: Exception) -> str:
    """The sentence for people. Details of the machine's files go to the log instead."""
    if isinstance(error, BotError | CorpusError):
        return str(error)
    log.error("A training could not go on: %s", error, exc_info=error)
    return DAMAGED
