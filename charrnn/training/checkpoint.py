"""Checkpoints: the folder beside a model from which an interrupted training run resumes."""

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from charrnn import store
from charrnn.errors import TrainingError

_STATE, _BEST = "state.json", "best.keras"


@dataclass(frozen=True)
class Progressed:
    """How far a run has come."""

    epoch: int = 0  # epochs finished
    batches: int = 0  # finished in the current epoch
    characters: int = 0  # in those batches
    nats: float = 0.0  # loss, summed over those characters
    best_epoch: int = 0  # the one that is kept
    best_validation_loss: float = math.inf  # nats per character
    best_voice: float | None = None
    seconds: float = 0.0  # spent on training, and on measuring after each epoch
    measuring_s: float = 0.0  # seconds that measuring took the last time
    # `loss`, `validation_loss` and, if fine-tuned, `voice` of each epoch, and standard errors: of
    # the voice, and of the difference between the validation loss and the base's. First, without a
    # `loss`, those of the base untouched.
    history: list[dict[str, float]] = field(default_factory=list)
    base_losses: list[float] = field(default_factory=list)  # its validation loss, block by block
    checkpoint: str = ""  # the file with weights and optimizer
    fingerprint: str = ""  # job.Material.fingerprint


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

    def resume(self, start: Progressed) -> Progressed:
        """The state at the last checkpoint; `start` if the run was killed before its first one.
        Raises TrainingError if there is no run, or its fingerprint is not that of `start`."""
        if not self.folder.is_dir():
            raise TrainingError(f"There is no run to resume: {self.folder} does not exist.")
        path = self.folder / _STATE
        if not path.is_file():
            return start
        try:
            progressed = Progressed(**json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise TrainingError(
                f"{path} is damaged. Delete {self.folder} to start afresh."
            ) from error
        if progressed.fingerprint != start.fingerprint:
            raise TrainingError(
                f"The checkpoint in {self.folder} belongs to another text or other options. "
                "Use the same ones, or delete the folder to start afresh."
            )
        return progressed

    def save_best(self, save: Callable[[Path], None]) -> None:
        """Replace the best weights by a file that `save` writes."""
        with self.guarded():
            self._save(save, _BEST)

    def save(self, save: Callable[[Path], None], progressed: Progressed) -> None:
        """Let `save` write the file `progressed.checkpoint`, then write the state."""
        with self.guarded():
            self._save(save, progressed.checkpoint)
            store.write_file(self.folder / _STATE, json.dumps(asdict(progressed)).encode())
        for path in self.folder.glob("*.weights.h5"):
            if path.name != progressed.checkpoint:
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
