"""Tell Discord the bot's commands, and how people can install it, unless Discord knows."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import discord
from discord.ext import commands
from discord.http import Route

from bot.interactions.permissions import (
    GUILD_INSTALL,
    NEEDED,
    SERVER_SCOPES,
    USER_INSTALL,
    USER_SCOPES,
)

log = logging.getLogger(__name__)

# Kind of installation -> the scopes and permissions that its page asks for.
ASKED = {
    GUILD_INSTALL: (SERVER_SCOPES, NEEDED),
    USER_INSTALL: (USER_SCOPES, discord.Permissions.none()),
}
NO_USER_INSTALL = (
    "Discord refused to let people install me for themselves: %s. Tick User Install on the "
    "Installation page of the application, and restart me."
)

# What a definition says, at every level: command, option, choice. Discord adds ids, a version,
# `dm_permission`, which is the older form of `contexts`, and whatever it will invent.
_COMPARED = {
    *("type", "name", "description", "name_localizations", "description_localizations"),
    *("nsfw", "default_member_permissions", "contexts", "integration_types", "options"),
    *("required", "autocomplete", "choices", "value", "channel_types"),
    *("min_value", "max_value", "min_length", "max_length"),
}
_SETS = {"contexts", "integration_types", "channel_types"}  # lists whose order means nothing
_EMPTY = (None, "", [], {})  # Discord fills them in, or leaves them out; so it does with False
_ENTRY_POINT = 4  # the type of the command that Discord adds to launch an application's Activity
_NOT_SENT = {"application_id", "version"}


async def enable_user_install(bot: commands.AutoShardedBot) -> bool:
    """Let people install the application in both ways, if its settings do not say so already.
    Return whether they can install it for themselves. Raises discord.HTTPException."""
    application = await bot.http.application_info()
    config = wanted_config(application)
    known = application.get("integration_types_config") or {}
    if config == known:
        return True
    try:
        await bot.http.edit_application_info(
            reason=None, payload={"integration_types_config": config}
        )
    except discord.HTTPException as error:
        if error.status >= 500:
            raise
        log.warning(NO_USER_INSTALL, error)
        return USER_INSTALL in known
    log.info("Changed the application's settings: people can install me for themselves too.")
    return True


def wanted_config(application: Mapping[str, Any]) -> dict[str, Any]:
    """The application's `integration_types_config` with what the bot needs added to it. Discord
    refuses a page for private applications, and the operator may have one of their own; then only
    the kinds of installation are added."""
    known = application.get("integration_types_config") or {}
    if not application["bot_public"] or application.get("custom_install_url"):
        return {kind: known.get(kind) or {} for kind in ASKED}
    return {
        kind: {"oauth2_install_params": _with(known.get(kind) or {}, scopes, permissions)}
        for kind, (scopes, permissions) in ASKED.items()
    }


def _with(
    config: Mapping[str, Any], scopes: tuple[str, ...], permissions: discord.Permissions
) -> dict[str, Any]:
    params = config.get("oauth2_install_params") or {"scopes": [], "permissions": "0"}
    more = [scope for scope in scopes if scope not in params["scopes"]]
    asked = discord.Permissions(int(params["permissions"])) | permissions
    return {"scopes": [*params["scopes"], *more], "permissions": str(asked.value)}


async def register(bot: commands.AutoShardedBot, *, user_install: bool) -> bool:
    """Return whether the commands had to be registered. Without `user_install`, offer them
    only in servers that have invited the bot. Raises discord.HTTPException."""
    if bot.application_id is None:
        raise RuntimeError("the bot has not logged in yet")
    ours = definitions(bot, user_install=user_install)
    # discord.py's own request leaves out the localizations.
    route = Route(
        "GET", "/applications/{application_id}/commands", application_id=bot.application_id
    )
    theirs = await bot.http.request(route, params={"with_localizations": "true"})
    if not differing(theirs, ours):
        return False
    # Discord refuses to remove the entry point in this way.
    kept = [
        {name: value for name, value in command.items() if name not in _NOT_SENT}
        for command in theirs
        if command["type"] == _ENTRY_POINT
    ]
    await bot.http.bulk_upsert_global_commands(bot.application_id, payload=[*ours, *kept])
    return True


def definitions(bot: commands.AutoShardedBot, *, user_install: bool) -> list[dict[str, Any]]:
    """The commands as Discord gets them."""
    ours = [command.to_dict(bot.tree) for command in bot.tree.get_commands()]
    if not user_install:
        for command in ours:
            command["integration_types"] = [int(GUILD_INSTALL)]
    return ours


def differing(theirs: Sequence[Any], ours: Sequence[Any]) -> list[str]:
    """The names of the commands that differ or exist on one side only. Ours must name their
    contexts and integration types: what Discord fills in depends on the application."""
    there, here = _by_name(theirs), _by_name(ours)
    return [key[1] for key in here | there if here.get(key) != there.get(key)]


def _by_name(definitions: Sequence[Any]) -> dict[tuple[int, str], dict[str, Any]]:
    return {
        (command["type"], command["name"]): _plain(command)
        for command in definitions
        if command["type"] != _ENTRY_POINT
    }


def _plain(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A command, option or choice without defaults and without what Discord adds."""
    plain: dict[str, Any] = {}
    for name in _COMPARED & definition.keys():
        value = definition[name]
        if value is False or value in _EMPTY:
            continue
        if name in ("options", "choices"):
            value = [_plain(each) for each in value]
        elif name in _SETS:
            value = sorted(value)
        elif name == "default_member_permissions":
            value = str(value)
        plain[name] = value
    return plain
