"""/shakespeare, /write and "Continue this", and the buttons under their replies."""

import re
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum

import discord
from discord import app_commands, ui
from discord.ext import commands

from bot.cogs.choices import CHOICE_LIMIT, ModelName, matching, model_choices
from bot.corpus.message import as_message
from bot.errors import BotError
from bot.inference.queue import Inference
from bot.inference.writer import MAX_RANDOM_SEED, Writer
from bot.interactions.answering import Answering, think
from bot.interactions.buttons import CogButton, not_yours, view_of
from bot.interactions.command_tree import everywhere
from bot.interactions.markup import escape
from bot.interactions.permissions import server_of
from bot.interactions.rate_limits import Cooldown
from bot.interactions.reply import Reply, as_shown
from bot.models.reference import ModelReference
from bot.models.server_models import ServerModels
from charrnn.errors import OptionError
from charrnn.generation import speaker_called
from charrnn.sampling import Sampling
from charrnn.text.messages import readable

MAX_TEMPERATURE = 2.0
TEMPERATURE_STEP = 0.2

# What a reply can show beside its text and footer. The model reads the last hundred.
SEED_LIMIT = 1300  # characters
Seed = app_commands.Range[str, 1, SEED_LIMIT]
Speaker = app_commands.Range[str, 1, CHOICE_LIMIT]
Temperature = app_commands.Range[float, 0.0, MAX_TEMPERATURE]
RandomSeed = app_commands.Range[int, 0, MAX_RANDOM_SEED]

SEED_OPTION = "The text to continue."
TEMPERATURE_OPTION = (
    f"How daring: 0 plays safe and repeats itself, {MAX_TEMPERATURE:g} is wild. "
    f"Default: {Sampling.temperature}."
)
SPEAKER_OPTION = "Who says it, such as Hamlet. The answer goes on with their speech."
PRIVATE_OPTION = "Show the reply only to you."
RANDOM_SEED_OPTION = "The number under an earlier reply, to get the same text again."

NO_TEXT = "That message has no text to go on from. Choose one with words in it."


class ReplyAction(StrEnum):
    """What the buttons under a reply do."""

    REROLL = "reroll"  # replace the text by another one
    CONTINUE = "continue"  # go on from its end in a new message
    HOTTER = "hotter"  # write it again at a higher temperature
    COLDER = "colder"  # or at a lower one
    SHARE = "share"  # post a private reply for everybody


LOOKS = {
    ReplyAction.REROLL: ("Reroll", "🎲"),
    ReplyAction.CONTINUE: ("Continue", "✍️"),
    ReplyAction.HOTTER: ("Hotter", "🔥"),
    ReplyAction.COLDER: ("Colder", "❄️"),
    ReplyAction.SHARE: ("Show everyone", "📣"),
}


