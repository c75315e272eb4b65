"""Compare this bot's command definitions with those that are registered at Discord."""

from collections.abc import Mapping, Sequence
from typing import Any

from discord.ext import commands

# Fields that Discord adds. `dm_permission` is the older form of `contexts`.
_ADDED = {"id", "application_id", "version", "dm_permission"}
_SERVERS_ONLY = [0]  # Discord's default for integration_types


async def are_registered(bot: commands.AutoShardedBot) -> bool:
    """Whether the commands at Discord are the bot's commands. Raises discord.HTTPException."""
    if bot.application_id is None:
        raise RuntimeError("the bot has not logged in yet")
    theirs = await bot.http.get_global_commands(bot.application_id)
    ours = [command.to_dict(bot.tree) for command in bot.tree.get_commands()]
    return not differing(theirs, ours)


def differing(theirs: Sequence[Any], ours: Sequence[Any]) -> list[str]:
    """The names of the commands that differ or exist on one side only."""
    there, here = _by_name(theirs), _by_name(ours)
    return [key[1] for key in here | there if here.get(key) != there.get(key)]


def _by_name(definitions: Sequence[Any]) -> dict[tuple[int, str], dict[str, Any]]:
    return {(command["type"], command["name"]): _plain(command) for command in definitions}


def _plain(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A command or an option without defaults and without what Discord adds.

    If two equal definitions look different here, the commands are registered once too often. Two
    different ones never look equal."""
    plain: dict[str, Any] = {}
    for name, value in definition.items():
        if name in _ADDED or value is None or value is False or value == []:
            continue
        if name == "options":
            value = [_plain(option) for option in value]
        elif name == "default_member_permissions":
            value = str(value)
        elif name == "integration_types" and value == _SERVERS_ONLY:
            continue
        plain[name] = value
    return plain
