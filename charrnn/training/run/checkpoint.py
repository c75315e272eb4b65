"""Checkpoints: the folder beside a model from which an interrupted training run resumes."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from charrnn import store
from charrnn.errors import TrainingError
from charrnn.training.run.state import RunState

_STATE, _BEST = "state.json", "best.keras"


def checkpoints_of(output: Path) -> Path:
    """The folder in which an unfinished run that makes the model `output` keeps its checkpoints."""
    return output.with_name(f"{output.name}.training")


class Checkpoints:
    """A run's folder. The state is written last and names only complete files, so a run can be
    killed at any moment."""

    def __init__(self, output: Path):
        self.folder = checkpoints_of(output)

    @property
    def best(self) -> Path:
        """The Keras file with the best weights so far."""
        return self.folder / _BEST

    def start(self) -> None:
        """Make the folder. Raises TrainingError when it holds an unfinished run."""
        if (self.folder / _STATE).exists():
            raise TrainingError(
                f"{self.folder} holds an unfinished run. Resume it with --resume, or delete it."
            )
        self.folder.mkdir(parents=True, exist_ok=True)

    def resume(self, start: RunState) -> RunState:
        """The state at the last checkpoint; `start` if the run was killed before its first one.
        Raises TrainingError if there is no run, or its fingerprint is not that of `start`."""
        if not self.folder.is_dir():
            raise TrainingError(f"There is no run to resume: {self.folder} does not exist.")
        path = self.folder / _STATE
        if not path.is_file():
            return start
        try:
            state = RunState(**json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise TrainingError(
                f"{path} is damaged. Delete {self.folder} to start afresh."
            ) from error
        if state.fingerprint != start.fingerprint:
            raise TrainingError(
                f"The checkpoint in {self.folder} belongs to another text or other options. "
                "Use the same ones, or delete the folder to start afresh."
            )
        return state

    def save_best(self, save: Callable[[Path], None]) -> None:
        """Replace the best weights by a file that `save` writes."""
        with self.guarded():
            self._save(save, _BEST)

    def save(self, save: Callable[[Path], None], state: RunState) -> None:
        """Let `save` write the file `state.checkpoint`, then write the state."""
        with self.guarded():
            self._save(save, state.checkpoint)
            store.write_file(self.folder / _STATE, json.dumps(asdict(state)).encode())
        for path in self.folder.glob("*.weights.h5"):
            if path.name != state.checkpoint:
                path.unlink()

    def remove(self) -> None:
        """Delete the folder of a finished run."""
        # Renamed first: a folder that is half deleted must not look like a run.
        finished = self.folder.with_name(f".{self.folder.name}.finished")
        shutil.rmtree(finished, ignore_errors=True)  # if a run was killed here
        self.folder.rename(finished)
        shutil.rmtree(finished)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn an OSError, such as of a full disk, into a TrainingError that says what is kept."""
        try:
            yield
        except OSError as error:
            for path in self.folder.glob("new-*"):
                path.unlink()  # the disk may be full
            # HDF5 puts the system's message inside a longer one of its own.
            wrapped = re.search("error message = '(.+?)'", str(error))
            reason = wrapped[1] if wrapped else error.strerror or str(error)
            kept = (
                f" The last checkpoint is safe in {self.folder}; --resume continues from it."
                if (self.folder / _STATE).exists()
                else ""
            )
            raise TrainingError(
                f"The training stopped because its files could not be written: {reason}.{kept}"
            ) from error

    def _save(self, save: Callable[[Path], None], name: str) -> None:
        new = self.folder / f"new-{name}"
        save(new)
        store.sync(new)
        new.replace(self.folder / name)
