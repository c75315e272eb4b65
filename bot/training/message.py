"""The message that shows a job: posted, edited as the job goes on, and its buttons."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import discord
from discord import ui
from discord.ext import commands

from bot.interactions.buttons import CogButton, view_of
from bot.interactions.retries import REFUSALS
from bot.storage.files import StateFolder
from bot.storage.records import JobState, Shown, StoredModel, TrainingJob
from bot.storage.registry import Registry
from bot.training.embeds import PICTURE, Screen, TrainingAction, screen
from bot.training.job import Job
from bot.training.process import curve_of
from bot.training.service import TrainingService

log = logging.getLogger(__name__)

# Discord's codes. An unavailable channel is unknown, too.
UNKNOWN_MESSAGE, UNKNOWN_CHANNEL, TOO_OLD_TO_EDIT = 10008, 10003, 30046
EDIT_INTERVAL_S = 5.0
LONGEST_PAUSE_S = 600.0  # between attempts while Discord refuses
POST_TIMEOUT_S = 60.0
NEW_MESSAGE_S = 55 * 60.0  # Discord limits edits strictly once a message is an hour old

LABELS = {
    TrainingAction.TRAIN: ("Train", discord.ButtonStyle.success),
    TrainingAction.CANCEL: ("Cancel", discord.ButtonStyle.danger),
    TrainingAction.RESUME: ("Resume", discord.ButtonStyle.success),
    TrainingAction.USE: ("Use it", discord.ButtonStyle.success),
    TrainingAction.DISCARD: ("Discard", discord.ButtonStyle.danger),
    TrainingAction.ROLL_BACK: ("Roll back", discord.ButtonStyle.secondary),
    TrainingAction.AGAIN: ("Retrain without them", discord.ButtonStyle.primary),
}


@dataclass(frozen=True)
class _Shown:
    job: Job
    screen: Screen | None  # None: the last attempt failed
    at: float
    note: str = ""
    pause_s: float = EDIT_INTERVAL_S  # before the next attempt


class TrainingMessages:
    """Keeps the messages of jobs up to date, with the bot's own token."""

    def __init__(
        self,
        bot: commands.AutoShardedBot,
        training: TrainingService,
        registry: Registry,
        files: StateFolder,
        clock: Callable[[], float],  # in seconds
    ):
        self._bot = bot
        self._training = training
        self._registry = registry
        self._files = files
        self._clock = clock
        self._shown: dict[int, _Shown] = {}  # by job
        self._posted_at: dict[int, float] = {}  # by job: when its message was sent
        # Edits of one message must arrive in order.
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def show_here(
        self, interaction: discord.Interaction, job: Job, content: str | None = None
    ) -> None:
        """Show a job in the answer to `interaction` from now on, and delete the message that showed
        it before. `content`: a sentence above it, unless the job has ended for good."""
        async with self._lock(job.id):
            job = await self._training.job(job.row.guild_id, job.id)
            drawn, before = screen(job), job.row
            message = await interaction.edit_original_response(
                content=None if job.over and job.state is not JobState.INTERRUPTED else content,
                embed=drawn.embed,
                view=buttons(drawn, job.id),
                attachments=self._pictures(job),
            )
            where = message.channel.id, message.id
            await self._registry.show_in(before.guild_id, job.id, *where)
            self._posted_at[job.id] = self._clock()
            await self._keep(job, drawn)
            if before.message_id is not None:
                channel = self._bot.get_partial_messageable(before.channel_id)
                with suppress(*REFUSALS):  # somebody may have deleted it
                    await channel.get_partial_message(before.message_id).delete()

    async def answer(
        self, interaction: discord.Interaction, guild_id: int, job_id: int, note: str
    ) -> None:
        """Show what a button has just done, in the message under which it was pressed."""
        async with self._lock(job_id):
            job = await self._training.job(guild_id, job_id)
            drawn = screen(job, note)
            message = await interaction.edit_original_response(
                embed=drawn.embed, view=buttons(drawn, job.id), attachments=self._pictures(job)
            )
            if message.id == job.row.message_id:
                await self._keep(job, drawn, note)

    async def refresh(self, job: Job) -> None:
        """Bring a job's message up to date if it is time."""
        if self._due(job) and not self._lock(job.id).locked():  # else the next tick shows it
            await self.show_now(job.row.guild_id, job.id)

    async def show_now(self, guild_id: int, job_id: int) -> None:
        """Bring a job's message up to date at once."""
        async with self._lock(job_id):
            job = await self._training.job(guild_id, job_id)
            note, shown = self._note(job), self._shown.get(job_id)
            drawn = screen(job, note)
            up_to_date = job.row.shown is Shown.YES or (shown and shown.screen == drawn)
            if up_to_date or job.row.message_id is None or await self._show(job, drawn, note):
                await self._keep(job, drawn, note)

    def _lock(self, job_id: int) -> asyncio.Lock:
        return self._locks.setdefault(job_id, asyncio.Lock())

    def _note(self, job: Job) -> str:
        """What somebody has just done with a job; empty once something else has happened to it."""
        shown = self._shown.get(job.id)
        return shown.note if shown and _but_for_samples(shown.job) == _but_for_samples(job) else ""

    def _due(self, job: Job) -> bool:
        """A new state is shown without delay, unless showing it has just failed."""
        shown = self._shown.get(job.id)
        if shown is None or (job.state, job.over) != (shown.job.state, shown.job.over):
            return True
        if shown.screen == screen(job, self._note(job)):
            return job.over  # to note in the registry that it was shown
        return self._clock() - shown.at >= shown.pause_s

    async def _show(self, job: Job, drawn: Screen, note: str) -> bool:
        """True if the job is shown now, or never can be."""
        try:
            async with asyncio.timeout(POST_TIMEOUT_S):  # the other jobs wait meanwhile
                await self._post(job, drawn)
        except REFUSALS as error:
            log.warning("Training %d cannot be shown now: %s", job.id, error)
            shown = self._shown.get(job.id)
            pause_s = min(2 * shown.pause_s, LONGEST_PAUSE_S) if shown else EDIT_INTERVAL_S
            self._shown[job.id] = _Shown(job, None, self._clock(), note, pause_s)
            return job.over and isinstance(error, discord.NotFound) and self._gone(job.row, error)
        return True

    def _gone(self, row: TrainingJob, error: discord.NotFound) -> bool:
        """Whether somebody deleted the message that has shown a job's end, or the channel."""
        if error.code == UNKNOWN_MESSAGE:
            return row.shown is Shown.OUTDATED
        guild = self._bot.get_guild(row.guild_id)
        if error.code != UNKNOWN_CHANNEL or guild is None or guild.unavailable:
            return False
        return guild.get_channel_or_thread(row.channel_id) is None

    async def _keep(self, job: Job, drawn: Screen, note: str = "") -> None:
        """Remember what is shown. After a job's end, note in the registry that it was shown."""
        self._shown[job.id] = _Shown(job, drawn, self._clock(), note)
        if job.over:
            await self._registry.mark_shown(job.row.guild_id, job.id, job.model)
            del self._shown[job.id]
            self._posted_at.pop(job.id, None)

    async def _post(self, job: Job, drawn: Screen) -> None:
        row = job.row
        channel = self._bot.get_partial_messageable(row.channel_id, guild_id=row.guild_id)
        message = channel.get_partial_message(row.message_id or 0)
        view, now = buttons(drawn, job.id), self._clock()
        if job.id not in self._posted_at:  # sent before the bot was restarted
            age = discord.utils.utcnow() - message.created_at
            self._posted_at[job.id] = now - age.total_seconds()
        outdated = row.shown is Shown.OUTDATED  # this message has shown the end
        if outdated or now - self._posted_at[job.id] < NEW_MESSAGE_S:
            try:
                await message.edit(embed=drawn.embed, view=view, attachments=self._pictures(job))
                return
            except discord.HTTPException as error:
                # If somebody deleted the message, the job goes on; only its end gets a new message.
                deleted = error.code == UNKNOWN_MESSAGE and job.over
                if outdated or not (deleted or error.code == TOO_OLD_TO_EDIT):
                    raise
        # Discord posts only one message per nonce, so a second attempt adds none.
        newer = await channel.send(
            embed=drawn.embed, view=view, files=self._pictures(job), nonce=row.message_id or 0
        )
        await self._registry.show_in(row.guild_id, row.id, row.channel_id, newer.id)
        self._posted_at[job.id] = now
        with suppress(discord.NotFound):
            await message.delete()

    def _pictures(self, job: Job) -> list[discord.File]:
        """The learning curve of a finished job."""
        if job.model is None:
            return []
        curve = curve_of(self._files.model(job.model))
        return [discord.File(curve, PICTURE)] if curve.is_file() else []


def _but_for_samples(job: Job) -> tuple[JobState, StoredModel | None]:
    return job.state, job.model and replace(job.model, samples=None)


class TrainingButton(CogButton, kind="training", actions=TrainingAction, cog="RetrainCog"):
    """Does something with a job."""

    def __init__(self, action: TrainingAction, job_id: int):
        label, style = LABELS[action]
        super().__init__(action, job_id, label=label, style=style)


def buttons(drawn: Screen, job_id: int) -> ui.View:
    return view_of(*(TrainingButton(action, job_id) for action in drawn.actions))
