"""/retrain: from channels or a file to a model that writes like them, shown in one message."""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands, tasks

from bot.cogs.choices import ModelName, model_choices
from bot.corpus.channel import CHANNEL_TYPES, MAX_MESSAGES
from bot.corpus.source import NO_CHANNELS, ReadableSource, chosen, from_channels, from_file
from bot.errors import BotError, RegistryError
from bot.interactions.answering import Answering, keep_answer, think
from bot.interactions.buttons import not_yours
from bot.interactions.permissions import admitted, check_can_answer, check_in_thread
from bot.models.server_models import ServerModels
from bot.storage.records import Source
from bot.training.choice import ChannelChoice, ChoiceAction
from bot.training.embeds import TrainingAction
from bot.training.message import TrainingMessages
from bot.training.service import TrainingService
from charrnn.errors import CharRNNError

log = logging.getLogger(__name__)

TICK_S = 1.0
RETRY_S = 30.0  # after the registry has failed
CLOCK_CHANGED = timedelta(seconds=10 * TICK_S)
DEFAULT_MESSAGES = 10_000
MAX_DAYS = 3650

UNDER_WAY = "This one is not over. Cancel it if you want to start another."
FILE_AGAIN = (
    "That model learnt from a file, which has been deleted. Upload the file again with /retrain: I "
    "leave out the messages of everybody who has opted out."
)


Place = app_commands.AppCommandChannel | app_commands.AppCommandThread


