"""Files that are there whole, or not at all."""

import asyncio
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.errors import DiskFullError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def whole(destination: Path) -> Iterator[None]:
    """Where the body, which writes `destination`, fails or is cancelled, no file is left. Raises
    DiskFullError."""
    try:
        yield
    except BaseException as error:
        destination.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise DiskFullError from error
        raise


async def write(destination: Path, blocks: Iterable[bytes]) -> None:
    """Write a file; the event loop has its turn after each of the blocks."""
    with destination.open("wb") as file:
        for block in blocks:
            file.write(block)
            await asyncio.sleep(0)
