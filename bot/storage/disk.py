"""Files that are there whole, or not at all."""

import asyncio
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.errors import BotError

FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = "The disk of the bot's machine is full. Its operator must make room; then try again."


@contextmanager
def whole(destination: Path) -> Iterator[None]:
    """Where the body, which writes `destination`, fails or is cancelled, no file is left. Raises
    BotError when the disk is full."""
    try:
        yield
    except BaseException as error:
        destination.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise BotError(DISK_FULL, kind="disk_full") from error
        raise


async def write(destination: Path, blocks: Iterable[bytes]) -> None:
    """Write a file; the event loop has its turn after each of the blocks."""
    with destination.open("wb") as file:
        for block in blocks:
            file.write(block)
            await asyncio.sleep(0)
