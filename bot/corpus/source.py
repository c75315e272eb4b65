"""What an admin chose to train on: a channel or an uploaded file, and how to read it."""

from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import discord
from discord import app_commands

from bot.corpus import channel as channels
from bot.corpus import upload
from bot.errors import BotError
from bot.interactions.permissions import NEEDED_TO_READ, missing, names
from bot.storage.records import Source
from charrnn.text.messages import Counts

NO_CHANNELS = (
    "I do not learn from channels: Discord's Developer Policy forbids it without Discord's "
    "permission, and my operator has not switched it on. Upload a `file` instead: a .txt, or a "
    "channel that DiscordChatExporter saved as .json."
)

Count = Callable[[Counts], None]
# Writes a text to a path, leaving out the authors with these ids, and reports counts on the way.
Read = Callable[[Path, Container[str], Count], Awaitable[Counts]]


@dataclass(frozen=True)
class ReadableSource:
    """A source that somebody may use, and the function that reads it."""

    source: Source
    read: Read


async def chosen(
    interaction: discord.Interaction,
    channel: app_commands.AppCommandChannel | app_commands.AppCommandThread | None,
    messages: int,
    days: int | None,
    file: discord.Attachment | None,
    channels_allowed: bool,
) -> ReadableSource:
    """What the options of /retrain name. Raises BotError when it cannot be used."""
    if file is not None:
        if channel is not None:
            raise BotError("Choose a channel or a file, not both.", "not_allowed")

        async def read_file(path: Path, opted_out: Container[str], _: Count) -> Counts:
            return await upload.read_file(file, path, opted_out=opted_out)

        return ReadableSource(Source(file.filename), read_file)
    if channel is None:
        place, mention = interaction.channel, "this channel"
    else:
        place, mention = channel.resolve(), channel.mention
    assert isinstance(interaction.user, discord.Member)  # in a server
    return await from_channel(place, mention, interaction.user, messages, days, channels_allowed)


async def from_channel(
    place: object,
    mention: str,
    asker: discord.Member,
    messages: int,
    days: int | None,
    channels_allowed: bool,
) -> ReadableSource:
    """The newest messages of a channel that bot and asker may read. Raises BotError."""
    if not channels_allowed:
        raise BotError(NO_CHANNELS, "not_allowed")
    if not isinstance(place, channels.Channel):
        raise BotError(
            f"I cannot see {mention}. Give my role {names(NEEDED_TO_READ)} there, or choose "
            "another channel.",
            "not_allowed",
        )
    channels.check_readable(place)
    if not await _may_read(place, asker):
        raise BotError(f"You may not read {place.mention} yourself.", "not_allowed")
    after = discord.utils.utcnow() - timedelta(days=days) if days else None

    async def read(path: Path, opted_out: Container[str], count: Count) -> Counts:
        return await channels.read_channel(
            place, path, opted_out=opted_out, limit=messages, after=after, progress=count
        )

    return ReadableSource(Source(f"#{place.name}", place.id, messages, days), read)


async def _may_read(place: channels.Channel, asker: discord.Member) -> bool:
    granted = place.permissions_for(asker)
    if missing(NEEDED_TO_READ, granted):
        return False
    if not isinstance(place, discord.Thread) or not place.is_private() or granted.manage_threads:
        return True
    try:  # the permissions are the parent channel's; only Discord knows a private thread's members
        await place.fetch_member(asker.id)
    except discord.NotFound:
        return False
    return True
