"""Which models the commands offer."""

from collections.abc import Iterable

import discord
from discord import app_commands

from bot.interactions.permissions import server_of
from bot.models.server_models import ServerModels
from bot.storage.records import NAME_LIMIT, name_key

SHOWN_CHOICES = 25  # Discord's limit
CHOICE_LIMIT = 100  # characters; Discord's limit

ModelName = app_commands.Range[str, 1, NAME_LIMIT]  # an option


async def model_choices(
    models: ServerModels, interaction: discord.Interaction, typed: str
) -> list[app_commands.Choice[str]]:
    """The models that a server can write with or train from."""
    server = server_of(interaction)
    return matching(await models.names(server and server.id), typed)


def matching(names: Iterable[str], typed: str) -> list[app_commands.Choice[str]]:
    """The names that contain what was typed, as many as Discord shows."""
    found = [name for name in names if name_key(typed) in name_key(name)]
    return [app_commands.Choice(name=name, value=name) for name in found[:SHOWN_CHOICES]]
