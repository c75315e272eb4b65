"""An uploaded file -> a text file, cleaned as `charrnn train` cleans it."""

import asyncio
from collections.abc import Collection, Iterator
from pathlib import Path

import aiohttp
import discord

from bot.corpus.channel import MAX_CHARACTERS
from bot.errors import BotError
from bot.interactions.markup import escape
from bot.storage.files import write_text
from charrnn.errors import CorpusError
from charrnn.text.corpus import decode
from charrnn.text.exports import read_export
from charrnn.text.messages import Cleaner, Counts, join_messages, without_private
from charrnn.vocabulary import clean

MAX_FILE_BYTES = 25_000_000
# Each bracket becomes a Python object of 60 bytes or more: 25 MB of them would take over 600 MB.
MAX_BRACKETS = 1_000_000
PIECE_CHARACTERS = 2**16


def name_of(file: discord.Attachment) -> str:
    """The name that people gave the file. Discord leaves only ASCII in `filename`, and then puts
    the name without its suffix into `title`."""
    suffix = file.filename.rpartition(".")[2]
    return f"{file.title.removesuffix(f'.{suffix}')}.{suffix}" if file.title else file.filename


async def read_file(
    file: discord.Attachment,
    destination: Path,
    *,
    opted_out: Collection[str],
    max_characters: int = MAX_CHARACTERS,
) -> Counts:
    """Write the text of an uploaded file to `destination` as UTF-8, and return the counts of what
    was kept and left out. An exported chat becomes one message a line. A text loses the same
    private data as messages do; only its characters are counted. If the text is too long, its last
    lines are kept, up to `max_characters`; the authors are still those of the whole file.
    `opted_out` are ids, and names for chats without ids.

    Raises BotError when the file cannot be used or the disk is full. Then it leaves no file."""
    name = escape(file.filename)
    if file.size > MAX_FILE_BYTES:
        raise BotError(
            f"{name} is too large. Upload the most important part, at most "
            f"{MAX_FILE_BYTES // 1_000_000} MB.",
            "corpus",
        )
    try:
        content = await file.read()
        text, counts = await asyncio.to_thread(_read, content, name, opted_out)
    except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
        raise BotError(f"Discord did not send me {name}. Upload it again.", "discord") from error
    except CorpusError as error:
        raise BotError(str(error), "corpus") from error
    kept = _last_lines(text, max_characters)
    if len(kept) < len(text):
        if counts.messages:
            counts.messages = kept.count("\n")
        counts.characters = len(kept)
    await asyncio.to_thread(write_text, destination, [kept])
    return counts


def _read(content: bytes, name: str, opted_out: Collection[str]) -> tuple[str, Counts]:
    """The cleaned text of a file. Raises CorpusError and BotError."""
    text = decode(content, name, MAX_FILE_BYTES)
    if "\0" in text:
        sentence = f"{name} is not a text. Save it as plain text in UTF-8 and try again."
        raise BotError(sentence, "corpus")
    brackets = text.count("[") + text.count("{")
    if brackets > MAX_BRACKETS and text.lstrip().startswith(("[", "{")):
        raise BotError(f"{name} has too many parts. Upload a smaller file.", "corpus")
    messages = read_export(text, name)
    if messages is not None:
        text, counts = join_messages(messages, Cleaner(opted_out))
    else:
        # In pieces, because a regular expression holds the GIL until it has seen all of its text.
        text = "".join(map(_clean, _pieces(text)))
        counts = Counts(characters=len(text))
    if not text.strip():
        why = f" to learn from ({counts})" if counts.total() else ""
        raise BotError(f"{name} contains no text{why}. Upload another file.", "corpus")
    return text, counts


def _clean(piece: str) -> str:
    return "".join(map(without_private, clean(piece).splitlines(keepends=True)))


def _pieces(text: str) -> Iterator[str]:
    """Cut `text` after lines; a long line after words; a long word anywhere."""
    start = 0
    while start < len(text):
        soonest, latest = start + PIECE_CHARACTERS, start + 4 * PIECE_CHARACTERS
        end = text.find("\n", soonest, latest) + 1
        if not end and latest < len(text):
            end = text.rfind(" ", soonest, latest) + 1 or latest
        end = end or len(text)
        yield text[start:end]
        start = end


def _last_lines(text: str, characters: int) -> str:
    """The last whole lines with at most `characters`; the end of the last line if it is longer."""
    if len(text) <= characters:
        return text
    start = len(text) - characters
    line = text.find("\n", start - 1) + 1
    return text[line or start :] or text[start:]
