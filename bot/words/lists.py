"""Which lists of words apply where; and the operator's file."""

import asyncio
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path

from bot.errors import BotError, SettingsError
from bot.storage.registry import Registry
from bot.words.matching import WordFilter, WordList, checked

SEPARATOR = ","  # between the words that an admin adds at once


class NeverSaid:
    """What is never said in each server: its own list, and the operator's.

    The lists are kept in memory, so that no text waits for the registry or fails with it. A full
    list takes less memory than what discord.py keeps of its server."""

    def __init__(self, registry: Registry, operators: Iterable[str] = ()):
        self._registry = registry
        self._operators = WordList(operators)
        self._own: dict[int, list[str]] = {}  # by server
        self._changing = asyncio.Lock()  # else an older list could replace a newer one
        self._prepared = lru_cache(128)(WordList)  # a tree takes about 50 times its list's memory

    async def load(self) -> None:
        """Read the servers' lists. Call it once, before any text is written."""
        self._own = await self._registry.words()

    def words(self, guild_id: int) -> list[str]:
        """The server's own list, in alphabetical order."""
        return self._own.get(guild_id, [])

    def in_server(self, guild_id: int | None) -> WordFilter:
        """What is never said there; elsewhere, where `guild_id` is None, only the operator's list
        applies."""
        own = tuple(self.words(guild_id)) if guild_id else ()
        return WordFilter((self._operators, self._prepared(own)))

    async def add(self, guild_id: int, words: Collection[str]) -> None:
        """Raises BotError, and adds none, if the list would be too long."""
        async with self._changing:
            self._own[guild_id] = await self._registry.add_words(guild_id, words)

    async def remove(self, guild_id: int, word: str) -> None:
        """Raises BotError if the word is not in the list."""
        async with self._changing:
            self._own[guild_id] = await self._registry.remove_word(guild_id, word)

    def forget(self, guild_id: int) -> None:
        """The registry has forgotten the server."""
        self._own.pop(guild_id, None)


def split(typed: str) -> list[str]:
    """The words and phrases that an admin has typed. Raises BotError if one cannot be looked for,
    or there is none."""
    parts = [part for part in typed.split(SEPARATOR) if part.strip()] or [""]
    words = []
    for number, part in enumerate(parts, 1):
        try:
            words.append(checked(part))
        except BotError as error:
            raise BotError(f"Entry {number} is wrong. {error}", "words") from error
    return words


def read_file(path: Path) -> list[str]:
    """The operator's list: one word or phrase a line; lines that begin with # are comments.

    Raises SettingsError, which names the lines that are wrong, but not what they contain."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SettingsError([f"WORDS_FILE: {path} is not UTF-8 text. Save it as UTF-8."]) from error
    except OSError as error:
        raise SettingsError([f"WORDS_FILE: {path} cannot be read: {error.strerror}."]) from error
    words, problems = [], []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                words.append(checked(line))
            except BotError as error:
                problems.append(f"WORDS_FILE: line {number} of {path} is wrong. {error}")
    if problems:
        raise SettingsError(problems)
    return words
