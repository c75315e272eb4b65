"""Who may use the commands about models, and which models they offer."""

from collections.abc import Iterable

import discord
from discord import app_commands

from bot.errors import BotError
from bot.interactions.permissions import invite_link
from bot.models.server_models import ServerModels
from bot.storage.records import NAME_LIMIT, name_key

SHOWN_CHOICES = 25  # Discord's limit
CHOICE_LIMIT = 100  # characters; Discord's limit

ModelName = app_commands.Range[str, 1, NAME_LIMIT]  # an option
NOT_IN_SERVER = (
    "That works only in a server that has invited me. An admin of the server can invite me with "
    "this link: <{link}>"
)


def server_of(interaction: discord.Interaction) -> discord.Guild | None:
    """The server where somebody used a command, if the bot is in it. Where only a person has
    installed the bot, `interaction.guild` is an object without members, roles and channels."""
    return interaction.client.get_guild(interaction.guild_id or 0)


def admitted(interaction: discord.Interaction) -> discord.Guild:
    """The server of somebody who may change its models. Raises BotError for everybody else."""
    guild = server_of(interaction)
    if guild is None:
        link = invite_link(interaction.application_id)
        raise BotError(NOT_IN_SERVER.format(link=link), "not_allowed")
    if not interaction.permissions.manage_guild:
        sentence = "You need the permission Manage Server for that."
        raise BotError(sentence, "not_allowed")
    return guild


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
