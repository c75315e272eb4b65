"""What runs in the workers of a Dask cluster: writing with models that the bot has sent, training.

All that a worker is sent lies in its scratch folder, which Dask clears away after it."""

import asyncio
import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Any

from distributed import Worker, get_worker

from bot.models.cache import LoadedModels
from bot.training.process import CHARRNN, TrainingOrder, TrainingOutcome, TrainingProcess
from charrnn import store
from charrnn.errors import ModelError
from charrnn.generation import Generated, Prompt, generate

log = logging.getLogger(__name__)

STORED_LIMIT_BYTES = 2**30  # for the models on a worker's disk; those used last stay
END_INTERVAL_S = 0.05  # between two looks at whether a run that was killed has ended

Files = Mapping[str, bytes]  # content by name
_receiving = threading.Lock()


@dataclass(frozen=True)
class Batch:
    """Texts that are wanted of a model. What people write stays out of Dask's logs."""

    digest: str  # the SHA-256 of the model's card, which holds that of its other files
    prompts: tuple[Prompt, ...] = field(repr=False)
    memory_bytes: int  # for models in memory


@dataclass(frozen=True)
class Missing:
    """The model of a batch is not in the worker at this address."""

    worker: str


def write(batch: Batch) -> list[Generated] | Missing:
    """A task: what the model writes. Raises ModelError."""
    worker = get_worker()
    folder = _models(worker) / batch.digest
    try:
        os.utime(folder)
    except FileNotFoundError:
        return Missing(worker.address)
    return generate(_loaded(batch.memory_bytes).get(folder), batch.prompts)


def lacks(digest: str, dask_worker: Worker) -> bool:
    """Whether the model is not here."""
    return not (_models(dask_worker) / digest).is_dir()


async def receive(digest: str, files: Files, dask_worker: Worker) -> None:
    """Keep the files of a model. Raises ModelError when they are not what `digest` says, or there
    is no room for them."""
    with _writing(dask_worker):
        await asyncio.to_thread(keep, _models(dask_worker), digest, files)


def keep(models: Path, digest: str, files: Files, limit_bytes: int = STORED_LIMIT_BYTES) -> None:
    """Keep a model in `models`, beside those used last, up to a limit. Raises ModelError."""
    if hashlib.sha256(files[store.CARD]).hexdigest() != digest:
        raise ModelError("The model that was sent is not the one that was announced.")
    with _receiving:
        if not (models / digest).exists():
            store.write_files(models / digest, files)
        kept_bytes = 0
        for folder in sorted(models.iterdir(), key=lambda f: f.stat().st_mtime, reverse=True):
            kept_bytes += sum(file.stat().st_size for file in folder.iterdir())
            if kept_bytes > limit_bytes and folder.name != digest:
                shutil.rmtree(folder)


@contextmanager
def _writing(worker: Worker) -> Iterator[None]:
    """To the bot, an OSError would mean that the connection is lost."""
    try:
        yield
    except OSError as error:
        raise ModelError(f"{worker.address} cannot write its files: {error.strerror}.") from error


def _models(worker: Worker) -> Path:
    return Path(worker.local_directory) / "models"


@cache
def _loaded(memory_bytes: int) -> LoadedModels:
    return LoadedModels(memory_bytes, partial(store.load, only_to_write=True))


@dataclass(frozen=True)
class Start:
    """A training for a worker, with all that it needs."""

    run: str  # a name for it, of its own
    text: tuple[str, bytes] = field(repr=False)  # a file's name and content
    base: tuple[str, Files] = field(repr=False)  # a model's name and files
    output: str  # the name of the model to be
    checkpoints: Files = field(repr=False)  # to go on from, if any
    threads: int
    lease_s: float  # the run ends when it has not been asked after for so long
    program: tuple[str, ...] | None = None  # in place of charrnn


class Wish(StrEnum):
    STOP = "stop"
    KILL = "kill"


@dataclass(frozen=True)
class Report:
    """How far a run is."""

    events: list[dict[str, Any]]  # new ones
    curve: bytes | None  # the picture, when it is a new one,
    drawn_ns: int  # and when it was drawn
    outcome: TrainingOutcome | None  # once it has ended


