"""A message as an app writes it in JSON -> a Message."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any, TypeVar

from charrnn.text.messages import Message
from charrnn.text.transcripts import as_author

T = TypeVar("T")

MAX_MENTIONS = 100  # in a message, as in Discord
WRITTEN_BY_PEOPLE = ("Default", "Reply", "0", "19")  # types of messages, as names or numbers

_SLACK_LINK = re.compile(r"<([^<>|\s]*+)(?:\|([^<>|]*+))?>")


def form_of(fields: object) -> tuple[Callable[[dict[str, Any]], Message], str]:
    """How to read a message of this form, and the field that grows with time. Raises KeyError."""
    keys = typed(dict, fields).keys()
    for required, read, time in _FORMS:
        if required <= keys:
            return read, time
    raise KeyError("content")


def _discord(fields: dict[str, Any]) -> Message:
    """As DiscordChatExporter or Discord's API writes it."""
    if isinstance(fields["author"], str):
        return plain(fields)
    author = typed(dict, fields["author"])
    names: dict[str, str] = {}
    ids: dict[str, str] = {}
    for user in typed(list, fields.get("mentions") or [])[:MAX_MENTIONS]:
        number, name = typed(str, user["id"]), user.get("name") or user["username"]
        nickname = user.get("nickname") or user.get("global_name") or name
        tagged = f"{name}#{user.get('discriminator')}"
        names[number] = typed(str, nickname)
        ids |= dict.fromkeys((typed(str, name), tagged, nickname), number)
    return Message(
        author=typed(str, author["id"]),
        content=typed(str, fields["content"]),
        automatic=typed(bool, author.get("isBot", author.get("bot", False)))
        or bool(fields.get("webhook_id")),
        system=str(fields.get("type", "Default")) not in WRITTEN_BY_PEOPLE,
        names=names,
        ids=ids,
    )


def plain(fields: dict[str, Any]) -> Message:
    """With `content`, and perhaps `author`, a string, and `bot`. Raises KeyError and TypeError."""
    if "sender_name" in fields:
        raise KeyError("author")  # Messenger and Instagram, which garble letters
    return Message(
        author=typed(str, fields.get("author", "")),
        content=typed(str, fields["content"]),
        automatic=typed(bool, fields.get("bot", False)),
    )


def _data_package(fields: dict[str, Any]) -> Message:
    """As Discord gives people their own messages, newest first."""
    return Message("", typed(str, fields["Contents"]))


def _telegram(fields: dict[str, Any]) -> Message:
    parts = fields.get("text", "")
    parts = typed(list, parts if isinstance(parts, list) else [parts])
    forwarded = "forwarded_from" in fields  # somebody else's words
    return Message(
        author=as_author(str(fields.get("from") or fields.get("from_id") or "")),
        content="" if forwarded else "".join(map(_telegram_part, parts)),
        automatic="via_bot" in fields,
        system=fields["type"] != "message",
    )


def _telegram_part(part: object) -> str:
    if isinstance(part, str):
        return part
    text = typed(str, typed(dict, part)["text"])
    return f"```{text}```" if part["type"] == "pre" else text  # type: ignore[index]  # a dict


def _slack(fields: dict[str, Any]) -> Message:
    return Message(
        author=str(fields.get("user") or ""),
        content=unescape(_SLACK_LINK.sub(_slack_link, typed(str, fields["text"]))),
        automatic="bot_id" in fields or fields.get("subtype") == "bot_message",
        system=fields.get("subtype") not in (None, "bot_message", "me_message", "thread_broadcast"),
    )


def _slack_link(link: re.Match[str]) -> str:
    target, label = link[1], link[2] or ""
    if target.startswith("@"):
        return "@someone"
    if target.startswith("#"):
        return f"#{label or 'channel'}"
    if target.startswith("!"):
        return label or f"@{target[1:].partition('^')[0]}"
    return label or target


_FORMS = (
    ({"author", "content"}, _discord, "id"),
    ({"ID", "Timestamp", "Contents"}, _data_package, "ID"),
    ({"type", "ts", "text"}, _slack, "ts"),
    ({"type", "id", "date"}, _telegram, ""),
    ({"content"}, plain, ""),
)


def typed(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value
