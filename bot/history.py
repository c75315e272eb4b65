"""A channel, or a file that somebody uploaded -> a corpus on the disk, cleaned, the oldest first.

No message of a channel stays in memory: there may be a million of them.
"""

import asyncio
import errno
import tempfile
from array import array
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Iterator
from contextlib import aclosing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

import aiohttp
import discord

from bot.errors import HistoryError
from bot.replies import escape
from charrnn.corpus import decode
from charrnn.errors import CorpusError
from charrnn.messages import Cleaner, Counts, Message, read_export, read_lines
from charrnn.vocabulary import clean

MAX_MESSAGES = 1_000_000  # of a channel, whether kept or not
MAX_CHARACTERS = 10_000_000  # of a corpus; the newest are kept
MAX_FILE_BYTES = 25_000_000  # of an upload

BLANK_LIMIT = 200  # messages without content, and none with it, before reading is given up
PROGRESS_MESSAGES = 100  # a page of Discord's
BLOCK_LINES = 100
BLOCK_CHARACTERS = 2**16

Channel = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread
VOCAL = (discord.VoiceChannel, discord.StageChannel)  # what is written there too needs Connect
WRITTEN = (discord.MessageType.default, discord.MessageType.reply)  # by people
FULL = (errno.ENOSPC, errno.EDQUOT)


