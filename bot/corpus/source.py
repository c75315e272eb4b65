"""What an admin chose to train on: channels or an uploaded file, and how to read it."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import discord
from discord import app_commands

from bot.corpus import channel as channels
from bot.corpus import upload
from bot.errors import BotError
from bot.interactions.markup import escape, listed
from bot.interactions.permissions import NEEDED_TO_READ, missing, needed_to_read
from bot.storage.records import Source
from charrnn.text.messages import Counts
from charrnn.text.transcripts import as_author

MEMBERS_QUERY = 100  # members that Discord names at a time

NO_CHANNELS = (
    "I do not learn from channels: Discord's Developer Policy forbids it without Discord's "
    "permission, and my operator has not switched it on. Upload a `file` instead: a plain text, a "
    "channel exported with DiscordChatExporter, or a chat from WhatsApp, Telegram or Slack."
)

Count = Callable[[Counts], None]
# Writes a text to a path, leaving out the authors with these ids, and reports counts on the way.
Read = Callable[[Path, Collection[str], Count], Awaitable[Counts]]


@dataclass(frozen=True)
class ReadableSource:
    """A source that somebody may use, and the function that reads it."""

    source: Source
    read: Read


def chosen(
    interaction: discord.Interaction,
    channel: app_commands.AppCommandChannel | app_commands.AppCommandThread | None,
    messages: int,
    days: int | None,
    file: discord.Attachment | None,
    channels_allowed: bool,
) -> Source | None:
    """What the options of /retrain name; None if the channels are still to be chosen. Raises
    BotError when it is clear without asking Discord that it cannot be used."""
    if file is not None:
        if channel is not None:
            raise BotError("Choose a channel or a file, not both.", "not_allowed")
        return Source(upload.name_of(file))
    if not channels_allowed:
        raise BotError(NO_CHANNELS, "not_allowed")
    if channel is None:
        place, granted = interaction.channel, interaction.permissions
        assert isinstance(place, discord.abc.GuildChannel | discord.Thread)  # in a server
        known, own = place, interaction.app_permissions
    else:
        place, granted = channel, channel.permissions
        known, own = channel.resolve(), None
    if place.type not in channels.CHANNEL_TYPES:
        raise channels.without_messages(place.mention, place.type)
    if channel is None and not isinstance(place, discord.Thread):
        return None  # in a thread, a person means that thread: not all apps let them choose one
    if isinstance(known, channels.Channel):
        channels.check_readable(known, granted=own)
    if missing(NEEDED_TO_READ, granted):
        raise BotError(_not_yours(place.mention), "not_allowed")
    return Source(f"#{place.name}", (place.id,), messages, days)


def from_file(guild: discord.Guild, file: discord.Attachment) -> ReadableSource:
    """An uploaded file."""

    async def read(path: Path, opted_out: Collection[str], _: Count) -> Counts:
        names = await _names(guild, opted_out)
        return await upload.read_file(file, path, opted_out={*opted_out, *names})

    return ReadableSource(Source(upload.name_of(file)), read)


async def _names(guild: discord.Guild, ids: Collection[str]) -> set[str]:
    """What these people are called in a server, as chats without ids name them. Raises BotError."""
    numbers = list(map(int, ids))
    members: list[discord.Member] = []
    try:
        for start in range(0, len(numbers), MEMBERS_QUERY):
            some = numbers[start : start + MEMBERS_QUERY]
            members += await guild.query_members(user_ids=some, limit=MEMBERS_QUERY, cache=False)
    except (TimeoutError, aiohttp.ClientError, discord.ConnectionClosed) as error:
        raise BotError(
            "Discord did not tell me the names of the members who opted out. Try again in a few "
            "minutes.",
            "discord",
        ) from error
    return {
        as_author(name)
        for member in members
        for name in (member.name, member.global_name, member.nick)
        if name
    }


async def from_channels(
    guild: discord.Guild,
    source: Source,
    asker: discord.Member,
    granted: discord.Permissions | None = None,
) -> ReadableSource:
    """The newest messages of channels that bot and asker may read. Channels that were deleted are
    left out, unless all were. `granted`: what the asker may do there, if Discord sent it. Raises
    BotError, naming all channels that bot or asker may not read."""
    places = await _existing(guild, source.channel_ids)
    problem = channels.unreadable(*places)
    closed = [place.mention for place in places if not await _may_read(place, asker, granted)]
    if closed:
        problem = f"{problem} {_not_yours(*closed)}".lstrip()
    if problem:
        raise BotError(problem, "not_allowed")
    after = discord.utils.utcnow() - timedelta(days=source.days) if source.days else None

    async def read(path: Path, opted_out: Collection[str], count: Count) -> Counts:
        return await channels.read_channels(
            places, path, opted_out=opted_out, limit=source.messages, after=after, progress=count
        )

    name = listed([f"#{place.name}" for place in places], channels.NAMED_CHANNELS)
    found = tuple(place.id for place in places)
    return ReadableSource(replace(source, name=name, channel_ids=found), read)


async def _existing(guild: discord.Guild, ids: Iterable[int]) -> list[channels.Channel]:
    """The channels that are not deleted. Raises BotError if none is left."""
    places: list[channels.Channel] = []
    deleted = None
    for channel_id in ids:
        try:
            places.append(await channels.find_channel(guild, channel_id))
        except BotError as error:
            if error.kind != "not_found":
                raise
            deleted = error
    if deleted is not None and not places:
        raise deleted
    return places


def _not_yours(*mentions: str) -> str:
    return f"You may not read {listed(mentions)} yourself."


async def _may_read(
    place: channels.Channel, asker: discord.Member, granted: discord.Permissions | None
) -> bool:
    if granted is None:
        granted = place.permissions_for(asker)
    if missing(needed_to_read(place), granted):
        return False
    if not isinstance(place, discord.Thread) or not place.is_private() or granted.manage_threads:
        return True
    # The permissions are the parent channel's; only Discord knows a private thread's members.
    with channels.explaining(f"#{escape(place.name)}", place):
        try:
            await place.fetch_member(asker.id)
        except discord.NotFound:
            return False
    return True
