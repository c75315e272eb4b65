"""/privacy: what is kept about a person, and how to opt out; and the servers that left the bot."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from io import BytesIO

import aiohttp
import discord
from discord import app_commands, ui
from discord.ext import commands, tasks

from bot.cogs.models import Action as ModelAction
from bot.cogs.models import ModelButton
from bot.errors import BotError
from bot.interactions.answering import Answering
from bot.interactions.buttons import CogButton, not_yours
from bot.interactions.markup import NEUTRAL, counted, day, escape
from bot.models.embeds import EMBED_LIMIT, kept_file, kept_text
from bot.storage.records import StoredModel, TrainingJob
from bot.storage.registry import Registry
from bot.training.embeds import Action as TrainingAction
from bot.training.message import TrainingButton
from bot.training.service import Retraining

log = logging.getLogger(__name__)

DAY_S = 86_400

STILL_THERE = (
    "Somebody whose messages **{name}**, made on {day}, learnt from has opted out. A model cannot "
    "forget a part of what it has learnt, so it holds that until you delete it. "
)
FROM_A_CHANNEL = (
    "**Retrain without them** starts the same training again, without what they wrote; delete "
    "{name} once you have the new one."
)
FROM_A_FILE = (
    "It learnt from a file, which I do not keep. Upload that again with /retrain: I leave out what "
    "they wrote. Delete {name} once you have the new one."
)
OUT = "You have opted out: from now on nothing learns from what you write."
IN = "You have opted in again: the models of servers may learn from what you write there."


class Action(StrEnum):
    """What the buttons do."""

    OPT_OUT = "optout"
    OPT_IN = "optin"


LABELS = {
    Action.OPT_OUT: ("Opt out", discord.ButtonStyle.danger),
    Action.OPT_IN: ("Opt in", discord.ButtonStyle.secondary),
}


class Privacy(commands.Cog):
    """Tells people what is kept about them, and forgets what is not to be kept."""

    def __init__(
        self,
        bot: commands.AutoShardedBot,
        registry: Registry,
        retraining: Retraining,
        *,
        forget_after_days: float,  # a server that has removed the bot
        clock: Callable[[], float] = time.time,
    ):
        self._bot = bot
        self._registry = registry
        self._retraining = retraining
        self._forget_after_s = int(forget_after_days * DAY_S)
        self._clock = clock
        self._told: set[tuple[int, int]] = set()  # of which person's opting out, for which model

    async def cog_unload(self) -> None:
        self._forget.cancel()

    @app_commands.command(description="What I keep about you, and how to opt out of it.")
    async def privacy(self, interaction: discord.Interaction) -> None:
        async with Answering(interaction):
            await interaction.response.defer(thinking=True, ephemeral=True)
            await self._show(interaction)

    async def press(self, interaction: discord.Interaction, action: Action, owner: int) -> None:
        """Do what a button under /privacy says."""
        async with Answering(interaction):
            if interaction.user.id != owner:
                raise not_yours(owner, "Use /privacy yourself.")
            await interaction.response.defer()
            if action is Action.OPT_OUT:
                await asyncio.to_thread(self._registry.opt_out, owner)
                models = await self._retraining.without(owner)
                self._bot.dispatch("trainings_ended")
                sentence = f"{OUT} {await self._tell_admins(owner, models)}"
            else:
                await asyncio.to_thread(self._registry.opt_in, owner)
                sentence = IN
            await self._show(interaction, sentence)

    async def _show(self, interaction: discord.Interaction, sentence: str | None = None) -> None:
        person = interaction.user.id
        kept = await self._retraining.kept_about(person)
        texts_kept = self._retraining.keeps_texts
        text = kept_text(kept, self._server_name, texts_kept=texts_kept)
        files = []
        if len(text) > EMBED_LIMIT:
            whole = kept_file(kept, self._server_name, texts_kept=texts_kept)
            files = [discord.File(BytesIO(whole.encode()), "kept.txt")]
            text = "It is more than fits in here: see the file."
        action = Action.OPT_OUT if kept.opted_out_at is None else Action.OPT_IN
        view = ui.View(timeout=None)
        view.add_item(PrivacyButton(action, person))
        embed = discord.Embed(title="What I keep about you", description=text, colour=NEUTRAL)
        await interaction.edit_original_response(
            content=sentence, embed=embed, view=view, attachments=files
        )

    def _server_name(self, guild_id: int) -> str:
        guild = self._bot.get_guild(guild_id)
        return guild.name if guild else f"Server {guild_id}"

    async def _tell_admins(self, person: int, models: Sequence[StoredModel]) -> str:
        """Tell the servers whose models hold what somebody wrote; return a sentence on that."""
        if not models:
            return "No model has learnt from you."
        for model in models:
            if (person, model.id) not in self._told and await self._tell(model):
                self._told.add((person, model.id))
        missed = {model.guild_id for model in models if (person, model.id) not in self._told}
        told = {model.guild_id for model in models} - missed
        sentence = (
            f"{counted(len(models), 'model')} learnt from you before; a model cannot forget a part "
            f"of that. I have told the admins of {counted(len(told), 'server')}, who can train it "
            "again without you."
        )
        if missed:
            sentence += f" Those of {counted(len(missed), 'server')} I could not reach."
        return sentence

    async def _tell(self, model: StoredModel) -> bool:
        """Tell a server's admins, never whose messages they were; whether that was possible."""
        job = await self._retraining.job(model.guild_id, model.id)
        text = STILL_THERE + (FROM_A_FILE if job.source_channel_id is None else FROM_A_CHANNEL)
        text = text.format(name=escape(model.name), day=day(model.created_at))
        for channel in self._channels(job):
            try:
                await channel.send(text, view=_admin_buttons(job))
            except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
                log.warning("Channel %d of server %d: %s", channel.id, model.guild_id, error)
            else:
                return True
        log.warning(
            "Model %d of server %d holds what somebody wrote who has opted out, and its admins "
            "could not be told. Tell them.",
            model.id,
            model.guild_id,
        )
        return False

    def _channels(self, job: TrainingJob) -> list[discord.PartialMessageable | discord.TextChannel]:
        """Where a server's admins may be told: where the training was shown, or else where
        Discord itself tells them things."""
        shown_in = self._bot.get_partial_messageable(job.channel_id, guild_id=job.guild_id)
        guild = self._bot.get_guild(job.guild_id)
        system = guild.system_channel if guild else None
        return [shown_in, system] if system and system.id != shown_in.id else [shown_in]

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        await asyncio.to_thread(self._registry.mark_present, guild.id)

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        # Not called for a server that is unavailable for a while.
        await asyncio.to_thread(self._registry.mark_removed, guild.id)
        await self._retraining.leave_guild(guild.id)

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        if not self._forget.is_running():
            self._forget.start()

    @tasks.loop(hours=24)
    async def _forget(self) -> None:
        """Delete what has been kept long enough."""
        try:
            await self._retraining.expire(self._clock())
            self._bot.dispatch("trainings_ended")
            known = await asyncio.to_thread(self._registry.guilds)
            # Not `bot.guilds`: what went while the connection was lost stays in it.
            fetched = self._bot.fetch_guilds(limit=None, with_counts=False)
            here = {guild.id async for guild in fetched}  # those unavailable are among them
            for guild_id in await asyncio.to_thread(self._mark, known, here):
                await self._retraining.leave_guild(guild_id)
            grace_s = self._forget_after_s
            for guild_id in await asyncio.to_thread(self._registry.guilds_to_forget, grace_s):
                if self._serves(guild_id):
                    await self._retraining.forget_guild(guild_id)
        except (BotError, OSError, aiohttp.ClientError, discord.HTTPException) as error:
            log.warning("Not all that is due was deleted; the rest is tomorrow: %s", error)

    def _mark(self, known: Collection[int], here: Collection[int]) -> list[int]:
        """Note which of the servers that are `known` have removed the bot, and which have not;
        return those that have, perhaps while the bot was not there to be told."""
        served = [guild_id for guild_id in known if self._serves(guild_id)]
        for guild_id in served:
            mark = self._registry.mark_present if guild_id in here else self._registry.mark_removed
            mark(guild_id)
        return [guild_id for guild_id in served if guild_id not in here]

    def _serves(self, guild_id: int) -> bool:
        """Whether a server is one of this process's, not of another's."""
        ids = self._bot.shard_ids
        return ids is None or (guild_id >> 22) % (self._bot.shard_count or 1) in ids


class PrivacyButton(CogButton, kind="privacy", actions=Action, cog=Privacy.__cog_name__):
    """For one person, whose id is its number."""

    def __init__(self, action: Action, owner: int):
        label, style = LABELS[action]
        super().__init__(action, owner, label=label, style=style)


def _admin_buttons(job: TrainingJob) -> ui.View:
    view = ui.View(timeout=None)
    if job.source_channel_id is not None:
        view.add_item(TrainingButton(TrainingAction.AGAIN, job.id))
    view.add_item(ModelButton(ModelAction.DELETE, job.id))
    return view
