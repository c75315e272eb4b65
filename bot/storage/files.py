"""The state folder: training texts, models, and files that are whole or absent."""

import errno
import logging
import os
import shutil
import sqlite3
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.errors import BotError, RegistryError
from bot.storage.records import StoredModel, TrainingJob, folder_of

log = logging.getLogger(__name__)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

JobOrModel = TrainingJob | StoredModel  # they share an id and a folder


class StateFolder:
    """Where the files of jobs and models are. What the registry does not name can be deleted."""

    def __init__(self, path: Path):
        self._path = path
        self._lock: sqlite3.Connection | None = None

    @property
    def registry(self) -> Path:
        return self._path / "registry.db"

    def claim(self) -> None:
        """Create the folder, and lock it for this process. Raises RegistryError with a message for
        the operator."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            lock = self._path / "lock"
            lock.touch()
            # SQLite locks files on all systems. The system unlocks them when the process ends.
            self._lock = sqlite3.connect(lock, timeout=0, isolation_level=None)
            self._lock.execute("PRAGMA journal_mode = MEMORY")  # writes no file
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise RegistryError(
                    f"{self._path / 'lock'} cannot be locked: {error}. Delete it."
                ) from error
            raise RegistryError(
                f"Another bot is running with the state folder {self._path}. Give this one a "
                "folder of its own."
            ) from error
        except (FileExistsError, NotADirectoryError) as error:
            raise RegistryError(
                f"{self._path} is a file, or lies in one. Set STATE to a folder."
            ) from error
        except OSError as error:
            raise RegistryError(
                f"The state folder {self._path} cannot be used: {error.strerror}. "
                f"{how_to_give(self._path)} Or set STATE to another folder.",
                passing=error.errno == errno.ENOSPC,
            ) from error

    def release(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            self._lock.close()

    def text(self, kept: JobOrModel) -> Path:
        """The text that a job reads."""
        return self._text(kept.id)

    def model(self, kept: JobOrModel) -> Path:
        """The folder of a model."""
        return self._path / kept.folder

    def holds(self, folder: Path) -> bool:
        """Whether `folder` is that of a server's own model."""
        return folder.is_relative_to(self._path / "models")

    def delete(self, kept: JobOrModel) -> None:
        """Delete the text, the model, and the checkpoints and the picture beside it."""
        model = self.model(kept)
        _delete([self.text(kept), model, *model.parent.glob(f"{model.name}.*")])

    def delete_text(self, kept: JobOrModel) -> None:
        _delete([self.text(kept)])

    def delete_guild(self, guild_id: int, job_ids: Iterable[int]) -> None:
        """Delete a guild's folder, and the texts of its jobs and models."""
        _delete([*map(self._text, job_ids), self._path / folder_of(guild_id)])

    def sweep(self, folders: Collection[str], texts: Collection[int]) -> None:
        """Delete everything but the models in `folders` and the texts of the jobs `texts`."""
        for path in (self._path / "models").glob("*/*"):
            if f"models/{path.parent.name}/{path.name.partition('.')[0]}" not in folders:
                _delete([path])
        kept = set(map(self._text, texts))
        _delete(path for path in (self._path / "texts").glob("*") if path not in kept)

    def _text(self, job_id: int) -> Path:
        return self._path / "texts" / f"{job_id}.txt"


def writable(folder: Path) -> bool:
    """Whether the bot may create files in `folder`."""
    return os.access(folder, os.W_OK | os.X_OK)


def how_to_give(folder: Path) -> str:
    """A sentence on how to give a folder to the bot's user."""
    if sys.platform == "win32":
        return "Create it, and let the bot's user write to it."
    return (
        f"Create it and give it to the bot's user: sudo chown -R {os.getuid()}:{os.getgid()} "
        f"{folder} (for a container: the folder that is mounted there)."
    )


@contextmanager
def whole(destination: Path) -> Iterator[None]:
    """Delete `destination` if the body raises or is cancelled. A full disk is a BotError."""
    try:
        yield
    except BaseException as error:
        destination.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise BotError(
                "The disk of the bot's machine is full. Its operator must free some space; then "
                "try again.",
                "disk_full",
            ) from error
        raise


def write_text(destination: Path, parts: Iterable[str]) -> None:
    """Write a file in UTF-8. Leaves no file on failure. Raises BotError when the disk is full."""
    with whole(destination), destination.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(parts)


def _delete(paths: Iterable[Path]) -> None:
    """What cannot be deleted now is left to the next `sweep`."""
    for path in paths:
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be deleted: %s", path, error.strerror)
