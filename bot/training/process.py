"""`charrnn train` as a child process."""

import asyncio
import contextlib
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import psutil

from charrnn.training.events import EpochEnd, Failed, Finished, Halted, Progress, parse_event
from charrnn.training.run.checkpoint import checkpoints_of

log = logging.getLogger(__name__)

CHARRNN = (sys.executable, "-m", "charrnn")
NICENESS = 19  # below everything else on the machine
# On Windows the priority is set at creation, because the Python of a virtual environment starts a
# second process, which inherits it. Without a window, the bot's Ctrl-C does not reach the training.
CREATION_FLAGS = (
    subprocess.IDLE_PRIORITY_CLASS | subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0
)
LONGEST_COPY = 40  # characters in a row that a model may copy from people's messages
POLL_S = 0.1  # between checks whether stopping trainings have ended
KILLED_CODE = -9  # the exit code after SIGKILL
USE_INTERVAL_S = 20.0  # between measurements of how much processor time a training gets
LAST_WORDS = 4096  # bytes of standard error to log after a crash

KILLED = "The training was killed by the system, probably because memory ran out."
CRASHED = "The training crashed. The reason is in my log, for the operator."


@dataclass(frozen=True)
class TrainingCommand:
    """What `charrnn train` is to do. Its checkpoints lie beside `output` until the model is done,
    and the next process with the same command goes on from them."""

    text: Path
    base: Path  # the folder of the model to start from
    output: Path  # the folder of the new model
    threads: int

    @property
    def checkpoints(self) -> Path:
        return checkpoints_of(self.output)

    @property
    def curve(self) -> Path:
        """A picture of the learning curve, drawn after each epoch."""
        return curve_of(self.output)


def curve_of(model: Path) -> Path:
    """The picture of a model's learning curve, beside its folder."""
    return model.with_name(f"{model.name}.png")


class TrainingEnd(StrEnum):
    FINISHED = "finished"
    STOPPED = "stopped"  # on request
    FAILED = "failed"


@dataclass(frozen=True)
class TrainingOutcome:
    end: TrainingEnd
    sentence: str = ""  # what went wrong, if it failed


@dataclass(frozen=True)
class ProcessorUse:
    """How much of the processor a training got."""

    cores: float  # processor time / time


TrainingEvent = Progress | EpochEnd | ProcessorUse


class TrainingProcess(Protocol):
    """A training under way, here or on another machine. No method blocks."""

    def events(self) -> list[TrainingEvent]:
        """What the process has reported since the last call. Call it once more after the end."""
        ...

    def running(self) -> bool: ...

    def outcome(self) -> TrainingOutcome:
        """How it ended. Call it when it is no longer running."""
        ...

    def stop(self) -> None:
        """Let it finish its batch, write a checkpoint and end."""
        ...

    def kill(self) -> None:
        """End it at once. Its last checkpoint stays."""
        ...


# Starts a training. Raises OSError.
StartTraining = Callable[[TrainingCommand], TrainingProcess]


class LocalTraining:
    """`charrnn train` on this machine, with the lowest priority.

    It stops when its standard input closes. The system closes that when the bot dies, however the
    bot dies, so no training outlives the bot."""

    def __init__(
        self,
        command: TrainingCommand,
        program: Sequence[str] = CHARRNN,
        clock: Callable[[], float] = time.perf_counter,  # real time, also in a simulated Discord
    ):
        """Start it, from the last checkpoint if there is one. Raises OSError."""
        self._name = command.output.name
        self._events: list[TrainingEvent] = []
        self._last: object = None
        self._asked_to_end = self._killed = False
        self._outcome: TrainingOutcome | None = None
        command.output.parent.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(
            prefix="charrnn-training-", ignore_cleanup_errors=True
        )
        printed, errors = (Path(self._folder.name) / name for name in ("printed", "errors"))
        with printed.open("wb") as stdout, errors.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, nothing that a person typed
                [*program, *_arguments(command)],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                creationflags=CREATION_FLAGS,
            )
        self._clock = clock
        self._measured_at, self._used_s = clock(), 0.0
        if sys.platform != "win32":
            with contextlib.suppress(psutil.Error):  # it has ended already
                psutil.Process(self._process.pid).nice(NICENESS)
        self._printed = printed.open("rb")
        self._errors = errors
        self._rest = b""  # an incomplete last line

    def events(self) -> list[TrainingEvent]:
        if self._outcome is None:
            self._read()
            self._measure_use()
        events, self._events = self._events, []
        return events

    def running(self) -> bool:
        if self._outcome is None and (code := self._process.poll()) is not None:
            self._read()
            self._outcome = self._ended(code)
            self._printed.close()
            self._folder.cleanup()
        return self._outcome is None

    def outcome(self) -> TrainingOutcome:
        if self.running() or self._outcome is None:
            raise RuntimeError("the training is still running")
        return self._outcome

    def stop(self) -> None:
        self._asked_to_end = True
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill(self) -> None:
        self._killed = True
        self._process.kill()

    def _read(self) -> None:
        *lines, self._rest = (self._rest + self._printed.read()).split(b"\n")
        for line in lines:
            event = parse_event(line)
            if event is None:
                continue
            self._last = event
            if isinstance(event, Progress | EpochEnd):
                self._events.append(event)

    def _measure_use(self) -> None:
        now = self._clock()
        if now - self._measured_at < USE_INTERVAL_S:
            return
        with contextlib.suppress(psutil.Error):  # it has ended
            process = psutil.Process(self._process.pid)
            times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
            used_s = sum(used.user + used.system for used in times)
            cores = (used_s - self._used_s) / (now - self._measured_at)
            self._events.append(ProcessorUse(cores))
            self._measured_at, self._used_s = now, used_s

    def _ended(self, code: int) -> TrainingOutcome:
        if self._process.stdin:
            self._process.stdin.close()
        if code == 0 and isinstance(self._last, Finished):
            return TrainingOutcome(TrainingEnd.FINISHED)
        # On Windows, a killed process does not end with a code of its own.
        if isinstance(self._last, Halted) or self._killed or (self._asked_to_end and code < 0):
            return TrainingOutcome(TrainingEnd.STOPPED)
        if isinstance(self._last, Failed):
            return TrainingOutcome(TrainingEnd.FAILED, self._last.message)
        last_words = self._errors.read_bytes()[-LAST_WORDS:].decode(errors="replace")
        log.error("The training of %s ended with exit code %d: %s", self._name, code, last_words)
        return TrainingOutcome(TrainingEnd.FAILED, KILLED if code == KILLED_CODE else CRASHED)


async def stop_all(processes: Sequence[TrainingProcess], grace_s: float) -> None:
    """Let trainings write a checkpoint within `grace_s` seconds, and end those that do not."""
    for process in processes:
        process.stop()
    for _ in range(int(grace_s / POLL_S)):
        if not any(process.running() for process in processes):
            break
        await asyncio.sleep(POLL_S)
    for process in processes:
        if process.running():
            log.warning("A training did not stop in time, and was killed.")
            process.kill()


def _arguments(command: TrainingCommand) -> list[str]:
    options = ["--base", command.base, "--output", command.output, "--plot", command.curve]
    if command.checkpoints.is_dir():
        options.append("--resume")
    options += ["--threads", command.threads, "--longest-copy", LONGEST_COPY]
    options += ["--progress", "json", "--stop-with-stdin"]
    return ["train", *map(str, [command.text, *options])]
