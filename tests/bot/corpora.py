"""Channels and files to read, and what is where a text file was to be written."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from discord import MessageType


def written(corpus: Path) -> str:
    return corpus.read_bytes().decode()


def left_behind(corpus: Path) -> list[Path]:
    return list(corpus.parent.iterdir())


def message(content: str, author: int = 7, mentions: Iterable[int] = (), at: int = 0) -> Any:
    nothing = ("attachments", "embeds", "stickers", "message_snapshots", "components")
    return SimpleNamespace(
        id=at,
        author=SimpleNamespace(id=author, bot=False),
        content=content,
        webhook_id=None,
        type=MessageType.default,
        mentions=[SimpleNamespace(id=number, display_name="x") for number in mentions],
        role_mentions=[],
        channel_mentions=[],
        poll=None,
        activity=None,
        **dict.fromkeys(nothing, ()),
    )


@dataclass
class Scroll:
    """A channel with these messages."""

    newest_first: Iterable[Any]
    name: str = "scroll"
    id: int = 1
    given: int = 0

    @property
    def guild(self) -> Any:
        me = SimpleNamespace(id=1)
        return SimpleNamespace(me=me, owner_id=me.id)

    async def history(self, limit: int, **_: Any) -> AsyncIterator[Any]:
        for given in self.newest_first:
            if self.given == limit:
                return
            self.given += 1
            yield given


@dataclass
class Upload:
    """A file that somebody attached."""

    filename: str
    content: bytes
    fails: Exception | None = None

    @property
    def size(self) -> int:
        return len(self.content)

    async def read(self) -> bytes:
        if self.fails:
            raise self.fails
        return self.content
