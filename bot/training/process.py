"""A training run in a process of its own: what it is to do, how far it is, how it ended."""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from bot.storage.files import curve_of

log = logging.getLogger(__name__)

CHARRNN = (sys.executable, "-m", "charrnn")
LONGEST_COPY = 40  # characters in a row that a model may copy from what people wrote
LAST_WORDS = 4096  # bytes of its standard error that go to the log, of one that crashed

KILLED = "The training was killed by the system, probably because memory ran out."
CRASHED = "The training broke off; the bot's log says why."


@dataclass(frozen=True)
class TrainingOrder:
    """A model to train. Beside `output` lie, while it is made, its checkpoints, from which the
    next run of the same order goes on."""

    text: Path
    base: Path  # the folder of the model to start from
    output: Path  # the folder of the model to be
    threads: int

    @property
    def checkpoints(self) -> Path:
        """The folder that `charrnn train` keeps them in."""
        return self.output.with_name(f"{self.output.name}.training")

    @property
    def curve(self) -> Path:
        """A picture of the learning curve, drawn after each epoch."""
        return curve_of(self.output)


class TrainingEnd(StrEnum):
    FINISHED = "finished"
    STOPPED = "stopped"  # because it was asked to
    FAILED = "failed"


@dataclass(frozen=True)
class TrainingOutcome:
    """How a run ended. The best model of one that was stopped is in its output, if it got so
    far as to have one."""

    end: TrainingEnd
    sentence: str = ""  # what went wrong, of one that failed


class TrainingRun(Protocol):
    """A run under way. No method waits for anything."""

    def events(self) -> list[dict[str, Any]]:
        """What `charrnn train --progress json` has reported since this was last asked. Ask once
        more when it is no longer running."""
        ...

    def running(self) -> bool: ...

    def outcome(self) -> TrainingOutcome:
        """How it ended, once it is no longer running."""
        ...

    def stop(self) -> None:
        """Ask it to finish its batch, write a checkpoint and end."""
        ...

    def kill(self) -> None:
        """End it at once. Its last checkpoint stays."""
        ...


class TrainingProcess:
    """`charrnn train` on this machine, with the lowest priority.

    Where the system has `setpriv` (Linux), it ends with the thread that started it, so that no
    run outlives a bot that was killed: let it be started by the main thread."""

    def __init__(self, order: TrainingOrder, program: Sequence[str] = CHARRNN):
        """Starts it; from the last checkpoint, where there is one. Raises OSError."""
        self._name = order.output.name
        self._reports = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._read = 0  # bytes of the reports
        self._events: list[dict[str, Any]] = []  # read, and not yet asked for
        self._last: dict[str, Any] = {"event": ""}
        self._asked_to_end = False
        self._outcome: TrainingOutcome | None = None
        order.output.parent.mkdir(parents=True, exist_ok=True)
        # In a process group of its own: Ctrl-C is for the bot, which then stops its runs.
        self._process = subprocess.Popen(  # noqa: S603 - no shell, and no words of a person
            [*_modestly(order.threads), *program, *_arguments(order)],
            stdin=subprocess.DEVNULL,
            stdout=self._reports,
            stderr=self._errors,
            process_group=0,
        )

    def events(self) -> list[dict[str, Any]]:
        if self.running():
            self._read_on()
        events, self._events = self._events, []
        return events

    def running(self) -> bool:
        if self._outcome is None and (code := self._process.poll()) is not None:
            self._read_on()
            self._outcome = self._ended(code)
            self._reports.close()
            self._errors.close()
        return self._outcome is None

    def outcome(self) -> TrainingOutcome:
        if self.running() or self._outcome is None:
            raise RuntimeError("the training is still running")
        return self._outcome

    def stop(self) -> None:
        # Once only: the second signal would end it before it has written its checkpoint.
        if not self._asked_to_end:
            self._asked_to_end = True
            self._process.terminate()

    def kill(self) -> None:
        self._asked_to_end = True
        self._process.kill()

    def _read_on(self) -> None:
        """Take up the lines that have been written whole."""
        file = self._reports.fileno()
        # The file's own position is where the process writes.
        unread = os.pread(file, os.fstat(file).st_size - self._read, self._read)
        lines = unread[: unread.rfind(b"\n") + 1]
        self._read += len(lines)
        for line in lines.splitlines():
            if not line.startswith(b"{"):
                continue  # TensorFlow has warnings that it prints there
            with contextlib.suppress(ValueError):  # or others' lines run into its own
                self._last = json.loads(line)
                self._events.append(self._last)

    def _ended(self, code: int) -> TrainingOutcome:
        if code == 0:
            return TrainingOutcome(TrainingEnd.FINISHED)
        if self._last["event"] == "stopped" or (self._asked_to_end and code < 0):
            return TrainingOutcome(TrainingEnd.STOPPED)
        if self._last["event"] == "error":
            return TrainingOutcome(TrainingEnd.FAILED, self._last["message"])
        errors = self._errors.fileno()
        size = os.fstat(errors).st_size
        last_words = os.pread(errors, LAST_WORDS, max(0, size - LAST_WORDS))
        log.error(
            "The training of %s ended with exit code %d: %s",
            self._name,
            code,
            last_words.decode(errors="replace"),
        )
        return TrainingOutcome(TrainingEnd.FAILED, KILLED if code == -signal.SIGKILL else CRASHED)


def _modestly(threads: int) -> list[str]:
    """What to put before a command so that it gets out of everybody's way."""
    dies_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    limits = {
        "OMP_NUM_THREADS": threads,
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": 1,
    }
    settings = [f"{name}={number}" for name, number in limits.items()]
    return [*dies_with_us, "nice", "-n", "19", "env", *settings]


def _arguments(order: TrainingOrder) -> list[str]:
    """The command line of `charrnn`."""
    options = ["--base", order.base, "--output", order.output, "--plot", order.curve]
    if order.checkpoints.is_dir():
        options.append("--resume")
    options += ["--longest-copy", LONGEST_COPY, "--progress", "json"]
    return ["train", *map(str, [order.text, *options])]
