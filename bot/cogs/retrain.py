"""/retrain: from a channel to a model that writes like it, each step shown in one message."""

import asyncio
import logging
from datetime import timedelta

import discord
from discord import app_commands
from discord.ext import commands, tasks

from bot.cogs.choices import admitted, model_choices
from bot.corpus.channel import MAX_MESSAGES
from bot.corpus.source import Text, chosen, of_channel
from bot.errors import BotError, RegistryError
from bot.interactions.answering import Answering
from bot.interactions.markup import permission_names
from bot.models.server_models import ServerModels
from bot.training.embeds import Action
from bot.training.message import TrainingMessages, caption
from bot.training.service import Retraining
from charrnn.errors import CharRNNError

log = logging.getLogger(__name__)

TICK_S = 1.0
RETRY_S = 30.0  # after the registry has failed
CLOCK_CHANGED = timedelta(seconds=10 * TICK_S)
DEFAULT_MESSAGES = 10_000
MAX_DAYS = 3650

# What the bot needs to show a training.
NEEDED = ("view_channel", "send_messages", "embed_links", "attach_files")

UNDER_WAY = "This is under way here. Cancel it if you want to begin another."
NOT_SHOWN = "It could not be shown."
FILE_AGAIN = (
    "It learnt from a file, which is deleted. Upload it again with /retrain: I leave out the "
    "messages of everybody who has opted out."
)


class Retrain(commands.Cog):
    """Trains models for servers, and shows how far they are."""

    def __init__(
        self,
        bot: commands.AutoShardedBot,
        retraining: Retraining,
        models: ServerModels,
        *,
        channels_allowed: bool,  # to be learnt from
        no_training: str | None = None,  # why there can be none
    ):
        self._messages = TrainingMessages(bot, retraining, models)
        self._retraining = retraining
        self._models = models
        self._channels_allowed = channels_allowed
        self._no_training = no_training

    async def cog_load(self) -> None:
        self._watch_on()

    async def cog_unload(self) -> None:
        self._watch.cancel()

    async def show_last(self) -> None:
        """Show how the trainings stand, once these have been stopped with the bot."""
        self._watch.cancel()
        for job_id in self._retraining.statuses():
            await self._messages.refresh(job_id, at_once=True)

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
        messages: app_commands.Range[int, 1, MAX_MESSAGES] = DEFAULT_MESSAGES,
        days: app_commands.Range[int, 1, MAX_DAYS] | None = None,
        file: discord.Attachment | None = None,
        base: str | None = None,
        name: str | None = None,
    ) -> None:
        async with Answering(interaction):
            guild = admitted(interaction)
            self._check_ready(interaction.app_permissions)
            text = await chosen(interaction, channel, messages, days, file, self._channels_allowed)
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
            if action in (Action.TRAIN, Action.RESUME):
                self._check_ready(interaction.app_permissions)
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
                    self._watch_on()
                case Action.USE:
                    await self._models.use(guild.id, job_id)
                    sentence = "In use: /write writes with it."
                    await caption(interaction, job_id, sentence, Action.ROLL_BACK)
                case Action.ROLL_BACK:
                    model = await self._models.roll_back(guild.id, job_id)
                    sentence = f"Rolled back: {model.name} is in use again."
                    await caption(interaction, job_id, sentence, Action.USE, Action.DISCARD)
                case Action.DISCARD:
                    await self._models.delete(guild.id, job_id, discard=True)
                    await caption(interaction, job_id, "Discarded.")
            await self._messages.refresh(job_id, at_once=True)

    def _check_ready(self, granted: discord.Permissions) -> None:
        """Raises BotError where no training can be begun, or shown."""
        if self._no_training:
            raise BotError(self._no_training, kind="not_allowed")
        if lacking := [name for name in NEEDED if not getattr(granted, name)]:
            raise BotError(
                f"To show a training here I need {permission_names(lacking)}. Grant that to my "
                "role.",
                kind="not_allowed",
            )

    async def _prepare(
        self,
        interaction: discord.Interaction,
        guild: discord.Guild,
        text: Text,
        base: str | None = None,
        name: str | None = None,
    ) -> None:
        """Get a training ready for Train, and show it in the answer to `interaction`."""
        status = await self._retraining.active(guild.id)
        if status is not None:
            await self._messages.show_here(interaction, status, UNDER_WAY)
            return
        status = await self._retraining.create(
            guild.id,
            interaction.user.id,
            interaction.channel_id or 0,
            name=name or await self._models.free_name(guild.id, text.name),
            base=base or self._models.shared[0],
            **text.described,
        )
        shown = False
        try:
            await self._messages.show_here(interaction, status)
            shown = True
        finally:
            if not shown:  # nobody could start or cancel it
                await self._retraining.cancel(guild.id, status.job.id, NOT_SHOWN)
        self._watch_on()
        try:
            await self._retraining.prepare(status.job, text.read)
        except (BotError, CharRNNError) as error:
            log.info("Training %d was not prepared: %s", status.job.id, error)
        await self._messages.refresh(status.job.id, at_once=True)

    async def _again(
        self, interaction: discord.Interaction, guild: discord.Guild, job_id: int
    ) -> None:
        """Begin anew what a model came of, now without those who have opted out."""
        self._check_ready(interaction.app_permissions)
        await interaction.response.defer(thinking=True)
        job = await self._retraining.job(guild.id, job_id)
        if job.source_channel_id is None:
            raise BotError(FILE_AGAIN, kind="not_allowed")
        place = guild.get_channel_or_thread(job.source_channel_id)
        named = f"<#{job.source_channel_id}>"
        assert isinstance(interaction.user, discord.Member)  # in a server
        messages = job.source_messages or DEFAULT_MESSAGES
        text = await of_channel(
            place, named, interaction.user, messages, job.source_days, self._channels_allowed
        )
        # A model of the server's may have learnt from them too, so not from `job.base`.
        base = job.base if job.base in self._models.shared else None
        name = await self._models.free_name(guild.id, job.name)
        await self._prepare(interaction, guild, text, base, name)

    @commands.Cog.listener()
    async def on_trainings_ended(self) -> None:
        """Somebody has opted out, or did not ask for a training in time."""
        self._watch_on()

    def _watch_on(self) -> None:
        """Watch the trainings, from the first one on."""
        if self._retraining.statuses() and not self._watch.is_running():
            self._watch.start()

    @tasks.loop(seconds=TICK_S)
    async def _watch(self) -> None:
        try:
            await self._retraining.tick()
            for job_id in self._retraining.statuses():
                await self._messages.refresh(job_id)
        except RegistryError:
            await asyncio.sleep(RETRY_S)  # the log says why
        due = self._watch.next_iteration
        if due is not None and abs(due - discord.utils.utcnow()) > CLOCK_CHANGED:
            self._watch.restart()  # or it would stand still for as long, or catch up every second

    @_watch.error
    async def _watch_failed(self, error: BaseException) -> None:
        log.error("The trainings' progress could not be followed.", exc_info=error)
        asyncio.get_running_loop().call_later(RETRY_S, self._watch_on)
