"""What runs in the workers of a Dask cluster: writing batches, and training.

Its files are in a worker's scratch folder, which Dask deletes with the worker."""

import os
import shutil
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from distributed import get_worker

from bot.models.cache import LoadedModels
from bot.training.process import (
    CHARRNN,
    LocalTraining,
    TrainingCommand,
    TrainingEnd,
    TrainingEvent,
    TrainingOutcome,
)
from charrnn import store
from charrnn.generation import Generated, Prompt, generate
from charrnn.training.events import EpochEnd

MODELS_ON_DISK = 256  # in each worker's scratch folder; memory usually holds fewer

_keeping = threading.Lock()


@dataclass(frozen=True)
class Files:
    """Contents of files by name. Dask logs the arguments of work that fails, so dataclasses that
    hold what people write leave it out of their `repr`."""

    contents: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class Batch:
    """Texts to write with one model."""

    digest: str  # SHA-256 of the model's card, which holds those of its other files
    prompts: tuple[Prompt, ...] = field(repr=False)
    memory_bytes: int  # limit for the loaded models in this worker


@dataclass(frozen=True)
class Missing:
    """The worker at this address lacks the model of a batch."""

    worker: str


def write(batch: Batch, files: Files | None = None) -> list[Generated] | Missing:
    """A Dask task: what the model writes after each prompt. `files` are the model's, for a worker
    that lacks it. Raises ModelError."""
    worker = get_worker()
    folder = Path(worker.local_directory, "models", batch.digest)
    if files is not None:
        keep(folder, files)
    try:
        os.utime(folder)
    except FileNotFoundError:
        return Missing(worker.address)
    return generate(_loaded(batch.memory_bytes).get(folder), batch.prompts)


def keep(folder: Path, files: Files, limit: int = MODELS_ON_DISK) -> None:
    """Write a model's files to `folder`, and delete the least recently used of more than `limit`
    models beside it. Raises ModelError if the files do not belong together."""
    with _keeping:
        if not folder.exists():
            store.write_files(folder, files.contents)
        latest_first = sorted(
            folder.parent.iterdir(), key=lambda model: model.stat().st_mtime, reverse=True
        )
        for old in latest_first[limit:]:
            shutil.rmtree(old)


@cache
def _loaded(memory_bytes: int) -> LoadedModels:
    return LoadedModels(memory_bytes)


@dataclass(frozen=True)
class SentTraining:
    """A training for a worker."""

    command: TrainingCommand  # its paths are relative to a folder in the worker
    files: Files  # that the command reads, by path relative to that folder
    program: tuple[str, ...] | None  # in place of charrnn


@dataclass(frozen=True)
class Report:
    """How a training stands."""

    events: list[TrainingEvent]  # since the last report
    curve: bytes | None  # after an epoch
    outcome: TrainingOutcome | None  # once it has ended, and then
    model: Mapping[str, bytes]  # the files of its model if it finished,
    checkpoints: Mapping[str, bytes]  # and those that it left otherwise


class Training:
    """A Dask actor: a training in this worker. It is killed when Dask drops the actor, which Dask
    does when the bot disconnects."""

    def __init__(self, sent: SentTraining):
        self._folder = TemporaryDirectory(
            prefix="training-", dir=get_worker().local_directory, ignore_cleanup_errors=True
        )
        root = Path(self._folder.name)
        write_tree(root, sent.files.contents)
        command = sent.command
        self._command = TrainingCommand(
            root / command.text, root / command.base, root / command.output, command.threads
        )
        self._process = LocalTraining(self._command, sent.program or CHARRNN)
        weakref.finalize(self, self._process.kill)

    def report(self, *, stop: bool) -> Report:
        """How far it is; `stop` asks it to stop. Raises ModelError."""
        if stop:
            self._process.stop()
        running = self._process.running()
        events = self._process.events()
        outcome = None if running else self._process.outcome()
        finished = outcome is not None and outcome.end is TrainingEnd.FINISHED
        new_epoch = any(isinstance(event, EpochEnd) for event in events)
        return Report(
            events,
            self._command.curve.read_bytes() if new_epoch else None,
            outcome,
            store.read_files(self._command.output, for_training=True) if finished else {},
            {} if running else read_tree(self._command.checkpoints),
        )


def read_tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder by relative path; none if there is no folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write_tree(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make these the only files below a folder; without files, delete the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
