"""The folder of what servers have: the texts that trainings read, and the models they make."""

import errno
import logging
import os
import shutil
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import IO

from bot.errors import RegistryError
from bot.storage.records import StoredModel, TrainingJob

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

Kept = TrainingJob | StoredModel  # a training and the model that it makes have one number


class StateFolder:
    """Knows where a training's files are. What the registry does not name may be deleted."""

    def __init__(self, path: Path):
        self._path = path
        self._lock: IO[str] | None = None

    @property
    def registry(self) -> Path:
        """The file of the records."""
        return self._path / "registry.db"

    def claim(self) -> None:
        """Make the folder, and keep other bots out of it while this process lives. Raises
        RegistryError, for the operator."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._lock = (self._path / "lock").open("w")
            if sys.platform != "win32":
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RegistryError(
                f"{self._path} is another bot's, which is running. Give this one a folder of its "
                "own."
            ) from error
        except (FileExistsError, NotADirectoryError) as error:
            raise RegistryError(
                f"{self._path} is a file, or in one. Set STATE to a folder."
            ) from error
        except OSError as error:
            raise RegistryError(
                f"The state folder {self._path} cannot be used: {error.strerror}. Make it and give "
                f"it to the bot's user ({give(self._path)}; in a container, the folder that is "
                "mounted there), or set STATE to another.",
                passing=error.errno == errno.ENOSPC,
            ) from error

    def release(self) -> None:
        """Let another bot have it."""
        if self._lock is not None:
            self._lock.close()

    def text(self, kept: Kept) -> Path:
        """The text that a training reads."""
        return self._path / "texts" / f"{kept.id}.txt"

    def model(self, kept: Kept) -> Path:
        """The model's folder."""
        return self._path / kept.folder

    def holds(self, folder: Path) -> bool:
        """Whether it is a server's own model's."""
        return folder.is_relative_to(self._path / "models")

    def curve(self, kept: Kept) -> Path | None:
        """The picture of its learning curve, if there is one."""
        curve = curve_of(self.model(kept))
        return curve if curve.is_file() else None

    def delete(self, kept: Kept) -> None:
        """Delete text, model, and what a training keeps beside it."""
        model = self.model(kept)
        _delete([self.text(kept), model, *model.parent.glob(f"{model.name}.*")])

    def delete_text(self, kept: Kept) -> None:
        _delete([self.text(kept)])

    def delete_guild(self, folder: str, models: Iterable[StoredModel]) -> None:
        """Delete a guild's folder, and the texts of its models."""
        _delete([*map(self.text, models), self._path / folder])

    def sweep(self, folders: Collection[str], texts: Collection[int]) -> None:
        """Delete all but the models in `folders`, and the texts of these numbers."""
        for path in (self._path / "models").glob("*/*"):
            if f"models/{path.parent.name}/{path.name.partition('.')[0]}" not in folders:
                _delete([path])
        kept = {f"{number}.txt" for number in texts}
        for path in (self._path / "texts").glob("*"):
            if path.name not in kept:
                _delete([path])


def writable(folder: Path) -> bool:
    """Whether the bot may make files in it."""
    return os.access(folder, os.W_OK | os.X_OK)


def give(folder: Path) -> str:
    """The command that makes a folder the bot's own."""
    return f"sudo chown -R {os.getuid()}:{os.getgid()} {folder}"


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


def curve_of(model: Path) -> Path:
    """Where the picture of a model's learning curve is, beside its folder."""
    return model.with_name(f"{model.name}.png")
