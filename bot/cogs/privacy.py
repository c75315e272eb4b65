"""/privacy: what is kept about a person, and opting out; and forgetting servers that left."""

import logging
import time
from collections.abc import Callable
from enum import StrEnum
from io import BytesIO

import discord
from discord import app_commands, ui
from discord.ext import commands, tasks

from bot.cogs.models import ModelAction, ModelButton
from bot.errors import BotError
from bot.interactions.answering import Answering, show, think
from bot.interactions.buttons import CogButton, not_yours, view_of
from bot.interactions.command_tree import everywhere
from bot.interactions.markup import EMBED_LIMIT, MESSAGE_LIMIT, NEUTRAL, day, escape
from bot.interactions.permissions import EMBEDS, FILES, may_send
from bot.interactions.retries import REFUSALS
from bot.privacy import Privacy
from bot.storage.records import KeptAbout, StoredModel
from bot.storage.registry import Registry
from bot.training.embeds import TrainingAction
from bot.training.message import TrainingButton
from bot.training.service import TrainingService
from bot.words.lists import NeverSaid
from charrnn.sentences import counted

log = logging.getLogger(__name__)

DAY_S = 86_400

STILL_THERE = (
    "Somebody whose messages **{name}**, made on {day}, learnt from has opted out. A model cannot "
    "forget a part of what it has learnt, so only deleting it helps. "
)
FROM_A_CHANNEL = (
    "**Retrain without them** starts the same training again, without what they wrote. Delete "
    "{name} once you have the new model."
)
FROM_A_FILE = (
    "It learnt from a file, which I did not keep. Upload the file again with /retrain: I leave out "
    "what they wrote. Delete {name} once you have the new model."
)
TEXT_LIMIT = MESSAGE_LIMIT // 2  # where no embed is shown; leaves room for a sentence
TOO_LONG = "The list is too long to show here. Use /privacy in a direct message to me."
IN_FILE = "The list is too long to show here. It is in the file."
OUT = "You have opted out: from now on no model learns from what you write."
IN = "You have opted in again: servers may train their models on what you write there."


class PrivacyAction(StrEnum):
    """What the buttons do."""

    OPT_OUT = "optout"
    OPT_IN = "optin"


LABELS = {
    PrivacyAction.OPT_OUT: ("Opt out", discord.ButtonStyle.danger),
    PrivacyAction.OPT_IN: ("Opt in", discord.ButtonStyle.secondary),
}


