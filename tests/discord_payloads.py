"""What Discord sends, and which messages it refuses, as far as the bot needs it."""

from collections.abc import Mapping, Sequence
from typing import Any

# Looks like a token, and is nobody's.
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.G1a2b3.abcdefghijklmnopqrstuvwxyz0123456789AB"  # noqa: S105
APPLICATION_ID = 1000
GUILD_ID, CHANNEL_ID = 2000, 3000
CHAT_INPUT, COMPONENT = 2, 3  # interactions
MESSAGE_COMMAND = 3  # a command
ENTRY_POINT = 4  # a command
SAID, DEFERRED, DEFERRED_UPDATE, UPDATED, CHOICES, MODAL = 4, 5, 6, 7, 8, 9  # responses
MESSAGE_LIMIT, EMBED_LIMIT, ID_LIMIT = 2000, 4096, 100  # UTF-16 units; characters

MEMBER = {
    "roles": [],
    "joined_at": "2024-01-01T00:00:00+00:00",
    "deaf": False,
    "mute": False,
    "flags": 0,
}


def user(number: int, **more: object) -> dict[str, Any]:
    name = f"person{number}"
    return {"id": str(number), "username": name, "discriminator": "0", "avatar": None} | more


def channel() -> dict[str, Any]:
    return {"id": str(CHANNEL_ID), "type": 0, "name": "general", "position": 0}


def guild() -> dict[str, Any]:
    """The event of a server in which the bot may do everything."""
    permissions = str(2**50 - 1)
    everyone = {"id": str(GUILD_ID), "name": "@everyone", "position": 0, "permissions": permissions}
    flags = {"hoist": False, "managed": False, "mentionable": False, "color": 0, "flags": 0}
    me = {"user": user(APPLICATION_ID, bot=True)} | MEMBER
    return {
        "id": str(GUILD_ID),
        "unavailable": False,
        "name": "The Globe",
        "roles": [everyone | flags],
        "channels": [channel() | {"permission_overwrites": []}],
        "members": [me],
    }


def interaction(
    number: int, kind: int, data: Mapping[str, Any], asker: int, guild: int | None
) -> dict[str, Any]:
    """The event of a command or a button; without a server, in a group message of people who have
    installed the bot for themselves."""
    if guild is None:
        group = {"id": str(CHANNEL_ID), "type": 3, "name": None, "recipients": [user(2)]}
        place = {"channel": group, "context": 2, "user": user(asker)}
    else:
        person = {"user": user(asker), "permissions": "0"} | MEMBER
        text = channel() | {"permissions": "0"}
        place = {"guild_id": str(guild), "channel": text, "context": 0, "member": person}
    return {
        **place,
        "id": str(number),
        "application_id": str(APPLICATION_ID),
        "type": kind,
        "token": f"token{number}",
        "version": 1,
        "data": data,
        "channel_id": str(CHANNEL_ID),
        "locale": "en-US",
        "app_permissions": "0",
        "entitlements": [],
        "authorizing_integration_owners": {},
        "attachment_size_limit": 10_485_760,
    }


def application() -> dict[str, Any]:
    return {
        "id": str(APPLICATION_ID),
        "name": "Shakespeare",
        "icon": None,
        "description": "",
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "",
        "flags": 0,
        "owner": user(1),
        "integration_types_config": {
            "0": {
                "oauth2_install_params": {"scopes": ["applications.commands"], "permissions": "0"}
            }
        },
    }


def command(number: int, given: Mapping[str, Any], kinds: Sequence[int]) -> dict[str, Any]:
    """A registered command as Discord returns it, with defaults filled in. `kinds`: how people can
    install the application."""
    permissions = given.get("default_member_permissions")
    options = {"options": [_option(option) for option in given.get("options") or []]}
    return {
        "id": str(number),
        "application_id": str(APPLICATION_ID),
        "version": str(number + 1),
        "default_member_permissions": None if permissions is None else str(permissions),
        "type": given.get("type", 1),
        "name": given["name"],
        "name_localizations": given.get("name_localizations"),
        "description": given.get("description", ""),
        "description_localizations": given.get("description_localizations"),
        "dm_permission": given.get("dm_permission", True),
        "contexts": given.get("contexts"),
        "integration_types": given.get("integration_types") or list(kinds),
        **(options if options["options"] else {}),
        **({"handler": given["handler"]} if "handler" in given else {}),
        "nsfw": given.get("nsfw", False),
    }


def _option(given: Mapping[str, Any]) -> dict[str, Any]:
    option = {name: value for name, value in given.items() if value is not False and value != []}
    if "choices" in option:
        option["choices"] = [{"name_localizations": None} | choice for choice in given["choices"]]
    return {"name_localizations": None, "description_localizations": None} | option


def callback(number: int, kind: int) -> dict[str, Any]:
    interaction = {"id": str(number), "type": CHAT_INPUT}
    return {"interaction": interaction, "resource": {"type": kind}}


def message(number: int, shown: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(number),
        "channel_id": str(CHANNEL_ID),
        "author": user(APPLICATION_ID, bot=True),
        "content": shown.get("content") or "",
        "components": shown.get("components") or [],
        "timestamp": "2024-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "flags": shown.get("flags") or 0,
        "pinned": False,
        "type": 0,
    }


def wrong_with(shown: Any) -> str | None:
    """Why Discord would refuse a message."""
    if not isinstance(shown, dict):
        return "no message"
    content, embeds = shown.get("content") or "", shown.get("embeds") or []
    rows = shown.get("components") or []
    if not (content or embeds or "content" not in shown):
        return "an empty message"
    if len(content.encode("utf-16-le")) // 2 > MESSAGE_LIMIT:
        return "the content is too long"
    if any(len(embed.get("description") or "") > EMBED_LIMIT for embed in embeds):
        return "an embed is too long"
    if len(rows) > 5 or any(not 1 <= len(row["components"]) <= 5 for row in rows):
        return "too many buttons"
    ids = [item.get("custom_id", "") for row in rows for item in row["components"]]
    if len(ids) > len(set(ids)) or any(len(custom_id) > ID_LIMIT for custom_id in ids):
        return "a button's id"
    return None
