"""A channel -> a corpus on the disk: cleaned, a message a line, the oldest first.

There may be a million messages, so that none stays in memory for long.
"""

import asyncio
import tempfile
from array import array
from collections.abc import AsyncGenerator, Callable, Container, Iterator
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import IO

import aiohttp
import discord

from bot.errors import BotError
from bot.interactions.markup import escape
from bot.storage.disk import whole, write
from charrnn.text.messages import Cleaner, Counts, Message

MAX_MESSAGES = 1_000_000  # of a channel, whether kept or not
MAX_CHARACTERS = 10_000_000  # of a corpus; the newest are kept

BLANK_LIMIT = 200  # messages without content, and none with it, before reading is given up
PROGRESS_MESSAGES = 100  # a page of Discord's
BLOCK_LINES = 100

Channel = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread
VOCAL = (discord.VoiceChannel, discord.StageChannel)  # what is written there too needs Connect
WRITTEN = (discord.MessageType.default, discord.MessageType.reply)  # by people


def check_readable(channel: Channel) -> None:
    """Raises BotError, which names each permission that the bot lacks in `channel`. Discord
    says nothing of them: it answers with an empty history."""
    place = channel.parent if isinstance(channel, discord.Thread) else channel
    if place is None:
        raise BotError(
            f"The channel that {_name(channel)} is a thread of is gone, or hidden from me. Choose "
            "another channel.",
            kind="corpus",
        )
    # The channel's own `permissions_for` takes all away where View Channel alone is missing.
    granted = discord.abc.GuildChannel.permissions_for(place, channel.guild.me)
    needed = {
        "View Channel": granted.view_channel,
        "Connect": granted.connect or not isinstance(channel, VOCAL),
        "Read Message History": granted.read_message_history,
    }
    if lacking := [permission for permission, is_granted in needed.items() if not is_granted]:
        raise BotError(
            f"To read {_name(channel)} I need {' and '.join(lacking)} there. Grant that to my role "
            "in the channel's settings and try again.",
            kind="corpus",
        )


async def read_channel(
    channel: Channel,
    destination: Path,
    *,
    opted_out: Container[str],
    limit: int = MAX_MESSAGES,
    after: datetime | None = None,
    progress: Callable[[Counts], None] | None = None,
    max_characters: int = MAX_CHARACTERS,
) -> Counts:
    """Write the newest `limit` messages of a channel, and none before `after`, to `destination`:
    a line each in UTF-8, cleaned, the oldest first. No older ones are read once `max_characters`
    are reached. `progress` is told the counts after every page of a hundred.

    Returns what came of the messages. Raises BotError when the channel is gone, is hidden or
    holds nothing, and when a permission is missing or Message Content is off. When
    it fails or is cancelled, no file is left."""
    check_readable(channel)
    cleaner = Cleaner(opted_out)
    counts = cleaner.counts
    sight = _Sight(channel)
    with whole(destination), tempfile.TemporaryFile(dir=destination.parent) as file:
        newest_first = _Backwards(file)
        async with aclosing(_messages(channel, limit, after)) as messages:
            async for message in messages:
                sight.check(message)
                line = cleaner.clean(_plain(message))
                if line is not None:
                    newest_first.add(line)
                if counts.characters >= max_characters:
                    break
                if progress and counts.total() % PROGRESS_MESSAGES == 0:
                    progress(counts)
        sight.conclude()
        check_readable(channel)  # else it may have ended early, without a word
        if not counts.messages:
            raise BotError(_nothing(channel, counts, after), kind="corpus")
        await write(destination, newest_first.blocks())
    return counts


class _Sight:
    """Whether Discord shows the bot what people write. Where it does not, every content is empty,
    and attachments and the like are missing too, except from messages that are to the bot."""

    def __init__(self, channel: Channel):
        self._channel = channel
        self._blank = 0
        self._sees = False

    def check(self, message: discord.Message) -> None:
        """Raises BotError when there have been too many messages with nothing in them."""
        if self._sees or not self._tells(message):
            return
        if message.content:
            self._sees = True
            return
        self._blank += 1
        if self._blank == BLANK_LIMIT:
            self.conclude()

    def conclude(self) -> None:
        """Raises BotError when there were only messages with nothing in them."""
        if self._blank and not self._sees:
            raise BotError(
                f"Discord hides from me what people write in {_name(self._channel)}. The bot's "
                "operator must enable Message Content Intent, on the Bot page of Discord's "
                "developer portal. Until then, upload a file.",
                kind="corpus",
            )

    def _tells(self, message: discord.Message) -> bool:
        me = self._channel.guild.me
        to_me = any(user.id == me.id for user in message.mentions)
        # What a message may consist of, having no content of its own.
        others = (
            *(message.attachments, message.embeds, message.stickers, message.poll),
            *(message.message_snapshots, message.components, message.activity),
        )
        return not (_automatic(message) or _system(message) or to_me or any(others))


class _Backwards:
    """Lines that come the newest first, and that are wanted the oldest first."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._starts = array("q")  # of the blocks in the file, in bytes
        self._block: list[str] = []

    def add(self, line: str) -> None:
        self._block.append(line)
        if len(self._block) == BLOCK_LINES:
            self._write()

    def blocks(self) -> Iterator[bytes]:
        """The lines, by the block, the oldest first."""
        self._write()
        end = self._file.tell()
        for start in reversed(self._starts):
            self._file.seek(start)
            yield self._file.read(end - start)
            end = start

    def _write(self) -> None:
        self._starts.append(self._file.tell())
        self._file.write("".join(line + "\n" for line in reversed(self._block)).encode())
        self._block.clear()


async def _messages(
    channel: Channel, limit: int, after: datetime | None
) -> AsyncGenerator[discord.Message, None]:
    """The history, the newest first; the event loop has its turn after each. Raises
    BotError."""
    try:
        async for message in channel.history(limit=limit, after=after, oldest_first=False):
            yield message
            await asyncio.sleep(0)
    except discord.Forbidden as error:
        raise BotError(
            f"Discord does not let me read {_name(channel)}. I need View Channel and Read Message "
            "History there; to a private thread, I must be added.",
            kind="corpus",
        ) from error
    except discord.NotFound as error:
        raise BotError(
            f"{_name(channel)} is gone, or hidden from me. Choose another channel.", kind="corpus"
        ) from error
    except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
        raise BotError(
            f"Discord failed while I was reading {_name(channel)}. Try again in a few minutes.",
            kind="corpus",
        ) from error


def _plain(message: discord.Message) -> Message:
    mentioned = (
        *((user.id, user.display_name) for user in message.mentions),
        *((role.id, role.name) for role in message.role_mentions),
        *((channel.id, channel.name) for channel in message.channel_mentions),
    )
    return Message(
        author=str(message.author.id),
        content=message.content,
        automatic=_automatic(message),
        system=_system(message),
        names={str(number): name for number, name in mentioned},
    )


def _automatic(message: discord.Message) -> bool:
    return message.author.bot or message.webhook_id is not None


def _system(message: discord.Message) -> bool:
    return message.type not in WRITTEN


def _nothing(channel: Channel, counts: Counts, after: datetime | None) -> str:
    since = f" since {discord.utils.format_dt(after)}" if after else ""
    found = f"is nothing to learn from ({counts})" if counts.total() else "are no messages"
    return f"There {found} in {_name(channel)}{since}. Choose another channel or upload a file."


def _name(channel: Channel) -> str:
    return f"#{escape(channel.name)}"
