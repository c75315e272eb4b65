"""A model's folder as an archive for people to take away."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from bot.errors import BotError, NotFoundError
from bot.interactions.markup import megabytes
from bot.storage.disk import whole
from charrnn import store

ARCHIVE_BYTES = 1024  # that a .zip takes beside its files, at the most


@dataclass(frozen=True)
class Package:
    file: Path
    names: tuple[str, ...]  # of the files in it
    complete: bool  # or only what is needed to write with it


@asynccontextmanager
async def packed(folder: Path, limit_bytes: int) -> AsyncIterator[Package]:
    """The model in a .zip of at most so many bytes, while the body runs; what training goes on
    from is left out if need be. Raises BotError when it does not fit even so or the disk is full,
    NotFoundError when there is no such folder any more."""
    with tempfile.TemporaryDirectory(prefix="charrnn-") as place:
        yield await asyncio.to_thread(_pack, folder, Path(place) / "model.zip", limit_bytes)


def _pack(folder: Path, file: Path, limit_bytes: int) -> Package:
    try:
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        needed = {name: size for name, size in sizes.items() if name != store.KERAS}
        fitting = (names for names in (sizes, needed) if _total(names) <= limit_bytes)
        names = next(fitting, None)
        if names is None:
            raise BotError(
                f"Discord takes files of up to {megabytes(limit_bytes)} here, and this model has "
                f"{megabytes(_total(needed))}. The bot's operator can copy it: in the state folder "
                f"it is {'/'.join(folder.parts[-3:])}.",
                kind="not_allowed",
            )
        # Not compressed: weights are noise, which gets no smaller.
        with whole(file), ZipFile(file, "w") as archive:
            for name in names:
                archive.write(folder / name, name)
    except FileNotFoundError as error:
        raise NotFoundError("model") from error
    return Package(file, tuple(names), names is sizes)


def _total(sizes: dict[str, int]) -> int:
    return sum(sizes.values()) + ARCHIVE_BYTES