class GenerateCog(commands.Cog):
    """Answers with texts that the models write."""

    def __init__(
        self,
        inference: Inference,
        writer: Writer,
        shakespeare: ModelReference,
        models: ServerModels,
        cooldown: Cooldown,
    ):
        self._inference = inference
        self._writer = writer
        self._shakespeare = shakespeare
        self._models = models
        self._cooldown = cooldown
        # discord.py has no decorator for it in cogs.
        self.menu = app_commands.ContextMenu(name="Continue this", callback=self._continue_this)

    @app_commands.command(description="Continue your text in the style of Shakespeare.")
    @everywhere
    @app_commands.describe(
        seed=SEED_OPTION,
        speaker=SPEAKER_OPTION,
        temperature=TEMPERATURE_OPTION,
        private=PRIVATE_OPTION,
        random_seed=RANDOM_SEED_OPTION,
    )
    @app_commands.rename(speaker="as")
    async def shakespeare(
        self,
        interaction: discord.Interaction,
        seed: Seed,
        speaker: Speaker | None = None,
        temperature: Temperature = Sampling.temperature,
        private: bool = False,
        random_seed: RandomSeed | None = None,
    ) -> None:
        async with Answering(interaction):
            if speaker is not None:
                # The seed carries the name, so buttons keep it.
                seed = f"{_speaker(self._shakespeare, speaker)}:\n{seed}"
            self.admit(_server(interaction), interaction.user.id)
            await think(interaction, private=private)
            await self._write(
                interaction, self._shakespeare, seed, temperature, random_seed, private=private
            )

    @shakespeare.autocomplete("speaker")
    async def _speakers(
        self, interaction: discord.Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        del interaction
        return matching(self._shakespeare.speakers, typed)

    @app_commands.command(description="Continue your text in the style of this server.")
    @everywhere
    @app_commands.describe(
        seed=SEED_OPTION,
        model="The model to write with. Default: the one in use in this server.",
        temperature=TEMPERATURE_OPTION,
        private=PRIVATE_OPTION,
        random_seed=RANDOM_SEED_OPTION,
    )
    async def write(
        self,
        interaction: discord.Interaction,
        seed: Seed,
        model: ModelName | None = None,
        temperature: Temperature = Sampling.temperature,
        private: bool = False,
        random_seed: RandomSeed | None = None,
    ) -> None:
        async with Answering(interaction):
            self.admit(_server(interaction), interaction.user.id)
            await think(interaction, private=private)
            server = server_of(interaction)
            if model is None:
                reference = await self._models.in_use(server and server.id)
            else:
                reference = await self._models.find(server and server.id, model)
            await self._write(
                interaction, reference, seed, temperature, random_seed, private=private
            )

    @write.autocomplete("model")
    async def _choices(
        self, interaction: discord.Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        return await model_choices(self._models, interaction, typed)

    @everywhere
    async def _continue_this(
        self, interaction: discord.Interaction, message: discord.Message
    ) -> None:
        """Go on from a message that somebody picked, with the model in use."""
        async with Answering(interaction):
            text = text_of(message, interaction.client.user)
            if not as_shown(text):
                raise BotError(NO_TEXT, "not_found")
            self.admit(_server(interaction), interaction.user.id)
            private = message.flags.ephemeral
            await think(interaction, private=private)
            server = server_of(interaction)
            model = await self._models.in_use(server and server.id)
            seed = end_of(text, model.window)
            await self._write(interaction, model, seed, private=private)

    async def press(
        self, interaction: discord.Interaction, action: ReplyAction, owner: int
    ) -> None:
        """Handle a click on a button under a reply that `owner` asked for."""
        async with Answering(interaction):
            if interaction.user.id != owner:
                raise not_yours(owner, "Ask for a text of your own with /shakespeare.")
            message = interaction.message
            assert message is not None  # buttons are under messages
            reply = Reply.parse(message.content)
            if action is ReplyAction.SHARE:
                public = reply_buttons(owner, reply.temperature, private=False)
                # The button goes with the click, so nobody shows a reply twice.
                await interaction.response.edit_message(view=public)
                server = server_of(interaction)
                allowed = self._writer.allowed(reply, guild_id=server and server.id)
                content = message.content if allowed == reply else allowed.render()
                await interaction.followup.send(content, view=public)
                return
            self.admit(_server(interaction), interaction.user.id)
            private = message.flags.ephemeral
            if action is ReplyAction.CONTINUE:  # in a new message
                await think(interaction, private=private)
            else:
                await interaction.response.defer()
            model = await self._model_of(reply, server_of(interaction))
            seed, temperature, random_seed = reply.seed, reply.temperature, None
            if action is ReplyAction.CONTINUE:
                seed = end_of(reply.seed + reply.text, model.window)
            elif action is not ReplyAction.REROLL:
                step = TEMPERATURE_STEP if action is ReplyAction.HOTTER else -TEMPERATURE_STEP
                temperature = min(max(reply.temperature + step, 0.0), MAX_TEMPERATURE)
                random_seed = reply.rng_seed
            await self._write(interaction, model, seed, temperature, random_seed, private=private)

    async def _model_of(self, reply: Reply, server: discord.Guild | None) -> ModelReference:
        """The model that wrote a reply. Raises BotError if the server has deleted it."""
        if reply.model == self._shakespeare.name:
            return self._shakespeare
        return await self._models.find(server and server.id, reply.model)

    def admit(self, turn_of: int, person: int) -> None:
        """Raises BotError. Does not wait, so it can run before the deferral."""
        self._inference.check_room(turn_of)
        self._cooldown.check(person)

    async def _write(
        self,
        interaction: discord.Interaction,
        model: ModelReference,
        seed: str,
        temperature: float = Sampling.temperature,
        random_seed: int | None = None,
        *,
        private: bool,
    ) -> None:
        server = server_of(interaction)
        reply = await self._writer.write(
            model,
            seed,
            temperature,
            random_seed,
            guild_id=server and server.id,
            turn_of=_server(interaction),
        )
        view = reply_buttons(interaction.user.id, reply.temperature, private)
        await interaction.edit_original_response(content=reply.render(), view=view)


class ReplyButton(CogButton, kind="reply", actions=ReplyAction, cog=GenerateCog.__cog_name__):
    """A button under a reply. Its number is the id of the user who may click it."""

    def __init__(self, action: ReplyAction, owner: int, disabled: bool = False):
        label, emoji = LOOKS[action]
        super().__init__(action, owner, label=label, emoji=emoji, disabled=disabled)


def _speaker(model: ModelReference, typed: str) -> str:
    """The speaker of that name, in any case. Raises BotError if the model knows no such speaker."""
    try:
        return speaker_called(typed, model.name, model.speakers)
    except OptionError as error:
        raise BotError(escape(str(error)), "not_found") from error


def text_of(message: discord.Message, me: discord.ClientUser | None) -> str:
    """What a message says, without mentions of the bot; of a reply of the bot's, seed and text.
    Empty if it has no text."""
    if me is not None and message.author.id == me.id:
        with suppress(ValueError):  # not every message of the bot is a reply
            reply = Reply.parse(message.content)
            return reply.seed + reply.text
    contents = [message.content, *(forwarded.content for forwarded in message.message_snapshots)]
    content = next(filter(None, contents), "")
    if me is not None:
        content = re.sub(rf"<@!?{me.id}> ?", "", content)
    return readable(replace(as_message(message), content=content))


def end_of(text: str, window: int) -> str:
    """The end of `text` that fills the window, from the start of a word."""
    words = re.compile(r"\s").finditer(text, 0, max(0, len(text) - window))
    starts = [match.end() for match in words]
    return text[starts[-1] if starts else 0 :]


def _server(interaction: discord.Interaction) -> int:
    """Who takes turns in the queue: servers, and users in private messages."""
    return interaction.guild_id or interaction.user.id


def reply_buttons(owner: int, temperature: float, private: bool) -> ui.View:
    """The buttons under a reply that `owner` asked for."""
    share = [ReplyButton(ReplyAction.SHARE, owner)] if private else []
    return view_of(
        ReplyButton(ReplyAction.REROLL, owner),
        ReplyButton(ReplyAction.CONTINUE, owner),
        ReplyButton(ReplyAction.HOTTER, owner, temperature >= MAX_TEMPERATURE),
        ReplyButton(ReplyAction.COLDER, owner, temperature <= 0),
        *share,
    )