class Messages(app_commands.Transformer):
    """Offers the places that hold messages. Discord.py's own would refuse archived threads, which
    it does not keep."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        return CHANNEL_TYPES

    async def transform(self, interaction: discord.Interaction, value: Place) -> Place:
        del interaction
        return value


class RetrainCog(commands.Cog):
    """Trains models for servers, and shows the progress."""

    def __init__(
        self,
        training: TrainingService,
        messages: TrainingMessages,
        models: ServerModels,
        *,
        channels_allowed: bool,  # as sources
        blocked: str | None,  # why nothing can be trained
    ):
        self._training = training
        self._messages = messages
        self._models = models
        self._channels_allowed = channels_allowed
        self._blocked = blocked

    async def cog_load(self) -> None:
        self._training.on_change = self._models.on_change = self._start_watching
        if await self._training.jobs():  # from before a restart
            self._start_watching()

    async def cog_unload(self) -> None:
        self._watch.cancel()

    async def show_last(self) -> None:
        """Show how the jobs stand when the bot stops."""
        self._watch.cancel()
        for job in await self._training.jobs():
            await self._messages.show_now(job.row.guild_id, job.id)

    @app_commands.command(description="Teach me to write like channels of yours, or like a file.")
    @app_commands.describe(
        channel="The channel to learn from. Default: choose several.",
        messages="Learn from at most this many messages, newest first. "
        f"Default: {DEFAULT_MESSAGES:,}.",
        days="Leave out messages that are older than this many days.",
        file="Learn from a file: a text, or a chat (DiscordChatExporter, WhatsApp, Telegram, …).",
        base="The model to start from. Default: chat.",
        name="The name of the new model.",
    )
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    async def retrain(
        self,
        interaction: discord.Interaction,
        channel: app_commands.Transform[Place, Messages] | None = None,
        messages: app_commands.Range[int, 1, MAX_MESSAGES] = DEFAULT_MESSAGES,
        days: app_commands.Range[int, 1, MAX_DAYS] | None = None,
        file: discord.Attachment | None = None,
        base: ModelName | None = None,
        name: ModelName | None = None,
    ) -> None:
        async with Answering(interaction):
            guild = admitted(interaction)
            self._check_possible(interaction, guild)
            base = base or self._models.shipped[0]
            source = chosen(interaction, channel, messages, days, file, self._channels_allowed)
            await think(interaction, private=False)
            await check_in_thread(interaction, guild.me)
            if source is None:
                here = (interaction.channel_id or 0,)
                choice = ChannelChoice(interaction.user.id, here, messages, days, base, name)
                await self._offer(interaction, guild, choice)
                return
            if file is not None:
                readable = from_file(guild, file)
            else:
                granted = channel.permissions if channel else interaction.permissions
                readable = await from_channels(guild, source, _member(interaction), granted)
            await self._prepare(interaction, guild, readable, base, name)

    @retrain.autocomplete("base")
    async def _bases(
        self, interaction: discord.Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        return await model_choices(self._models, interaction, typed)

    async def choose(self, interaction: discord.Interaction, action: ChoiceAction) -> None:
        """Do what the select or a button under the question for channels says."""
        async with Answering(interaction):
            guild = admitted(interaction)
            assert interaction.message is not None  # it holds the select
            choice = ChannelChoice.shown_in(interaction.message)
            if interaction.user.id != choice.asker_id:
                raise not_yours(choice.asker_id, "Use /retrain yourself.")
            if action is ChoiceAction.CHOOSE:
                data: Any = interaction.data
                choice = replace(choice, channel_ids=tuple(map(int, data["values"])))
                await interaction.response.edit_message(view=choice.view())
                return
            await interaction.response.defer()
            if action is ChoiceAction.CANCEL:
                await interaction.delete_original_response()
                return
            self._check_possible(interaction, guild)
            if not self._channels_allowed:
                raise BotError(NO_CHANNELS, "not_allowed")
            source = Source("", choice.channel_ids, choice.messages, choice.days)
            readable = await from_channels(guild, source, _member(interaction))
            await self._prepare(interaction, guild, readable, choice.base, choice.name)

    async def press(
        self, interaction: discord.Interaction, action: TrainingAction, job_id: int
    ) -> None:
        """Do what a button under a job says."""
        async with Answering(interaction):
            guild = admitted(interaction)
            if action is TrainingAction.AGAIN:
                await self._again(interaction, guild, job_id)
                return
            if action in (TrainingAction.TRAIN, TrainingAction.RESUME):
                self._check_possible(interaction, guild)
            await interaction.response.defer()
            note = ""
            match action:
                case TrainingAction.TRAIN | TrainingAction.RESUME:
                    await self._training.enqueue(guild.id, job_id)
                case TrainingAction.CANCEL:
                    await self._training.cancel(guild.id, job_id)
                    note = f"Cancelled by {interaction.user.mention}."
                case TrainingAction.USE:
                    await self._models.use(guild.id, job_id)
                case TrainingAction.ROLL_BACK:
                    before = await self._models.roll_back(guild.id, job_id)
                    note = f"Rolled back to {before.name}."
                case TrainingAction.DISCARD:
                    await self._models.delete(guild.id, job_id, unless_in_use=True)
                    note = f"Discarded by {interaction.user.mention}."
            await self._messages.answer(interaction, guild.id, job_id, note)

    def _check_possible(self, interaction: discord.Interaction, guild: discord.Guild) -> None:
        """Raises BotError when nothing can be trained, or a job could not be shown here."""
        if self._blocked:
            raise BotError(self._blocked, "not_allowed")
        check_can_answer(interaction, guild.me)

    async def _offer(
        self, interaction: discord.Interaction, guild: discord.Guild, choice: ChannelChoice
    ) -> None:
        """Ask which channels to learn from."""
        if job := await self._training.unfinished_job(guild.id):
            await self._messages.show_here(interaction, job, UNDER_WAY)
            return
        await self._training.check(guild.id, choice.name, choice.base)
        await interaction.edit_original_response(content=str(choice), view=choice.view())

    async def _prepare(
        self,
        interaction: discord.Interaction,
        guild: discord.Guild,
        source: ReadableSource,
        base: str,
        name: str | None = None,
    ) -> None:
        """Get a job ready for Train, and show it in the answer to `interaction`."""
        if job := await self._training.unfinished_job(guild.id):
            await self._messages.show_here(interaction, job, UNDER_WAY)
            return
        job = await self._training.create(
            guild.id,
            interaction.user.id,
            interaction.channel_id or 0,
            name=name,
            base=base,
            source=source.source,
        )
        try:
            await self._messages.show_here(interaction, job)
        except BaseException:  # nobody could start or cancel it
            self._training.abandon(job)
            raise
        keep_answer(interaction)
        try:
            await self._training.prepare(job.row, source.read)
        except (BotError, CharRNNError) as error:
            log.info("Training %d was not prepared: %s", job.id, error)
        await self._messages.show_now(guild.id, job.id)

    async def _again(
        self, interaction: discord.Interaction, guild: discord.Guild, job_id: int
    ) -> None:
        """Start the same job anew, without the people who have opted out."""
        self._check_possible(interaction, guild)
        await think(interaction, private=False)
        row = (await self._training.job(guild.id, job_id)).row
        if not row.source.channel_ids:
            raise BotError(FILE_AGAIN, "not_allowed")
        if not self._channels_allowed:
            raise BotError(NO_CHANNELS, "not_allowed")
        await check_in_thread(interaction, guild.me)
        source = await from_channels(guild, row.source, _member(interaction))
        # A model of the server's own may have learnt from the same people.
        base = row.base if row.base_id is None else self._models.shipped[0]
        await self._prepare(interaction, guild, source, base)

    def _start_watching(self) -> None:
        # Not before the first job: most bots are started for nothing but writing.
        if not self._watch.is_running():
            self._watch.start()

    @tasks.loop(seconds=TICK_S)
    async def _watch(self) -> None:
        try:
            for job in await self._training.tick():
                await self._messages.refresh(job)
        except RegistryError:
            await asyncio.sleep(RETRY_S)  # the reason is in the log
        due = self._watch.next_iteration
        if due is not None and abs(due - discord.utils.utcnow()) > CLOCK_CHANGED:
            # Otherwise the loop would stand still until then, or run without a pause.
            self._watch.restart()

    @_watch.error
    async def _watch_failed(self, error: BaseException) -> None:
        log.error("Following the trainings failed. I try again soon.", exc_info=error)
        asyncio.get_running_loop().call_later(RETRY_S, self._start_watching)


def _member(interaction: discord.Interaction) -> discord.Member:
    assert isinstance(interaction.user, discord.Member)  # in a server
    return interaction.user
