"""Who may use the commands about models, and which models they offer."""

from collections.abc import Iterable

import discord
from discord import app_commands

from bot.errors import BotError
from bot.models.server_models import ServerModels

SHOWN_CHOICES = 25  # Discord's limit


def admitted(interaction: discord.Interaction) -> discord.Guild:
    """The server of somebody who may change its models. Raises BotError for everybody else."""
    if interaction.guild is None:
        raise BotError("That works only in a server that has invited me.", "not_allowed")
    if not interaction.permissions.manage_guild:
        sentence = "You need the permission Manage Server for that."
        raise BotError(sentence, "not_allowed")
    return interaction.guild


async def model_choices(
    models: ServerModels, interaction: discord.Interaction, typed: str
) -> list[app_commands.Choice[str]]:
    """The models that a server can write with or train from."""
    return matching(await models.names(interaction.guild_id), typed)


def matching(names: Iterable[str], typed: str) -> list[app_commands.Choice[str]]:
    """The names that contain what was typed, as many as Discord shows."""
    found = [name for name in names if typed.casefold() in name.casefold()]
    return [app_commands.Choice(name=name, value=name) for name in found[:SHOWN_CHOICES]]