class PrivacyCog(commands.Cog):
    """Tells people what is kept about them, lets them opt out, and deletes what is due."""

    def __init__(
        self,
        bot: commands.AutoShardedBot,
        privacy: Privacy,
        registry: Registry,
        training: TrainingService,
        never_said: NeverSaid,
        *,
        forget_after_days: float,  # a server that has removed the bot
        clock: Callable[[], float] = time.time,
    ):
        self._bot = bot
        self._privacy = privacy
        self._registry = registry
        self._training = training
        self._never_said = never_said
        self._forget_after_s = int(forget_after_days * DAY_S)
        self._clock = clock

    async def cog_unload(self) -> None:
        self._daily.cancel()

    @app_commands.command(description="What I keep about you, and how to opt out.")
    @everywhere
    async def privacy(self, interaction: discord.Interaction) -> None:
        async with Answering(interaction):
            await think(interaction, private=True)
            await self._show(interaction, await self._registry.kept_about(interaction.user.id))

    async def press(
        self, interaction: discord.Interaction, action: PrivacyAction, owner: int
    ) -> None:
        """Do what a button under /privacy says."""
        async with Answering(interaction):
            if interaction.user.id != owner:
                raise not_yours(owner, "Use /privacy yourself.")
            await interaction.response.defer()
            if action is PrivacyAction.OPT_OUT:
                await self._privacy.opt_out(owner)
                await self._training.cancel_using_opted_out()
                await self._tell_admins()
                kept = await self._registry.kept_about(owner)
                sentence = f"{OUT} {await self._admins_told(kept)}"
            else:
                await self._registry.opt_in(owner)
                kept = await self._registry.kept_about(owner)
                sentence = IN
            await self._show(interaction, kept, sentence)

    async def _show(
        self, interaction: discord.Interaction, kept: KeptAbout, sentence: str | None = None
    ) -> None:
        text = self._privacy.describe(kept, self._server_name)
        files = []
        if len(text) > (EMBED_LIMIT if may_send(interaction, EMBEDS) else TEXT_LIMIT):
            text = TOO_LONG
            if may_send(interaction, FILES):
                whole = self._privacy.describe_plainly(kept, self._server_name)
                files = [discord.File(BytesIO(whole.encode()), "kept.txt")]
                text = IN_FILE
        action = PrivacyAction.OPT_OUT if kept.opted_out_at is None else PrivacyAction.OPT_IN
        view = view_of(PrivacyButton(action, interaction.user.id))
        embed = discord.Embed(title="What I keep about you", description=text, colour=NEUTRAL)
        await show(interaction, embed, sentence, view=view, attachments=files)

    def _server_name(self, guild_id: int) -> str:
        guild = self._bot.get_guild(guild_id)
        return guild.name if guild else f"Server {guild_id}"

    async def _admins_told(self, kept: KeptAbout) -> str:
        """A sentence on the models that learnt from somebody, and whether their admins know."""
        if not kept.models:
            return "No model has learnt from you."
        untold = {model.id for model in await self._registry.untold_models()}
        missed = {model.guild_id for model in kept.models if model.id in untold}
        told = {model.guild_id for model in kept.models} - missed
        sentence = (
            f"{counted(len(kept.models), 'model')} learnt from you before, and a model cannot "
            "forget a part of what it has learnt."
        )
        if told:
            sentence += (
                f" I have told the admins of {counted(len(told), 'server')}, who can train it "
                "again without you."
            )
        if missed:
            sentence += f" I could not reach the admins of {counted(len(missed), 'server')} yet."
        return sentence

    async def _tell_admins(self) -> None:
        """Tell admins that a model of theirs learnt from somebody who has opted out, but not from
        whom. The next call tries again to reach the others."""
        for model in await self._registry.untold_models():
            if await self._tell(model):
                await self._registry.mark_told(model.id)

    async def _tell(self, model: StoredModel) -> bool:
        text = STILL_THERE + (FROM_A_CHANNEL if model.source.channel_ids else FROM_A_FILE)
        text = text.format(name=escape(model.name), day=day(model.created_at))
        for channel in await self._admin_channels(model):
            try:
                # One message for a nonce: an attempt after a time-out adds none.
                await channel.send(text, view=_admin_buttons(model), nonce=model.id)
            except REFUSALS as error:
                log.warning("Channel %d of server %d: %s", channel.id, model.guild_id, error)
            else:
                return True
        log.warning(
            "Model %d of server %d learnt from somebody who has opted out, and I could not tell "
            "its admins. I try again every day.",
            model.id,
            model.guild_id,
        )
        return False

    async def _admin_channels(
        self, model: StoredModel
    ) -> list[discord.PartialMessageable | discord.TextChannel]:
        """Where a server's admins read: the channel of the training; else the system channel."""
        job = await self._registry.job(model.guild_id, model.id)
        shown_in = self._bot.get_partial_messageable(job.channel_id, guild_id=job.guild_id)
        guild = self._bot.get_guild(job.guild_id)
        system = guild.system_channel if guild else None
        return [shown_in, system] if system and system.id != shown_in.id else [shown_in]

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        await self._registry.mark_present(guild.id)

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        # Discord does not send this for a server that is unavailable for a while.
        await self._registry.mark_removed(guild.id)
        await self._training.cancel_in(guild.id)

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        if not self._daily.is_running():
            self._daily.start()

    @tasks.loop(hours=24)
    async def _daily(self) -> None:
        """Tell admins who could not be reached before, and delete what is due."""
        try:
            await self._tell_admins()
            await self._training.cancel_expired(self._clock())
            # Not `bot.guilds`, which keeps servers that were left while the connection was lost.
            fetched = self._bot.fetch_guilds(limit=None, with_counts=False)
            present = {guild.id async for guild in fetched}  # unavailable ones are among them
            for guild_id in await self._registry.mark_guilds(present):
                await self._training.cancel_in(guild_id)
            for guild_id in await self._registry.guilds_to_forget(self._forget_after_s):
                if await self._privacy.forget_guild(guild_id):
                    self._never_said.forget(guild_id)
                    log.info("Server %d removed me. I have deleted what I kept of it.", guild_id)
        except (BotError, *REFUSALS) as error:
            log.warning("Not everything that is due was deleted. I go on tomorrow: %s", error)


class PrivacyButton(CogButton, kind="privacy", actions=PrivacyAction, cog=PrivacyCog.__cog_name__):
    """For one person, whose id it carries."""

    def __init__(self, action: PrivacyAction, owner: int):
        label, style = LABELS[action]
        super().__init__(action, owner, label=label, style=style)


def _admin_buttons(model: StoredModel) -> ui.View:
    delete = ModelButton(ModelAction.DELETE, model.id)
    if not model.source.channel_ids:
        return view_of(delete)
    return view_of(TrainingButton(TrainingAction.AGAIN, model.id), delete)
