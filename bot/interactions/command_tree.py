"""The command tree: handles each interaction once, and answers errors."""

import logging
from typing import Any

import discord
from cachetools import LRUCache
from discord import app_commands

from bot.interactions.answering import answer_error

log = logging.getLogger(__name__)

REMEMBERED = 10_000  # interactions


class Tree(app_commands.CommandTree[Any]):
    """Handles each interaction once: after a lost connection, Discord may deliver one again."""

    def __init__(self, client: discord.Client):
        super().__init__(client)
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
