"""The command tree: handles each interaction once, answers errors, and says where commands are."""

import logging
from typing import Any, TypeVar

import discord
from cachetools import LRUCache
from discord import app_commands

from bot.interactions.answering import answer_error

log = logging.getLogger(__name__)

REMEMBERED = 10_000  # interactions

Command = TypeVar("Command")


def everywhere(command: Command) -> Command:
    """A decorator: offer a command also in all servers, direct messages and group messages of
    people who have installed the bot for themselves."""
    installed = app_commands.allowed_installs(guilds=True, users=True)
    places = app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    return installed(places(command))


class Tree(app_commands.CommandTree[Any]):
    """Handles each interaction once: after a lost connection, Discord may deliver one again."""

    def __init__(self, client: discord.Client):
        # Not left to Discord, whose default depends on the application's settings.
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(guild=True),
            allowed_installs=app_commands.AppInstallationType(guild=True),
        )
        self._seen: LRUCache[int, bool] = LRUCache(REMEMBERED)
        self.error(answer_error)

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        return self.is_new(interaction)

    def is_new(self, interaction: discord.Interaction) -> bool:
        """True the first time that an interaction arrives."""
        if interaction.id in self._seen:
            log.info("Interaction %d arrived again.", interaction.id)
            return False
        self._seen[interaction.id] = True
        return True
