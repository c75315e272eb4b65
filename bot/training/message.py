"""The message in which a training is shown: posted, edited as it goes on, and its buttons."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakValueDictionary

import aiohttp
import discord
from discord import ui
from discord.ext import commands

from bot.interactions.buttons import CogButton
from bot.models.server_models import ServerModels
from bot.training.embeds import PICTURE, Action, Screen, screen
from bot.training.service import Retraining
from bot.training.statuses import Candidate, Ended, Status, is_final

log = logging.getLogger(__name__)

UNKNOWN_MESSAGE = 10008  # Discord's: somebody has deleted it
EDIT_INTERVAL_S = 5.0
POST_S = 60.0
NEW_MESSAGE_S = 55 * 60.0  # Discord lets a message be edited far less once it is an hour old

LABELS = {
    Action.TRAIN: ("Train", discord.ButtonStyle.success),
    Action.CANCEL: ("Cancel", discord.ButtonStyle.danger),
    Action.RESUME: ("Resume", discord.ButtonStyle.success),
    Action.USE: ("Use it", discord.ButtonStyle.success),
    Action.DISCARD: ("Discard", discord.ButtonStyle.danger),
    Action.ROLL_BACK: ("Roll back", discord.ButtonStyle.secondary),
    Action.AGAIN: ("Retrain without them", discord.ButtonStyle.primary),
}


@dataclass(frozen=True)
class _Shown:
    at: float  # time.monotonic
    screen: Screen | None  # None: that failed


class TrainingMessages:
    """Keeps the messages of trainings up to date, with the bot's own token."""

    def __init__(self, bot: commands.AutoShardedBot, retraining: Retraining, models: ServerModels):
        self._bot = bot
        self._retraining = retraining
        self._models = models
        self._shown: dict[int, _Shown] = {}  # by training,
        self._posted_at: dict[int, float] = {}  # and when its message was, by time.monotonic
        # Of two edits, the later is the last.
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def show_here(
        self, interaction: discord.Interaction, status: Status, content: str | None = None
    ) -> None:
        """Show a training in the answer to `interaction`, from now on, and no longer where it was
        shown before. `content`: what to say with it, unless it is over."""
        async with self._turn(status.job.id):
            await self._move(interaction, await self._retraining.status(status.job), content)

    async def _move(
        self, interaction: discord.Interaction, status: Status, content: str | None
    ) -> None:
        drawn, before = screen(status), status.job
        over = is_final(status) and not (isinstance(status, Ended) and status.resumable)
        message = await interaction.edit_original_response(
            content=None if over else content,
            embed=drawn.embed,
            view=buttons(drawn, status.job.id),
            attachments=self._files(status),
        )
        await self._retraining.show_in(status.job, message.channel.id, message.id)
        self._posted_at[status.job.id] = time.monotonic()
        self._shown[status.job.id] = _Shown(time.monotonic(), drawn)
        if status.job.id not in self._retraining.statuses():
            self._let_go(status.job.id)  # it has been over for long
        if before.message_id is not None:
            channel = self._bot.get_partial_messageable(before.channel_id)
            with suppress(discord.HTTPException):  # it may be gone already
                await channel.get_partial_message(before.message_id).delete()

    async def refresh(self, job_id: int, at_once: bool = False) -> None:
        """Bring a training's message up to date, if need be; and if it is time, or `at_once`."""
        async with self._turn(job_id):
            status = self._retraining.statuses().get(job_id)
            if status is not None:
                await self._bring_up_to_date(status, at_once)

    async def _bring_up_to_date(self, status: Status, at_once: bool) -> None:
        job, drawn, now = status.job, screen(status), time.monotonic()
        shown, final = self._shown.get(job.id), is_final(status)
        if job.message_id is not None and (shown is None or shown.screen != drawn):
            soon = shown is not None and now - shown.at < EDIT_INTERVAL_S
            failed = shown is not None and shown.screen is None
            if soon and not at_once and (failed or not final):
                return
            self._shown[job.id] = _Shown(now, None)
            try:
                async with asyncio.timeout(POST_S):  # the other trainings wait meanwhile
                    await self._post(status, drawn)
            except (discord.NotFound, discord.Forbidden) as error:
                log.warning("Training %d cannot be shown: %s", job.id, error)
                if final:
                    self._retraining.forget(status)
                    self._let_go(job.id)
                    return
            except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
                log.warning("Training %d could not be shown just now: %s", job.id, error)
                return
            self._shown[job.id] = _Shown(now, drawn)
        if final:
            await self._retraining.mark_shown(status)
            self._let_go(job.id)

    def _let_go(self, job_id: int) -> None:
        self._shown.pop(job_id, None)
        self._posted_at.pop(job_id, None)

    def _turn(self, job_id: int) -> asyncio.Lock:
        return self._turns.setdefault(job_id, asyncio.Lock())

    async def _post(self, status: Status, drawn: Screen) -> None:
        job = status.job
        channel = self._bot.get_partial_messageable(job.channel_id, guild_id=job.guild_id)
        message = channel.get_partial_message(job.message_id or 0)
        view, files = buttons(drawn, job.id), self._files(status)
        now = time.monotonic()
        if job.id not in self._posted_at:  # not by this process; of the two clocks, one may be off
            age = discord.utils.utcnow() - message.created_at
            self._posted_at[job.id] = now - age.total_seconds()
        if now - self._posted_at[job.id] < NEW_MESSAGE_S:
            try:
                await message.edit(embed=drawn.embed, view=view, attachments=files)
                return
            except discord.NotFound as error:
                if error.code != UNKNOWN_MESSAGE or not is_final(status):
                    raise  # the progress need not be seen, what it comes to must be
                files = self._files(status)
        # Discord posts one message for a nonce, so an attempt after a time-out adds none.
        newer = await channel.send(
            embed=drawn.embed, view=view, files=files, nonce=job.message_id or 0
        )
        self._posted_at[job.id] = now
        await self._retraining.show_in(job, job.channel_id, newer.id)
        with suppress(discord.NotFound):
            await message.delete()

    def _files(self, status: Status) -> list[discord.File]:
        """The learning curve, where there is one."""
        if isinstance(status, Candidate) and (curve := self._models.curve(status.model)):
            return [discord.File(curve, PICTURE)]
        return []


class TrainingButton(CogButton, kind="training", actions=Action, cog="Retrain"):
    """Does something with a training, whose id is its number."""

    def __init__(self, action: Action, job_id: int):
        label, style = LABELS[action]
        super().__init__(action, job_id, label=label, style=style)


def buttons(drawn: Screen, job_id: int) -> ui.View:
    """Those of a screen."""
    view = ui.View(timeout=None)
    for action in drawn.actions:
        view.add_item(TrainingButton(action, job_id))
    return view


async def caption(
    interaction: discord.Interaction, job_id: int, sentence: str, *actions: Action
) -> None:
    """Say under a model what has become of it, and what may be done now."""
    assert interaction.message is not None  # buttons stand under messages
    embed = interaction.message.embeds[0].set_footer(text=sentence)
    if interaction.message.attachments:
        embed.set_image(url=f"attachment://{PICTURE}")
    view = buttons(Screen(embed, actions), job_id)
    await interaction.edit_original_response(embed=embed, view=view)
