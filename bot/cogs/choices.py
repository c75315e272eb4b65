"""What the commands about models share: who may use them, and which models there are to choose."""

import discord
from discord import app_commands

from bot.errors import NotAllowedError
from bot.server_models import ServerModels

SHOWN_CHOICES = 25  # Discord's limit


def admitted(interaction: discord.Interaction) -> discord.Guild:
    """The server, of somebody who may change its models. Raises NotAllowedError."""
    if interaction.guild is None:
        raise NotAllowedError("That works in a server that has invited me, not here.")
    if not interaction.permissions.manage_guild:
        raise NotAllowedError("That takes the permission Manage Server, which you do not have.")
    return interaction.guild


async def model_choices(
    models: ServerModels, interaction: discord.Interaction, typed: str
) -> list[app_commands.Choice[str]]:
    """The models whose names hold what was typed; no more than Discord shows."""
    names = await models.names(interaction.guild_id)
    fitting = [name for name in names if typed.casefold() in name.casefold()]
    return [app_commands.Choice(name=name, value=name) for name in fitting[:SHOWN_CHOICES]]
