"""Where an interrupted training run goes on: a folder beside the model that is to be."""

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
    batches: int = 0  # done in the epoch under way,
    characters: int = 0  # what they held,
    nats: float = 0.0  # and their loss, summed over the characters
    best_epoch: int = 0
    best_validation_loss: float = math.inf  # nats per character
    seconds: float = 0.0  # spent on training
    # Losses, epoch by epoch; of a base before training, the validation loss alone.
    history: list[dict[str, float]] = field(default_factory=list)
    checkpoint: str = ""  # the file with weights and optimizer
    fingerprint: str = ""  # of what the run is: text, network, recipe


def checkpoints_of(output: Path) -> Path:
    """The folder in which an unfinished run that makes the model `output` keeps its checkpoints."""
    return output.with_name(f"{output.name}.training")


class Checkpoints:
    """A run's folder. Its state is written last and names only files that are whole, so a run
    that is killed at any moment finds the last epoch that it finished."""

    def __init__(self, output: Path):
        self.folder = checkpoints_of(output)

    @property
    def best(self) -> Path:
        """The weights that did best so far, as a Keras file."""
        return self.folder / _BEST

    def start(self) -> None:
        """Make the folder. Raises TrainingError when there is an unfinished run in it."""
        if (self.folder / _STATE).exists():
            raise TrainingError(
                f"{self.folder} holds an unfinished run. Go on with it with --resume, or delete it."
            )
        self.folder.mkdir(parents=True, exist_ok=True)

    def resume(self, start: Progressed) -> Progressed:
        """How far the run had come; `start`, when it was killed before its first checkpoint.
        Raises TrainingError when there is none, or one of another fingerprint than `start`'s."""
        if not self.folder.is_dir():
            raise TrainingError(f"There is no {self.folder}, so there is no run to go on with.")
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
                "Give the same ones; or delete it, to start afresh."
            )
        return progressed

    def save_best(self, save: Callable[[Path], None]) -> None:
        """Let `save` write the best weights."""
        with self.guarded():
            self._save(save, _BEST)

    def save(self, save: Callable[[Path], None], progressed: Progressed) -> None:
        """Let `save` write `progressed.checkpoint`, then note that it is there."""
        with self.guarded():
            self._save(save, progressed.checkpoint)
            store.write_file(self.folder / _STATE, json.dumps(asdict(progressed)).encode())
        for path in self.folder.glob("*.weights.h5"):
            if path.name != progressed.checkpoint:
                path.unlink()

    def remove(self) -> None:
        """The run is finished. Renamed first: half a folder must not look like a run."""
        finished = self.folder.with_name(f".{self.folder.name}.finished")
        shutil.rmtree(finished, ignore_errors=True)  # of a run that was killed at this very place
        self.folder.rename(finished)
        shutil.rmtree(finished)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Say where a run that the disk has stopped can go on. Raises TrainingError for OSError."""
        try:
            yield
        except OSError as error:
            for path in self.folder.glob("new-*"):
                path.unlink()  # makes room, if the disk is full
            # HDF5 wraps the system's word in a report of its own.
            wrapped = re.search("error message = '(.+?)'", str(error))
            reason = wrapped[1] if wrapped else error.strerror or str(error)
            kept = (
                f" What was kept before is safe in {self.folder}; --resume goes on from there."
                if (self.folder / _STATE).exists()
                else ""
            )
            raise TrainingError(
                f"The training stopped, since it could not be written down: {reason}.{kept}"
            ) from error

    def _save(self, save: Callable[[Path], None], name: str) -> None:
        new = self.folder / f"new-{name}"
        save(new)
        store.sync(new)
        new.replace(self.folder / name)
