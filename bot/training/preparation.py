"""Texts for trainings: gathered, counted, and judged whether they are enough to learn from."""

import asyncio
import re
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial

from bot.corpus.source import Read
from bot.errors import BotError, stopping
from bot.models.server_models import ServerModels
from bot.storage.files import StateFolder
from bot.storage.records import JobState, TrainingJob, not_possible
from bot.storage.registry import Registry
from bot.training.ledger import Ledger
from bot.training.runs import OPTED_OUT, for_people
from bot.training.statuses import Ended, Reading, Ready
from charrnn import store
from charrnn.errors import CharRNNError
from charrnn.text.messages import Counts
from charrnn.training.recipes import FROM_A_BASE, fine_tuning

HELD_OUT_SHARE = 0.1  # of a text, as `charrnn train` holds it out

BROKEN = "Something went wrong on my side while I was reading. Try again."

_ID = re.compile(r"[0-9]{1,19}")


class Preparation:
    """Gets trainings ready for Train. Methods raise RegistryError."""

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        models: ServerModels,
        state: StateFolder,
        *,
        turn: asyncio.Lock,  # what is read of the registry does not change while one has it
        speed: Callable[[], float],  # of a training, in characters a second
    ):
        self._ledger = ledger
        self._registry = registry
        self._models = models
        self._state = state
        self._turn = turn
        self._speed = speed
        self._read_for: set[int] = set()  # jobs
        self.closing = False  # then what is being read is given up

    def begin(self, job: TrainingJob) -> Reading:
        """From now on it is `prepare`d; or it fails with the next `look`."""
        status = Reading(job, Counts())
        self._ledger.statuses[job.id] = status
        self._read_for.add(job.id)
        return status

    async def look(self) -> None:
        """Fail those that nobody reads for any more, whose failing had failed."""
        for status in list(self._ledger.statuses.values()):
            if isinstance(status, Reading) and status.job.id not in self._read_for:
                await self._not_ready(status.job, BROKEN)

    async def prepare(self, job: TrainingJob, read: Read) -> None:
        """Let `read` gather the job's text; then it waits for Train. Raises BotError when
        that is too little or the job was cancelled meanwhile, and what `read`
        raises; then the job has ended."""
        sentence = BROKEN
        try:
            opted_out = await asyncio.to_thread(self._registry.opted_out)
            text = self._state.text(job)
            text.parent.mkdir(parents=True, exist_ok=True)
            counts = await read(text, frozenset(map(str, opted_out)), partial(self._count, job.id))
            async with self._turn:
                self._count(job.id, counts)
                if await self._ledger.opted_out(author_ids(counts)):
                    raise BotError(f"{OPTED_OUT} Use /retrain again.", kind="corpus")
                self._ledger.statuses[job.id] = await self._ready(job, counts)
        except (BotError, CharRNNError) as error:
            sentence = for_people(error)
            raise
        finally:
            self._read_for.discard(job.id)
            async with self._turn:
                await self._not_ready(job, sentence)

    async def _not_ready(self, job: TrainingJob, sentence: str) -> None:
        """Fail a job that is still being read for."""
        status = self._ledger.statuses.get(job.id)
        if isinstance(status, Reading):
            await self._ledger.fail(status.job, sentence)
        elif isinstance(status, Ended | None):
            # It was cancelled, and that perhaps shown; what was written since then goes too.
            await asyncio.to_thread(self._state.delete, job)

    def _count(self, job_id: int, counts: Counts) -> None:
        """Raises BotError if the job is not being read for any more, or the bot is stopping."""
        if self.closing:
            raise stopping()
        status = self._ledger.statuses.get(job_id)
        if not isinstance(status, Reading):
            raise not_possible(JobState.CANCELLED)
        self._ledger.statuses[job_id] = replace(status, counts=copy(counts))

    async def _ready(self, job: TrainingJob, counts: Counts) -> Ready:
        """Raises BotError when there is too little text."""
        learnt = int(counts.characters * (1 - HELD_OUT_SHARE))
        if learnt < FROM_A_BASE.refused:
            raise BotError(
                f"{counts.characters:,} characters are too few to learn from: it takes "
                f"{FROM_A_BASE.refused / (1 - HELD_OUT_SHARE):,.0f}. Let me read more, or another "
                f"channel. What I have read: {counts}.",
                kind="corpus",
            )
        base = await self._models.base(job)
        card, _ = await asyncio.to_thread(store.read_card, base.folder)
        seconds = fine_tuning(card.spec, learnt).epochs * learnt / self._speed()
        warning = FROM_A_BASE.warning if learnt < FROM_A_BASE.warned else ""
        return Ready(self._ledger.statuses[job.id].job, counts, seconds, warning)


def author_ids(counts: Counts) -> set[int]:
    """Their ids, where they have any: a file may hold names, or numbers that are no ids."""
    numbers = (int(author) for author in counts.authors if _ID.fullmatch(author))
    return {number for number in numbers if number < 2**63}