def check_readable(channel: Channel) -> None:
    """Raises HistoryError, which names each permission that the bot lacks in `channel`. Discord
    says nothing of them: it answers with an empty history."""
    place = channel.parent if isinstance(channel, discord.Thread) else channel
    if place is None:
        raise HistoryError(
            f"I cannot see the channel that {_name(channel)} is a thread of. Give my role View "
            "Channel and Read Message History there and try again."
        )
    # The channel's own `permissions_for` takes all away where View Channel alone is missing.
    granted = discord.abc.GuildChannel.permissions_for(place, channel.guild.me)
    needed = {
        "View Channel": granted.view_channel,
        "Connect": granted.connect or not isinstance(channel, VOCAL),
        "Read Message History": granted.read_message_history,
    }
    if lacking := [permission for permission, is_granted in needed.items() if not is_granted]:
        raise HistoryError(
            f"To read {_name(channel)} I need {' and '.join(lacking)} there. Grant that to my role "
            "in the channel's settings and try again."
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
    are reached. `progress` is told the counts after every page.

    Returns what came of the messages. Raises HistoryError when the channel is gone, is hidden or
    holds nothing, when Message Content is off, and when the disk is full. Whatever is raised, and
    where it is cancelled, no file is left."""
    check_readable(channel)
    cleaner = Cleaner(opted_out)
    counts = cleaner.counts
    sight = _Sight(channel)
    with _whole(destination), tempfile.TemporaryFile(dir=destination.parent) as file:
        newest_first = _Backwards(file)
        async with aclosing(_messages(channel, limit, after)) as messages:
            async for message in messages:
                sight.check(message)
                line = cleaner.clean(_plain(message))
                if line is not None:
                    newest_first.add(line)
                if counts.characters >= max_characters:
                    break
                if progress and _read(counts) % PROGRESS_MESSAGES == 0:
                    progress(counts)
        sight.conclude()
        check_readable(channel)  # else it may have ended early, without a word
        if not counts.messages:
            raise HistoryError(_nothing(channel, counts, after))
        await _write(destination, newest_first.blocks())
    return counts


async def read_file(
    file: discord.Attachment,
    destination: Path,
    *,
    opted_out: Container[str],
    max_characters: int = MAX_CHARACTERS,
) -> Counts:
    """Write an uploaded file to `destination` as `charrnn train` would read it: a text (`.txt`),
    or a channel (`.jsonl`, DiscordChatExporter's `.json`), a message a line. Of one that is too
    long, the last `max_characters` are kept, in whole lines.

    Returns what came of the messages, their authors being those of the whole file; of a text,
    the characters alone are counted. Raises HistoryError, which says what is wrong with the file;
    then no file is left."""
    name = escape(file.filename)
    if file.size > MAX_FILE_BYTES:
        raise HistoryError(
            f"{name} is too large. Upload the part of it that matters, at most "
            f"{MAX_FILE_BYTES // 1_000_000} MB."
        )
    try:
        content = await file.read()
    except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
        raise HistoryError(f"Discord did not hand over {name}. Upload it again.") from error
    kind = Path(file.filename).suffix.lower()
    try:
        text, counts = await asyncio.to_thread(_corpus, content, kind, name, opted_out)
    except CorpusError as error:
        raise HistoryError(str(error)) from error
    kept = _last(text, max_characters)
    if len(kept) < len(text):
        if counts.messages:
            counts.messages = kept.count("\n")
        counts.characters = len(kept)
    blocks = range(0, len(kept), BLOCK_CHARACTERS)
    with _whole(destination):
        await _write(destination, (kept[i : i + BLOCK_CHARACTERS].encode() for i in blocks))
    return counts


class _Sight:
    """Whether Discord shows the bot what people write. Where it does not, every content is empty,
    and attachments and the like are missing too, except from messages that are to the bot."""

    def __init__(self, channel: Channel):
        self._channel = channel
        self._blank = 0
        self._sees = False

    def check(self, message: discord.Message) -> None:
        """Raises HistoryError when there have been too many messages with nothing in them."""
        if self._sees or not self._tells(message):
            return
        if message.content:
            self._sees = True
            return
        self._blank += 1
        if self._blank == BLANK_LIMIT:
            self.conclude()

    def conclude(self) -> None:
        """Raises HistoryError when there were only messages with nothing in them."""
        if self._blank and not self._sees:
            raise HistoryError(
                f"Discord hides from me what people write in {_name(self._channel)}. The bot's "
                "operator must enable Message Content Intent, on the Bot page of Discord's "
                "developer portal. Until then, upload a file."
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
    HistoryError."""
    try:
        async for message in channel.history(limit=limit, after=after, oldest_first=False):
            yield message
            await asyncio.sleep(0)
    except discord.Forbidden as error:
        raise HistoryError(
            f"Discord does not let me read {_name(channel)}. I need View Channel and Read Message "
            "History there; to a private thread, I must be added."
        ) from error
    except discord.NotFound as error:
        raise HistoryError(
            f"{_name(channel)} is gone, or hidden from me. Choose another channel."
        ) from error
    except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
        raise HistoryError(
            f"Discord failed while I was reading {_name(channel)}. Try again in a few minutes."
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


def _read(counts: Counts) -> int:
    return counts.messages + counts.left_out.total()


def _nothing(channel: Channel, counts: Counts, after: datetime | None) -> str:
    since = f" since {discord.utils.format_dt(after)}" if after else ""
    found = f"nothing to learn from ({counts})" if _read(counts) else "no messages"
    return f"There are {found} in {_name(channel)}{since}. Choose another channel or upload a file."


def _name(channel: Channel) -> str:
    return f"#{escape(channel.name)}"


def _corpus(content: bytes, kind: str, name: str, opted_out: Container[str]) -> tuple[str, Counts]:
    """The text of a file, cleaned. Raises CorpusError and HistoryError."""
    readers = {".json": read_export, ".jsonl": read_lines}
    if kind not in (".txt", *readers):
        raise HistoryError(
            f"I cannot read {name}. Upload a text (.txt) or a channel as DiscordChatExporter "
            "writes it to a .json file."
        )
    text = decode(content, name)
    if "\0" in text:
        raise HistoryError(f"{name} is not a text. Save it as plain text in UTF-8 and try again.")
    if kind == ".txt":
        # By the piece: one long call would keep the event loop waiting.
        text = "".join(map(clean, _pieces(text)))
        counts = Counts(characters=len(text))
    else:
        cleaner = Cleaner(opted_out)
        lines = (cleaner.clean(message) for message in readers[kind](text, name))
        text = "".join(line + "\n" for line in lines if line is not None)
        counts = cleaner.counts
    if not text.strip():
        why = f" to learn from ({counts})" if _read(counts) else ""
        raise HistoryError(f"{name} holds no text{why}. Upload another file.")
    return text, counts


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n", start + BLOCK_CHARACTERS) + 1 or len(text)
        yield text[start:end]
        start = end


def _last(text: str, characters: int) -> str:
    """The last lines of `text` that fit into so many characters; of a longer line, its end."""
    if len(text) <= characters:
        return text
    start = len(text) - characters
    line = text.find("\n", start - 1) + 1
    return text[line or start :] or text[start:]


async def _write(destination: Path, blocks: Iterable[bytes]) -> None:
    with destination.open("wb") as file:
        for block in blocks:
            file.write(block)
            await asyncio.sleep(0)


@contextmanager
def _whole(destination: Path) -> Iterator[None]:
    """Where the body fails, no file is left. Raises HistoryError when the disk is full."""
    try:
        yield
    except BaseException as error:
        destination.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise HistoryError(
                "The disk of the bot's machine is full. Its operator must make room; then try "
                "again."
            ) from error
        raise
