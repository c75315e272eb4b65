"""/retrain: from a channel to a model that writes like it, each step shown in one message."""

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

import aiohttp
import discord
from discord import app_commands, ui
from discord.ext import commands, tasks

from bot import history, uploads
from bot.answers import Answering
from bot.cogs.choices import admitted, model_choices
from bot.errors import BotError, NotAllowedError, RegistryError
from bot.retraining import Read, Retraining
from bot.screens import PICTURE, Action, Screen, screen
from bot.server_models import ServerModels
from bot.statuses import Candidate, Ended, Status
from bot.tree import AnsweredOnce
from charrnn.errors import CharRNNError

log = logging.getLogger(__name__)

TICK_S = 1.0
RETRY_S = 30.0  # after the registry has failed
EDIT_INTERVAL_S = 5.0
POST_S = 60.0
NEW_MESSAGE_S = 55 * 60.0  # Discord lets a message be edited far less once it is an hour old
DEFAULT_MESSAGES = 10_000
MAX_DAYS = 3650

LABELS = {
    Action.TRAIN: ("Train", discord.ButtonStyle.success),
    Action.CANCEL: ("Cancel", discord.ButtonStyle.danger),
    Action.RESUME: ("Resume", discord.ButtonStyle.success),
    Action.USE: ("Use it", discord.ButtonStyle.success),
    Action.DISCARD: ("Discard", discord.ButtonStyle.danger),
    Action.ROLL_BACK: ("Roll back", discord.ButtonStyle.secondary),
    Action.AGAIN: ("Retrain without them", discord.ButtonStyle.primary),
}
# What the bot needs to show a training.
NEEDED = ("view_channel", "send_messages", "embed_links", "attach_files")

NO_CHANNELS = (
    "This bot does not learn from channels: Discord's Developer Policy forbids it without "
    "Discord's permission, and the bot's operator has not switched it on. Upload what it is to "
    "learn from as `file`: a .txt, or a channel as DiscordChatExporter writes it to .json."
)

FILE_AGAIN = (
    "It learnt from a file, which is deleted. Upload it again with /retrain: I leave out the "
    "messages of everybody who has opted out."
)


@dataclass(frozen=True)
class _Text:
    """What a training is to learn from."""

    name: str  # that the model gets if it gets no other
    described: dict[str, Any]  # for the registry
    read: Read


@dataclass(frozen=True)
class _Shown:
    at: float  # time.monotonic
    screen: Screen | None  # None: that failed


