"""What the commands about models share: who may use them, and which models there are to choose."""

from collections.abc import Iterable

import discord
from discord import app_commands

from bot.errors import BotError
from bot.models.server_models import ServerModels

SHOWN_CHOICES = 25  # Discord's limit


def admitted(interaction: discord.Interaction) -> discord.Guild:
    """The server, of somebody who may change its models. Raises BotError."""
    if interaction.guild is None:
        raise BotError("That works in a server that has invited me, not here.", kind="not_allowed")
    if not interaction.permissions.manage_guild:
        raise BotError(
            "That takes the permission Manage Server, which you do not have.", kind="not_allowed"
        )
    return interaction.guild


async def model_choices(
    models: ServerModels, interaction: discord.Interaction, typed: str
) -> list[app_commands.Choice[str]]:
    """The models that a server may write with or train from."""
    return fitting(await models.names(interaction.guild_id), typed)


def fitting(names: Iterable[str], typed: str) -> list[app_commands.Choice[str]]:
    """Those that hold what was typed; no more than Discord shows."""
    found = [name for name in names if typed.casefold() in name.casefold()]
    return [app_commands.Choice(name=name, value=name) for name in found[:SHOWN_CHOICES]]
