"""A model's folder as a .zip file to download."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from bot.errors import BotError, not_found
from bot.interactions.markup import megabytes
from bot.storage.files import whole
from charrnn import store

OVERHEAD_BYTES = 4096  # what the .zip and the request around it add to the files, at most


@dataclass(frozen=True)
class Archive:
    file: Path
    names: tuple[str, ...]  # of the files in it
    complete: bool  # False: without model.keras, which training needs and writing does not


@asynccontextmanager
async def archived(folder: Path, limit_bytes: int) -> AsyncIterator[Archive]:
    """The model in `folder` as a .zip for a request of at most `limit_bytes`. It exists while the
    body runs, and includes model.keras if that fits. Raises BotError when the rest does not fit,
    the folder is gone, or the disk is full."""
    with tempfile.TemporaryDirectory(prefix="charrnn-") as place:
        yield await asyncio.to_thread(_archive, folder, Path(place) / "model.zip", limit_bytes)


def _archive(folder: Path, file: Path, limit_bytes: int) -> Archive:
    try:
        every = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        needed = {name: size for name, size in every.items() if name != store.KERAS}
        chosen = every if _upload_size(every) <= limit_bytes else needed
        if _upload_size(chosen) > limit_bytes:
            raise BotError(
                f"Discord takes files of up to {megabytes(limit_bytes)} here, and this model has "
                f"{megabytes(_upload_size(needed))}. The bot's operator can copy it from "
                f"{'/'.join(folder.parts[-3:])} in the state folder.",
                "not_allowed",
            )
        # Not compressed: weights look random, so they would not get smaller.
        with whole(file), ZipFile(file, "w") as archive:
            for name in chosen:
                archive.write(folder / name, name)
    except FileNotFoundError as error:
        raise not_found("model") from error
    return Archive(file, tuple(chosen), chosen is every)


def _upload_size(sizes: dict[str, int]) -> int:
    return sum(sizes.values()) + OVERHEAD_BYTES
