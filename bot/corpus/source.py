"""What a training may learn from: a channel's messages, or a file."""

from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import discord
from discord import app_commands

from bot.corpus import channel as channels
from bot.corpus import upload
from bot.errors import BotError
from charrnn.text.messages import Counts

NO_CHANNELS = (
    "This bot does not learn from channels: Discord's Developer Policy forbids it without "
    "Discord's permission, and the bot's operator has not switched it on. Upload what it is to "
    "learn from as `file`: a .txt, or a channel as DiscordChatExporter writes it to .json."
)

Count = Callable[[Counts], None]

# Writes a text to a path, without the authors of those ids, telling of its counts as it goes.
Read = Callable[[Path, Container[str], Count], Awaitable[Counts]]


@dataclass(frozen=True)
class Text:
    """What a training is to learn from."""

    name: str  # that the model gets if it gets no other
    described: dict[str, Any]  # for the registry
    read: Read


async def chosen(
    interaction: discord.Interaction,
    channel: app_commands.AppCommandChannel | app_commands.AppCommandThread | None,
    messages: int,
    days: int | None,
    file: discord.Attachment | None,
    channels_allowed: bool,
) -> Text:
    """The text chosen in a command's options. Raises BotError."""
    if file is not None:
        if channel is not None:
            raise BotError("Name a channel or a file, not both.", kind="not_allowed")
        read = partial(_read_file, file)
        stem = file.filename.rpartition(".")[0]
        return Text(stem, {"source": f"the file {file.filename}"}, read)
    if channel is None:
        place, named = interaction.channel, "this channel"
    else:
        place, named = channel.resolve(), channel.mention
    assert isinstance(interaction.user, discord.Member)  # in a server
    return await of_channel(place, named, interaction.user, messages, days, channels_allowed)


async def of_channel(
    place: object,
    named: str,
    asker: discord.Member,
    messages: int,
    days: int | None,
    channels_allowed: bool,
) -> Text:
    """The messages of a channel, for somebody who may read it. Raises BotError."""
    if not channels_allowed:
        raise BotError(NO_CHANNELS, kind="not_allowed")
    if not isinstance(place, channels.Channel):
        raise BotError(
            f"I cannot see {named}. Give my role View Channel and Read Message History there, "
            "or name another channel to /retrain.",
            kind="not_allowed",
        )
    channels.check_readable(place)
    if not await _may_read(place, asker):
        raise BotError(f"You may not read {place.mention} yourself.", kind="not_allowed")
    source = f"#{place.name}, the newest {messages:,} messages"
    described = {
        "source": source if days is None else f"{source} of {days:,} days",
        "source_channel_id": place.id,
        "source_messages": messages,
        "source_days": days,
    }
    after = discord.utils.utcnow() - timedelta(days=days) if days else None
    return Text(place.name, described, partial(_read_channel, place, messages, after))


async def _may_read(place: channels.Channel, asker: discord.Member) -> bool:
    theirs = place.permissions_for(asker)
    if not (theirs.view_channel and theirs.read_message_history):
        return False
    if not isinstance(place, discord.Thread) or not place.is_private() or theirs.manage_threads:
        return True
    try:  # these permissions are the channel's; who is in a private thread is Discord's to say
        await place.fetch_member(asker.id)
    except discord.NotFound:
        return False
    return True


async def _read_channel(
    channel: channels.Channel,
    messages: int,
    after: datetime | None,
    destination: Path,
    opted_out: Container[str],
    count: Count,
) -> Counts:
    return await channels.read_channel(
        channel, destination, opted_out=opted_out, limit=messages, after=after, progress=count
    )


async def _read_file(
    file: discord.Attachment, destination: Path, opted_out: Container[str], _: Count
) -> Counts:
    return await upload.read_file(file, destination, opted_out=opted_out)
