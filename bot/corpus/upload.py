"""A file that somebody uploaded -> a corpus on the disk, cleaned as the command line does it."""

import asyncio
from collections.abc import Container, Iterator
from pathlib import Path

import aiohttp
import discord

from bot.corpus.channel import MAX_CHARACTERS
from bot.errors import BotError
from bot.interactions.markup import escape
from bot.storage.disk import whole, write
from charrnn.errors import CorpusError
from charrnn.text.corpus import decode, join_messages
from charrnn.text.messages import Counts, read_export, read_lines, without_private
from charrnn.vocabulary import clean

MAX_FILE_BYTES = 25_000_000
# Each is an object in memory, of 60 bytes and more: without a limit, 600 MB of them fit in a file.
MAX_BRACKETS = 1_000_000
BLOCK_CHARACTERS = 2**16
READERS = {".json": read_export, ".jsonl": read_lines}


async def read_file(
    file: discord.Attachment,
    destination: Path,
    *,
    opted_out: Container[str],
    max_characters: int = MAX_CHARACTERS,
) -> Counts:
    """Write an uploaded file to `destination` as `charrnn train` would read it: a channel
    (`.jsonl`, DiscordChatExporter's `.json`), a message a line; or a text (`.txt`), which loses
    here what messages lose. Of one that is too long, the last `max_characters` are kept, in whole
    lines.

    Returns what came of the messages, their authors being those of the whole file; of a text,
    the characters alone are counted. Raises BotError, which says what is wrong
    with the file. When it fails, no file is left."""
    name = escape(file.filename)
    kind = Path(file.filename).suffix.lower()
    if kind not in (".txt", *READERS):
        raise BotError(
            f"I cannot read {name}. Upload a text (.txt) or a channel as DiscordChatExporter "
            "writes it to a .json file.",
            kind="corpus",
        )
    if file.size > MAX_FILE_BYTES:
        raise BotError(
            f"{name} is too large. Upload the part of it that matters, at most "
            f"{MAX_FILE_BYTES // 1_000_000} MB.",
            kind="corpus",
        )
    try:
        content = await file.read()
        text, counts = await asyncio.to_thread(_corpus, content, kind, name, opted_out)
    except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
        raise BotError(
            f"Discord did not hand over {name}. Upload it again.", kind="corpus"
        ) from error
    except CorpusError as error:
        raise BotError(str(error), kind="corpus") from error
    kept = _last(text, max_characters)
    if len(kept) < len(text):
        if counts.messages:
            counts.messages = kept.count("\n")
        counts.characters = len(kept)
    blocks = range(0, len(kept), BLOCK_CHARACTERS)
    with whole(destination):
        await write(destination, (kept[i : i + BLOCK_CHARACTERS].encode() for i in blocks))
    return counts


def _corpus(content: bytes, kind: str, name: str, opted_out: Container[str]) -> tuple[str, Counts]:
    """The text of a file, cleaned. Raises CorpusError and BotError."""
    text = decode(content, name)
    if "\0" in text:
        raise BotError(
            f"{name} is not a text. Save it as plain text in UTF-8 and try again.", kind="corpus"
        )
    if kind != ".txt" and text.count("[") + text.count("{") > MAX_BRACKETS:
        raise BotError(
            f"{name} has more parts than I can read. Upload a smaller one.", kind="corpus"
        )
    if kind == ".txt":
        # By the piece: one long call would keep the event loop waiting.
        text = "".join(_plain(piece) for piece in _pieces(text))
        counts = Counts(characters=len(text))
    else:
        text, counts = join_messages(READERS[kind](text, name), opted_out)
    if not text.strip():
        why = f" to learn from ({counts})" if counts.total() else ""
        raise BotError(f"{name} holds no text{why}. Upload another file.", kind="corpus")
    return text, counts


def _plain(piece: str) -> str:
    return "".join(map(without_private, clean(piece).splitlines(keepends=True)))


def _pieces(text: str) -> Iterator[str]:
    """Of whole lines; of a line that is too long, of whole words, if it has any."""
    start = 0
    while start < len(text):
        soonest, latest = start + BLOCK_CHARACTERS, start + 4 * BLOCK_CHARACTERS
        end = text.find("\n", soonest, latest) + 1
        if not end and latest < len(text):
            end = text.rfind(" ", soonest, latest) + 1 or latest
        end = end or len(text)
        yield text[start:end]
        start = end


def _last(text: str, characters: int) -> str:
    """The last lines of `text` that fit into so many characters; of a longer line, its end."""
    if len(text) <= characters:
        return text
    start = len(text) - characters
    line = text.find("\n", start - 1) + 1
    return text[line or start :] or text[start:]
