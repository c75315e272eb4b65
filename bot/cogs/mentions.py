"""Answers to messages that mention the bot, and /mentions, which says where it answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.generate import GenerateCog, end_of, reply_buttons, text_of
from bot.corpus.message import as_message
from bot.errors import BotError, RegistryError
from bot.inference.writer import Writer
from bot.interactions.answering import Answering, OutcomeLog, think
from bot.interactions.permissions import admitted, missing_to_reply, names, remedy
from bot.interactions.rate_limits import Cooldown
from bot.interactions.reply import as_shown
from bot.interactions.retries import REFUSALS, post
from bot.models.reference import ModelReference
from bot.models.server_models import ServerModels
from bot.storage.records import Mentions
from bot.storage.registry import Registry
from charrnn.sampling import Sampling
from charrnn.sentences import few

MENTION = "mention"  # in log and metrics
SENTENCES_S = 60.0  # between two refusals in one channel, so that they never flood it
TYPING_AFTER_S = 1.0  # "typing…" costs a request, and most texts take less than that
SHOWN_CHANNELS = 20

HINT = (
    "Add some words, and I go on from them. In reply to a text of mine, the mention alone goes on "
    "from that text."
)
NOWHERE = (
    "I do not answer mentions in this server. An admin can switch that on with "
    "`/mentions answer:on`."
)
HOW = "Mention me with some words, or reply to me, and I go on from the words."

Place = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel


class MentionsCog(commands.Cog):
    """Continues the words of messages that mention the bot, and of direct messages.

    One message at a time is answered in a channel. Of those that come meanwhile, the first waits
    and the others are dropped."""

    def __init__(
        self,
        bot: commands.AutoShardedBot,
        generate: GenerateCog,
        writer: Writer,
        models: ServerModels,
        registry: Registry,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._bot = bot
        self._generate = generate
        self._writer = writer
        self._models = models
        self._registry = registry
        # By channel, while a message is answered there: the one that waits, if any.
        self._waiting: dict[int, discord.Message | None] = {}
        self._sentences = Cooldown(SENTENCES_S, clock)  # by channel

    async def cog_load(self) -> None:
        _drop_other_messages(self._bot)

    @app_commands.command(description="See or set whether I answer when somebody mentions me.")
    @app_commands.describe(
        answer="Whether I answer. Default: only show where I do.",
        channel="Only in this channel and its threads. Default: in the whole server.",
    )
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    async def mentions(
        self,
        interaction: discord.Interaction,
        answer: Literal["on", "off"] | None = None,
        channel: Place | None = None,
    ) -> None:
        async with Answering(interaction):
            guild = admitted(interaction)
            await think(interaction, private=True)
            if answer is not None:
                place = channel and channel.id
                await self._registry.answer_mentions(guild.id, place, answer == "on")
            sentences = [describe(await self._registry.mentions(guild.id), guild)]
            if answer == "on" and channel and (lacking := missing_to_reply(channel, guild.me)):
                sentences.append(f"There I still need {names(lacking)}. {remedy(guild.me)}")
            await interaction.edit_original_response(content="\n".join(sentences))

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        if not self._is_addressed(message):
            return
        channel_id = message.channel.id
        if channel_id in self._waiting:
            self._waiting[channel_id] = self._waiting[channel_id] or message
            return
        following: discord.Message | None = message
        try:
            while following is not None:
                self._waiting[channel_id] = None
                await self._answer(following)
                following = self._waiting[channel_id]
        finally:
            del self._waiting[channel_id]

    def _is_addressed(self, message: discord.Message) -> bool:
        """Whether a person has written this to the bot, which may reply."""
        said = as_message(message)
        if said.automatic or said.system:
            return False
        if isinstance(message.channel, discord.DMChannel):
            return True
        if message.guild is None or not message.content:
            return False  # without content: Discord hides it, or it is only a picture
        lacking = missing_to_reply(message.channel, message.guild.me)
        return lacking is not None and not lacking

    async def _answer(self, message: discord.Message) -> None:
        if message.guild is not None:
            try:
                mentions = await self._registry.mentions(message.guild.id)
            except RegistryError:
                return  # it is in the log, and nobody knows whether to answer here
            if not mentions.answered_in(_channel_id(message.channel)):
                return
        async with AnsweringMention(message, self._bot, self._sentences):
            turn_of = (message.guild or message.author).id
            self._generate.admit(turn_of, message.author.id)
            async with _typing(message.channel):
                model, seed = await self._prompt(message)
                reply = await self._writer.write(
                    model,
                    seed,
                    Sampling.temperature,
                    guild_id=message.guild and message.guild.id,
                    turn_of=turn_of,
                )
            view = reply_buttons(message.author.id, reply.temperature, private=False)
            await _reply(message, reply.render(), view=view)

    async def _prompt(self, message: discord.Message) -> tuple[ModelReference, str]:
        """The model, and the words to go on from: those of the message; else those of the message
        that it replies to. Raises BotError if there are none."""
        model = await self._models.in_use(message.guild and message.guild.id)
        if as_shown(words := text_of(message, self._bot.user)):
            return model, words
        replied_to = message.reference and message.reference.resolved
        if isinstance(replied_to, discord.Message):
            text = text_of(replied_to, self._bot.user)
            if as_shown(text):
                return model, end_of(text, model.window)
        raise BotError(HINT, "no_words")


class AnsweringMention(OutcomeLog):
    """Answers an exception in its body with a sentence, at most once in SENTENCES_S in a channel,
    since everybody there sees it."""

    kind = "Mention"

    def __init__(self, message: discord.Message, bot: commands.AutoShardedBot, pace: Cooldown):
        super().__init__(bot, message.id, message.guild and message.guild.id)
        self._message = message
        self._pace = pace

    @property
    def command(self) -> str:
        return MENTION

    async def say(self, outcome: str, sentence: str) -> None:
        if outcome != "lost":
            with suppress(BotError):  # too soon after another sentence here
                self._pace.check(self._message.channel.id)
                await _reply(self._message, sentence)


def describe(mentions: Mentions, guild: discord.Guild) -> str:
    """Where in a server mentions are answered, for people."""
    others = [
        channel.mention
        for channel in guild.channels
        if mentions.answered_in(channel.id) is not mentions.everywhere
    ]
    shown = few(others, SHOWN_CHANNELS)
    if mentions.everywhere:
        return f"I answer mentions in this server{f', but not in {shown}' if shown else ''}. {HOW}"
    return f"I answer mentions in {shown}. {HOW}" if shown else NOWHERE


def _channel_id(place: Any) -> int:
    """A thread follows its channel."""
    return place.parent_id if isinstance(place, discord.Thread) else place.id


async def _reply(message: discord.Message, content: str, **options: Any) -> None:
    await post(
        message.channel, content, nonce=message.id, reference=message.to_reference(), **options
    )


@asynccontextmanager
async def _typing(channel: discord.abc.Messageable) -> AsyncIterator[None]:
    """Show "typing…" if the body takes long."""
    task = asyncio.create_task(_type(channel))
    try:
        yield
    finally:
        task.cancel()


async def _type(channel: discord.abc.Messageable) -> None:
    await asyncio.sleep(TYPING_AFTER_S)
    with suppress(*REFUSALS):  # only the answer matters
        await channel.typing()


def _drop_other_messages(bot: commands.AutoShardedBot) -> None:
    """Look only at messages that mention the bot, and at direct messages. For each other one
    discord.py would make objects and start tasks: ten times the work of reading the event."""
    parsers = bot._connection.parsers
    create = parsers["MESSAGE_CREATE"]

    def create_if_addressed(event: Mapping[str, Any]) -> None:
        me = str(bot.user.id) if bot.user else ""
        if "guild_id" not in event or any(user["id"] == me for user in event["mentions"]):
            create(event)

    parsers["MESSAGE_CREATE"] = create_if_addressed
    parsers.pop("MESSAGE_UPDATE")