@dataclass(frozen=True)
class Made:
    """What a run leaves behind."""

    model: Files  # empty, when it did not come to that
    checkpoints: Files


class _Run:
    """A training here."""

    def __init__(self, folder: Path, order: TrainingOrder, program: tuple[str, ...]):
        self.folder = folder
        self.order = order
        self.process = TrainingProcess(order, program)
        self.events: list[dict[str, Any]] = []
        self.asked_at = time.monotonic()  # after it, last
        self.lease: asyncio.Task[None] | None = None


_runs: dict[str, _Run] = {}


def trainings() -> int:
    """How many there are in this worker."""
    return len(_runs)


async def begin(start: Start, dask_worker: Worker) -> None:
    """Start a training. In the event loop's thread, which lasts as long as the worker does: on
    Linux, a training ends with the thread that started it. Raises ModelError."""
    folder = Path(dask_worker.local_directory) / "trainings" / start.run
    with _writing(dask_worker):
        order = await asyncio.to_thread(_lay_out, folder, start)
    run = _runs[start.run] = _Run(folder, order, start.program or CHARRNN)
    run.lease = asyncio.create_task(_expire(start.run, run, start.lease_s))


def attend(name: str, told: int, drawn_ns: int, wish: Wish | None) -> Report | None:
    """How far a run is, beyond the first `told` events and the picture of `drawn_ns`, after doing
    what is wished; None when there is no such run. Asked twice, it says the same twice."""
    run = _runs.get(name)
    if run is None:
        return None
    run.asked_at = time.monotonic()
    if wish is Wish.STOP:
        run.process.stop()
    elif wish is Wish.KILL:
        run.process.kill()
    ended = not run.process.running()
    run.events += run.process.events()
    curve = run.order.curve
    drawn = curve.stat().st_mtime_ns if curve.is_file() else drawn_ns
    return Report(
        run.events[told:],
        curve.read_bytes() if drawn != drawn_ns else None,
        drawn,
        run.process.outcome() if ended else None,
    )


async def fetch(name: str) -> Made | None:
    """What a run has left behind; None when there is no such run. Raises ModelError, OSError."""
    run = _runs.get(name)
    if run is None:
        return None
    run.asked_at = time.monotonic()
    return await asyncio.to_thread(_made, run.order)


async def end(name: str) -> None:
    """Let go of a run and of its files."""
    run = _runs.pop(name, None)
    if run is not None:
        run.process.kill()
        while run.process.running():  # noqa: ASYNC110 - a process can only be asked
            await asyncio.sleep(END_INTERVAL_S)
        await asyncio.to_thread(shutil.rmtree, run.folder, ignore_errors=True)


async def _expire(name: str, run: _Run, lease_s: float) -> None:
    """So that no run outlives a bot that was killed."""
    left_s = lease_s
    while left_s > 0:
        await asyncio.sleep(left_s)
        left_s = run.asked_at + lease_s - time.monotonic()
    if name in _runs:
        log.warning("Nobody has asked after the training of %s: it ends.", run.order.output.name)
        await end(name)


def _lay_out(folder: Path, start: Start) -> TrainingOrder:
    """Write the files of a training. Apart, so that no two of them can have the same path."""
    text, base = folder / "text" / start.text[0], folder / "base" / start.base[0]
    order = TrainingOrder(text, base, folder / "output" / start.output, start.threads)
    text.parent.mkdir(parents=True)
    text.write_bytes(start.text[1])
    store.write_files(base, start.base[1])
    write_folder(order.checkpoints, start.checkpoints)
    return order


def _made(order: TrainingOrder) -> Made:
    is_model = (order.output / store.CARD).is_file()
    return Made(store.read_files(order.output) if is_model else {}, read_folder(order.checkpoints))


def read_folder(folder: Path) -> Files:
    """The files in a folder; none when there is no folder. Raises OSError."""
    if not folder.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def write_folder(folder: Path, files: Files) -> None:
    """Put these files, and no others, in a folder; no files, no folder. Raises OSError."""
    if folder.is_dir():
        shutil.rmtree(folder)
    if files:
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
