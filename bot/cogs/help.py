"""/help: what the bot does, and what is switched on where somebody asks."""

from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.mentions import describe
from bot.interactions.answering import Answering, show, think
from bot.interactions.command_tree import everywhere
from bot.interactions.markup import NEUTRAL, escape
from bot.interactions.permissions import invite_link, server_of
from bot.models.server_models import ServerModels
from bot.storage.registry import Registry
from bot.words.lists import NeverSaid
from charrnn.sentences import counted

MENU = (
    "**{name}**: right-click a message, or hold it on a phone, choose Apps, and I go on from its "
    "words."
)
BUTTONS = (
    "Under an answer, **Reroll** writes another text, **Continue** goes on, **Hotter** is more "
    "daring and **Colder** less. **Show everyone** is under private answers."
)
ELSEWHERE = (
    "`/write` writes with **{default}**. A server that invites me can teach me its own voice: "
    "<{link}>"
)
NO_MENTIONS = "I do not answer mentions: my operator has not switched that on."
CHANNELS = {
    True: "Its admins may let me learn from channels and files.",
    False: "Its admins may let me learn from files, but not from channels.",
}


class HelpCog(commands.Cog):
    """Explains the commands to the person who asks."""

    def __init__(
        self,
        tree: app_commands.CommandTree[Any],
        models: ServerModels,
        registry: Registry,
        never_said: NeverSaid,
        *,
        channels_allowed: bool,  # as sources of training texts
        mentions_allowed: bool,  # to be answered
    ):
        self._tree = tree
        self._models = models
        self._registry = registry
        self._never_said = never_said
        self._channels_allowed = channels_allowed
        self._mentions_allowed = mentions_allowed

    @app_commands.command(description="What I can do, and what is switched on here.")
    @everywhere
    async def help(self, interaction: discord.Interaction) -> None:
        async with Answering(interaction):
            await think(interaction, private=True)
            menus = self._tree.get_commands(type=discord.AppCommandType.message)
            lines = [
                *self._commands(for_admins=False),
                *(MENU.format(name=menu.name) for menu in menus),
                BUTTONS,
            ]
            embed = discord.Embed(
                title="What I can do", description="\n".join(lines), colour=NEUTRAL
            )
            server = server_of(interaction)
            if server is None:
                link = invite_link(interaction.application_id)
                here = ELSEWHERE.format(default=self._models.shipped[0], link=link)
                embed.add_field(name="Here", value=here, inline=False)
            else:
                here = "\n".join(await self._switched_on(server))
                embed.add_field(name="In this server", value=here, inline=False)
                if interaction.permissions.manage_guild:
                    admins = "\n".join(self._commands(for_admins=True))
                    embed.add_field(name="For its admins, such as you", value=admins, inline=False)
            await show(interaction, embed)

    def _commands(self, *, for_admins: bool) -> list[str]:
        """One line each."""
        return [
            f"`/{command.qualified_name}`: {command.description}"
            for command in self._tree.walk_commands()
            if isinstance(command, app_commands.Command)
            and bool((command.root_parent or command).default_permissions) is for_admins
        ]

    async def _switched_on(self, server: discord.Guild) -> list[str]:
        model = await self._registry.model_in_use(server.id)
        name = model.name if model else self._models.shipped[0]
        words = counted(len(self._never_said.words(server.id)), "word")
        return [
            f"`/write` writes with **{escape(name)}**.",
            describe(await self._registry.mentions(server.id), server)
            if self._mentions_allowed
            else NO_MENTIONS,
            f"This server's list of what I never say has {words}.",
            CHANNELS[self._channels_allowed],
        ]