class Retrain(commands.Cog):
    """Trains models for servers, and shows how far they are."""

    def __init__(
        self,
        bot: commands.AutoShardedBot,
        retraining: Retraining,
        models: ServerModels,
        *,
        channels_allowed: bool,  # to be learnt from
    ):
        self._bot = bot
        self._retraining = retraining
        self._models = models
        self._channels_allowed = channels_allowed
        self._shown: dict[int, _Shown] = {}  # by training,
        self._posted_at: dict[int, float] = {}  # and when its message was, by time.monotonic

    async def cog_load(self) -> None:
        self._watch_on()

    async def cog_unload(self) -> None:
        self._watch.cancel()

    async def show_last(self) -> None:
        """Show how the trainings stand, once these have been stopped with the bot."""
        self._watch.cancel()
        for job_id in self._retraining.statuses():
            await self._refresh(job_id, at_once=True)

    @app_commands.command(description="Teach me to write like a channel of yours, or like a file.")
    @app_commands.describe(
        channel="Whose messages to learn from. This one, if you name neither it nor a file.",
        messages="How many of them at most, the newest first. Usually 10,000.",
        days="None that are older than so many days.",
        file="Learn from this instead: a .txt, or a channel as DiscordChatExporter writes .json.",
        base="The model to start from. Usually chat.",
        name="What the new model is to be called.",
    )
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    async def retrain(
        self,
        interaction: discord.Interaction,
        channel: app_commands.AppCommandChannel | app_commands.AppCommandThread | None = None,
        messages: app_commands.Range[int, 1, history.MAX_MESSAGES] = DEFAULT_MESSAGES,
        days: app_commands.Range[int, 1, MAX_DAYS] | None = None,
        file: discord.Attachment | None = None,
        base: str | None = None,
        name: str | None = None,
    ) -> None:
        async with Answering(interaction):
            guild = admitted(interaction)
            _check_permissions(interaction.app_permissions)
            text = self._text(interaction, channel, messages, days, file)
            await interaction.response.defer(thinking=True)
            await self._prepare(interaction, guild, text, base, name)

    @retrain.autocomplete("base")
    async def _bases(
        self, interaction: discord.Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        return await model_choices(self._models, interaction, typed)

    async def press(self, interaction: discord.Interaction, action: Action, job_id: int) -> None:
        """Do what a button under a training says."""
        async with Answering(interaction):
            guild = admitted(interaction)
            if action is Action.AGAIN:
                await self._again(interaction, guild, job_id)
                return
            await interaction.response.defer()
            match action:
                case Action.TRAIN:
                    await self._retraining.start(guild.id, job_id)
                case Action.RESUME:
                    await self._retraining.resume(guild.id, job_id)
                    self._watch_on()
                case Action.CANCEL:
                    sentence = f"Cancelled by {interaction.user.mention}."
                    await self._retraining.cancel(guild.id, job_id, sentence)
                case Action.USE:
                    await self._models.use(guild.id, job_id)
                    sentence = "In use: /write writes with it."
                    await _caption(interaction, job_id, sentence, Action.ROLL_BACK)
                case Action.ROLL_BACK:
                    model = await self._models.roll_back(guild.id, job_id)
                    sentence = f"Rolled back: {model.name} is in use again."
                    await _caption(interaction, job_id, sentence, Action.USE, Action.DISCARD)
                case Action.DISCARD:
                    await self._models.delete(guild.id, job_id)
                    await _caption(interaction, job_id, "Discarded.")
            await self._refresh(job_id, at_once=True)

    async def _prepare(
        self,
        interaction: discord.Interaction,
        guild: discord.Guild,
        text: _Text,
        base: str | None = None,
        name: str | None = None,
    ) -> None:
        """Get a training ready for Train, and show it in the answer to `interaction`."""
        status = await self._retraining.active(guild.id)
        if status is not None:  # show what there is
            await self._show_here(interaction, status)
            return
        status = await self._retraining.create(
            guild.id,
            interaction.user.id,
            interaction.channel_id or 0,
            name=name or await self._models.free_name(guild.id, text.name),
            base=base or self._models.shared[0],
            **text.described,
        )
        await self._show_here(interaction, status)
        self._watch_on()
        try:
            await self._retraining.prepare(status.job, text.read)
        except (BotError, CharRNNError) as error:
            log.info("Training %d was not prepared: %s", status.job.id, error)
        await self._refresh(status.job.id, at_once=True)

    async def _again(
        self, interaction: discord.Interaction, guild: discord.Guild, job_id: int
    ) -> None:
        """Begin anew what a model came of, now without those who have opted out."""
        _check_permissions(interaction.app_permissions)
        await interaction.response.defer(thinking=True)
        job = await self._retraining.job(guild.id, job_id)
        if job.source_channel_id is None:
            raise NotAllowedError(FILE_AGAIN)
        place = guild.get_channel_or_thread(job.source_channel_id)
        named = f"<#{job.source_channel_id}>"
        assert isinstance(interaction.user, discord.Member)  # in a server
        theirs = place.permissions_for(interaction.user) if place else discord.Permissions.none()
        messages = job.source_messages or DEFAULT_MESSAGES
        text = self._channel_text(place, named, theirs, messages, job.source_days)
        # A model of the server's may have learnt from them too, so not from `job.base`.
        base = job.base if job.base in self._models.shared else None
        name = await self._models.free_name(guild.id, job.name)
        await self._prepare(interaction, guild, text, base, name)

    def _text(
        self,
        interaction: discord.Interaction,
        channel: app_commands.AppCommandChannel | app_commands.AppCommandThread | None,
        messages: int,
        days: int | None,
        file: discord.Attachment | None,
    ) -> _Text:
        """Raises NotAllowedError and HistoryError."""
        if file is not None:
            if channel is not None:
                raise NotAllowedError("Name a channel or a file, not both.")
            read = partial(_read_file, file)
            stem = file.filename.rpartition(".")[0]
            return _Text(stem, {"source": f"the file {file.filename}"}, read)
        if channel is None:
            place, named, theirs = interaction.channel, "this channel", interaction.permissions
        else:
            place, named, theirs = channel.resolve(), channel.mention, channel.permissions
        return self._channel_text(place, named, theirs, messages, days)

    def _channel_text(
        self,
        place: object,
        named: str,
        theirs: discord.Permissions,
        messages: int,
        days: int | None,
    ) -> _Text:
        """For somebody who has `theirs` there. Raises NotAllowedError and HistoryError."""
        if not self._channels_allowed:
            raise NotAllowedError(NO_CHANNELS)
        if not isinstance(place, history.Channel):
            raise NotAllowedError(
                f"I cannot see {named}. Give my role View Channel and Read Message History there, "
                "or name another channel to /retrain."
            )
        if not (theirs.view_channel and theirs.read_message_history):
            raise NotAllowedError(f"You may not read {place.mention} yourself.")
        history.check_readable(place)
        source = f"#{place.name}, the newest {messages:,} messages"
        described = {
            "source": source if days is None else f"{source} of {days:,} days",
            "source_channel_id": place.id,
            "source_messages": messages,
            "source_days": days,
        }
        after = discord.utils.utcnow() - timedelta(days=days) if days else None
        return _Text(place.name, described, partial(_read_channel, place, messages, after))

    async def _show_here(self, interaction: discord.Interaction, status: Status) -> None:
        """Show a training in the answer to `interaction`, from now on."""
        drawn = screen(status)
        message = await interaction.edit_original_response(
            embed=drawn.embed, view=_buttons(drawn, status.job.id), attachments=self._files(status)
        )
        await self._retraining.show_in(status.job, message.channel.id, message.id)
        self._posted_at[status.job.id] = time.monotonic()
        self._shown[status.job.id] = _Shown(time.monotonic(), drawn)

    def _watch_on(self) -> None:
        """Watch the trainings, from the first one on."""
        if self._retraining.statuses() and not self._watch.is_running():
            self._watch.start()

    @tasks.loop(seconds=TICK_S)
    async def _watch(self) -> None:
        try:
            await self._retraining.tick()
            for job_id in self._retraining.statuses():
                await self._refresh(job_id)
        except RegistryError:
            await asyncio.sleep(RETRY_S)  # the log says why

    @_watch.error
    async def _watch_failed(self, error: BaseException) -> None:
        log.error("The trainings' progress could not be followed.", exc_info=error)
        await asyncio.sleep(RETRY_S)
        self._watch.restart()

    async def _refresh(self, job_id: int, at_once: bool = False) -> None:
        """Bring a training's message up to date, if need be; and if it is time, or `at_once`."""
        status = self._retraining.statuses().get(job_id)
        if status is None or status.job.message_id is None:
            return
        drawn, now = screen(status), time.monotonic()
        shown = self._shown.get(job_id)
        moving = not isinstance(status, Candidate | Ended)
        if shown is not None:
            soon = now - shown.at < EDIT_INTERVAL_S and (moving or shown.screen is None)
            if shown.screen == drawn or (soon and not at_once):
                return
        self._shown[job_id] = _Shown(now, None)
        try:
            async with asyncio.timeout(POST_S):  # the other trainings wait meanwhile
                await self._post(status, drawn)
        except (discord.NotFound, discord.Forbidden) as error:
            # /retrain shows it again.
            log.warning("Training %d cannot be shown: %s", job_id, error)
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            log.warning("Training %d could not be shown just now: %s", job_id, error)
            return
        self._shown[job_id] = _Shown(now, drawn)
        if not moving and not (isinstance(status, Ended) and status.resumable):
            self._retraining.forget(job_id)
            self._shown.pop(job_id, None)
            self._posted_at.pop(job_id, None)

    async def _post(self, status: Status, drawn: Screen) -> None:
        job = status.job
        channel = self._bot.get_partial_messageable(job.channel_id, guild_id=job.guild_id)
        message = channel.get_partial_message(job.message_id or 0)
        view, files = _buttons(drawn, job.id), self._files(status)
        now = time.monotonic()
        if job.id not in self._posted_at:  # not by this process; of the two clocks, one may be off
            age = discord.utils.utcnow() - message.created_at
            self._posted_at[job.id] = now - age.total_seconds()
        if now - self._posted_at[job.id] < NEW_MESSAGE_S:
            await message.edit(embed=drawn.embed, view=view, attachments=files)
            return
        newer = await channel.send(embed=drawn.embed, view=view, files=files)
        self._posted_at[job.id] = now
        await self._retraining.show_in(job, job.channel_id, newer.id)
        await message.delete()

    def _files(self, status: Status) -> list[discord.File]:
        """The learning curve, where there is one."""
        if isinstance(status, Candidate) and (curve := self._models.curve(status.model)):
            return [discord.File(curve, PICTURE)]
        return []


class TrainingButton(
    AnsweredOnce,
    ui.DynamicItem[ui.Button[Any]],
    template=rf"training:(?P<action>{'|'.join(Action)}):(?P<job>\d+)",
):
    """A button that says in its id what it does with which training."""

    def __init__(self, action: Action, job_id: int):
        self._action = action
        self._job_id = job_id
        label, style = LABELS[action]
        button = ui.Button[Any](label=label, style=style, custom_id=f"training:{action}:{job_id}")
        super().__init__(button)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str]
    ) -> Self:
        del interaction, item  # all that matters is in the id
        return cls(Action(match["action"]), int(match["job"]))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.client.get_cog(Retrain.__cog_name__).press(
            interaction, self._action, self._job_id
        )


