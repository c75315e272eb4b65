"""The trainings that run: begun in their turn, followed, and what comes of them."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bot.errors import BotError, RegistryError
from bot.inference.executor import Executor
from bot.models.server_models import ServerModels
from bot.storage.files import StateFolder
from bot.storage.records import TrainingJob
from bot.storage.registry import Registry
from bot.training.candidates import compare, measured
from bot.training.ledger import Ledger
from bot.training.process import TrainingEnd, TrainingOrder, TrainingRun
from bot.training.statuses import Candidate, Ended, Learning, Paused, Queued, Sample
from charrnn import store
from charrnn.errors import CharRNNError, CorpusError

log = logging.getLogger(__name__)

FIRST_GUESS = 8000.0  # characters a second that a training reads, before one has been seen
POLL_S = 0.1  # how often a training that is to stop is looked at

DAMAGED = "A model, or the disk, is damaged; my log tells the operator more."
STOPPED = "The training was stopped from outside."
OPTED_OUT = "Somebody whose messages it learnt from has opted out, so its text is deleted."


@dataclass(frozen=True)
class _Running:
    job: TrainingJob
    order: TrainingOrder
    run: TrainingRun


class Runs:
    """Runs `limit` trainings at the same time. Methods raise RegistryError; what could not be
    written down is done again the next time."""

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        executor: Executor,
        models: ServerModels,
        state: StateFolder,
        *,
        limit: int,
        threads: int,
        keep_texts: bool,
    ):
        self.speed = FIRST_GUESS  # of the last one, in characters a second
        self._ledger = ledger
        self._registry = registry
        self._executor = executor
        self._models = models
        self._state = state
        self._limit = limit
        self._threads = threads
        self._keep_texts = keep_texts
        self._running: dict[int, _Running] = {}  # by job
        self._sampling: set[asyncio.Task[tuple[Sample, ...]]] = set()
        self._closing = False

    async def look(self) -> None:
        """How far are they? Do what follows from the end of those that have ended."""
        for running in list(self._running.values()):
            over = not running.run.running()  # asked first, so that no event is missed
            self._follow(running.job.id, running.run.events())
            if over and not self._closing:
                await self._conclude(running)

    async def start_next(self) -> None:
        """Begin those whose turn it is."""
        if self._closing:
            return
        statuses = self._ledger.statuses
        for status in list(statuses.values()):
            if isinstance(status, Learning) and status.job.id not in self._running:
                await self._begin(status.job)  # the registry had failed in the middle of it
        while not self._closing and len(self._running) < self._limit:
            if not any(isinstance(status, Queued) for status in statuses.values()):
                return
            job = await asyncio.to_thread(self._registry.start_next, self._limit)
            if job is None:
                return
            statuses[job.id] = Learning(job)
            await self._ledger.number()
            await self._begin(job)

    def kill(self, job_id: int) -> bool:
        """End one, and clean up when it is no more; False where it does not run."""
        running = self._running.get(job_id)
        if running is not None:
            running.run.kill()
        return running is not None

    async def close(self, grace_s: float) -> None:
        """Let them write a checkpoint, from which they go on after a restart."""
        self._closing = True
        for sampling in self._sampling:
            sampling.cancel()
        runs = [running.run for running in self._running.values()]
        for run in runs:
            run.stop()
        polls = int(grace_s / POLL_S)
        while polls and any(run.running() for run in runs):
            await asyncio.sleep(POLL_S)
            polls -= 1
        for run in runs:
            if run.running():
                log.warning("A training did not stop in time; it goes on from its last checkpoint.")
                run.kill()
        for job_id, status in self._ledger.statuses.items():
            if isinstance(status, Learning):
                self._ledger.statuses[job_id] = Paused(status.job)

    async def _begin(self, job: TrainingJob) -> None:
        try:
            taught = await asyncio.to_thread(self._registry.learnt_from, job.id)
            if await self._ledger.opted_out(taught):
                await self._ledger.fail(job, OPTED_OUT)
                return
            base = await self._models.base(job)
            output = self._state.model(job)
            order = TrainingOrder(self._state.text(job), base.folder, output, self._threads)
            if (output / store.CARD).is_file() and not order.checkpoints.is_dir():
                await self._accept(job, order)  # it had finished when the bot ended
            elif not self._closing:
                # In this thread: a training ends with the thread that started it.
                self._running[job.id] = _Running(job, order, self._executor.train(order))
        except RegistryError:
            raise
        except (BotError, CharRNNError, OSError) as error:
            await self._ledger.fail(job, for_people(error))

    def _follow(self, job_id: int, events: Sequence[dict[str, Any]]) -> None:
        status = self._ledger.statuses.get(job_id)
        if not isinstance(status, Learning):
            return  # it was cancelled
        for event in events:
            if event["event"] == "progress":
                self.speed = event["characters_per_second"]
                status = replace(status, progress=event)
            elif event["event"] == "epoch":
                status = replace(status, epoch=event)
        self._ledger.statuses[job_id] = status

    async def _conclude(self, running: _Running) -> None:
        job, outcome = running.job, running.run.outcome()
        if isinstance(self._ledger.statuses.get(job.id), Ended | None):  # it was cancelled
            await asyncio.to_thread(self._state.delete, job)
        elif outcome.end is TrainingEnd.FINISHED:
            await self._accept(job, running.order)
        elif await asyncio.to_thread(running.order.checkpoints.is_dir):
            await self._ledger.interrupt(job, outcome.sentence or STOPPED)
        else:
            await self._ledger.fail(job, outcome.sentence or STOPPED)
        self._running.pop(job.id, None)

    async def _accept(self, job: TrainingJob, order: TrainingOrder) -> None:
        """Give the guild the model that there is now, if it is one."""
        try:
            scores, size = await asyncio.to_thread(measured, order)
        except (CharRNNError, LookupError, OSError) as error:
            await self._ledger.fail(job, for_people(error))
            return
        finish = self._registry.finish
        model = await asyncio.to_thread(finish, job.guild_id, job.id, scores, size)
        statuses = self._ledger.statuses
        statuses[job.id] = Candidate(statuses[job.id].job, model)
        self._sample(job, order)
        log.info("Training %d of server %d has made a model.", job.id, job.guild_id)
        if not self._keep_texts:
            await asyncio.to_thread(self._state.delete_text, job)

    def _sample(self, job: TrainingJob, order: TrainingOrder) -> None:
        """Have the new model write something, which nobody waits for."""
        sampling = asyncio.create_task(compare(self._executor, order), name=f"samples {job.id}")
        self._sampling.add(sampling)
        sampling.add_done_callback(partial(self._sampled, job.id))

    def _sampled(self, job_id: int, sampling: asyncio.Task[tuple[Sample, ...]]) -> None:
        self._sampling.discard(sampling)
        if sampling.cancelled():
            return
        error = sampling.exception()
        if error is not None:
            log.error("There are no samples of model %d.", job_id, exc_info=error)
        status = self._ledger.statuses.get(job_id)
        if isinstance(status, Candidate):
            samples = () if error is not None else sampling.result()
            self._ledger.statuses[job_id] = replace(status, samples=samples)


def for_people(error: Exception) -> str:
    """What is said of `error` to people; where it speaks of the machine's files, they are in the
    log."""
    if isinstance(error, BotError | CorpusError):
        return str(error)
    log.error("A training could not go on: %s", error, exc_info=error)
    return DAMAGED
