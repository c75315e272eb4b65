"""/words: what the bot never says in a server: show, add, remove."""

from io import BytesIO

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.choices import matching
from bot.interactions.answering import Answering, think
from bot.interactions.markup import MESSAGE_LIMIT, escape, utf16_length
from bot.interactions.permissions import admitted, server_of
from bot.storage.guilds import WORDS_LIMIT
from bot.words.lists import NeverSaid, split
from bot.words.matching import WORD_LIMIT, checked
from charrnn.sentences import counted

NONE = "This server has no list of words that I never say. Use /words add to begin one."
ALL = "What I never say in this server:\n{words}"
IN_FILE = "The file lists what I never say in this server."
ADDED = "From now on I never say that in this server. Its list has {words}. /words show shows them."
REMOVED = "{word} is no longer in this server's list."


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class WordsCog(
    commands.GroupCog,
    group_name="words",
    group_description="The words that I never say in this server: show, add, remove.",
):
    """Lets the admins of a server keep its list."""

    def __init__(self, never_said: NeverSaid):
        self._never_said = never_said

    @app_commands.command(description="Show the words that I never say in this server.")
    async def show(self, interaction: discord.Interaction) -> None:
        async with Answering(interaction):
            guild = admitted(interaction)
            await think(interaction, private=True)
            words = self._never_said.words(guild.id)
            content = ALL.format(words=escape("\n".join(words))) if words else NONE
            files = []
            if utf16_length(content) > MESSAGE_LIMIT:
                content = IN_FILE
                files = [discord.File(BytesIO("\n".join(words).encode()), "words.txt")]
            await interaction.edit_original_response(content=content, attachments=files)

    @app_commands.command(description="Never say these words in this server.")
    @app_commands.describe(
        words="Words or phrases, with commas between them: "
        f"{WORD_LIMIT} characters each, {WORDS_LIMIT} in all."
    )
    async def add(self, interaction: discord.Interaction, words: str) -> None:
        async with Answering(interaction):
            guild = admitted(interaction)
            await think(interaction, private=True)
            await self._never_said.add(guild.id, split(words))
            number = len(self._never_said.words(guild.id))
            content = ADDED.format(words=counted(number, "word"))
            await interaction.edit_original_response(content=content)

    @app_commands.command(
        description="Take a word off this server's list. I may say it again then."
    )
    @app_commands.describe(word="A word or phrase of the list.")
    async def remove(self, interaction: discord.Interaction, word: str) -> None:
        async with Answering(interaction):
            guild = admitted(interaction)
            await think(interaction, private=True)
            word = checked(word)
            await self._never_said.remove(guild.id, word)
            content = REMOVED.format(word=escape(word))
            await interaction.edit_original_response(content=content)

    @remove.autocomplete("word")
    async def _listed(
        self, interaction: discord.Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        guild = server_of(interaction)
        if guild is None or not interaction.permissions.manage_guild:
            return []
        return matching(self._never_said.words(guild.id), typed)