async def _read_channel(
    channel: history.Channel, messages: int, after: datetime | None, *to: Any
) -> Any:
    destination, opted_out, count = to
    return await history.read_channel(
        channel, destination, opted_out=opted_out, limit=messages, after=after, progress=count
    )


async def _read_file(file: discord.Attachment, *to: Any) -> Any:
    destination, opted_out, _ = to
    return await uploads.read_file(file, destination, opted_out=opted_out)


def _check_permissions(granted: discord.Permissions) -> None:
    """Raises NotAllowedError."""
    lacking = [name for name in NEEDED if not getattr(granted, name)]
    if lacking:
        named = " and ".join(name.replace("_", " ").title() for name in lacking)
        raise NotAllowedError(f"To show a training here I need {named}. Grant that to my role.")


def _buttons(drawn: Screen, job_id: int) -> ui.View:
    view = ui.View(timeout=None)
    for action in drawn.actions:
        view.add_item(TrainingButton(action, job_id))
    return view


async def _caption(
    interaction: discord.Interaction, job_id: int, sentence: str, *actions: Action
) -> None:
    """Say under a model what has become of it, and what may be done now."""
    assert interaction.message is not None  # buttons stand under messages
    embed = interaction.message.embeds[0].set_footer(text=sentence)
    if interaction.message.attachments:
        embed.set_image(url=f"attachment://{PICTURE}")
    view = _buttons(Screen(embed, actions), job_id)
    await interaction.edit_original_response(embed=embed, view=view)
