"""Trainings as child processes. A few lines of Python run here in place of charrnn."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bot.errors import RegistryError
from bot.storage.files import StateFolder
from bot.training.process import (
    CRASHED,
    KILLED,
    USE_INTERVAL_S,
    LocalTraining,
    ProcessorUse,
    TrainingCommand,
    TrainingEnd,
    TrainingOutcome,
    stop_all,
)
from charrnn.store import Model
from charrnn.training.events import Failed, Finished, Halted, json_line
from tests.bot.trainings import EPOCH, PROGRESS

DEADLINE_S = 60  # on a busy machine

PRELUDE = f"""
import os, signal, sys, time
from pathlib import Path
finished, stopped = {json_line(Finished("", {}, None, None))!r}, {json_line(Halted("Stopped."))!r}
progress, epoch = {json_line(PROGRESS)!r}, {json_line(EPOCH)!r}
def report(text, end="\\n"):
    print(text, end=end, flush=True)
def answer(text):
    report({json_line(Failed("ANSWER"))!r}.replace("ANSWER", str(text)))
"""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def outcome(training: LocalTraining) -> TrainingOutcome:
    until(lambda: not training.running())
    return training.outcome()


@pytest.fixture
def command(tmp_path: Path, stateful: Model) -> TrainingCommand:
    text = tmp_path / "text.txt"
    text.write_text("So be it.")
    return TrainingCommand(text, stateful.folder, tmp_path / "models" / "1", threads=3)


def start(command: TrainingCommand, program: str) -> LocalTraining:
    return LocalTraining(command, (sys.executable, "-c", PRELUDE + program))


def test_each_event_is_reported_once_and_whole(command: TrainingCommand, tmp_path: Path):
    training = start(
        command,
        f"""
folder = Path({str(tmp_path)!r})
report("Warning: this is from a library.")
report(progress)
report(epoch[:9], end="")
(folder / "half").touch()
while not (folder / "go").exists(): time.sleep(0.01)
report(epoch[9:])
report(finished)
""",
    )
    until((tmp_path / "half").exists)
    assert training.events() == [PROGRESS]
    assert training.events() == []
    (tmp_path / "go").touch()
    assert outcome(training) == TrainingOutcome(TrainingEnd.FINISHED)
    assert training.events() == [EPOCH]


def test_a_training_has_the_lowest_priority(command: TrainingCommand):
    program = """
import psutil
while psutil.Process().nice() != {}: time.sleep(0.01)
answer("low")
"""
    lowest = psutil.IDLE_PRIORITY_CLASS if sys.platform == "win32" else 19
    assert outcome(start(command, program.format(lowest))).sentence == "low"


def test_it_is_measured_how_much_processor_time_a_training_gets(command: TrainingCommand):
    now = 0.0
    program = "report(progress); sys.stdin.read()"
    words = (sys.executable, "-c", PRELUDE + program)
    training = LocalTraining(command, words, clock=lambda: now)
    until(training.events)
    now = USE_INTERVAL_S
    [use] = training.events()
    assert isinstance(use, ProcessorUse)
    assert 0 < use.cores < 0.1
    assert training.events() == []
    now = 2 * USE_INTERVAL_S
    assert training.events() == [ProcessorUse(pytest.approx(0, abs=0.01))]
    training.kill()
    assert outcome(training).end is TrainingEnd.STOPPED


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_training_resumes_where_there_are_checkpoints(
    command: TrainingCommand, interrupted: bool
):
    if interrupted:
        command.checkpoints.mkdir(parents=True)
    training = start(command, "answer('--resume' in sys.argv)")
    assert outcome(training).sentence == str(interrupted)


def test_a_training_uses_as_many_threads_as_the_settings_say(command: TrainingCommand):
    training = start(command, "answer(sys.argv[sys.argv.index('--threads') + 1])")
    assert outcome(training).sentence == "3"


def test_a_training_that_is_stopped_finishes_its_batch_first(command: TrainingCommand):
    training = start(command, "report(progress); sys.stdin.read(); report(stopped); sys.exit(130)")
    until(training.events)
    training.stop()
    training.stop()
    assert outcome(training) == TrainingOutcome(TrainingEnd.STOPPED)


async def test_a_training_that_does_not_stop_in_time_is_killed(command: TrainingCommand):
    training = start(command, "time.sleep(600)")
    await stop_all([training], grace_s=0)
    assert outcome(training) == TrainingOutcome(TrainingEnd.STOPPED)


@pytest.mark.skipif(sys.platform == "win32", reason="a killed process has no exit code of its own")
def test_a_training_that_the_system_kills_says_so(command: TrainingCommand):
    training = start(command, "os.kill(os.getpid(), signal.SIGKILL)")
    assert outcome(training) == TrainingOutcome(TrainingEnd.FAILED, KILLED)


def test_the_log_has_the_last_words_of_a_training_that_crashes(
    command: TrainingCommand, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    training = start(command, 'report(progress); sys.exit("a" * 5000 + "out of luck")')
    assert outcome(training) == TrainingOutcome(TrainingEnd.FAILED, CRASHED)
    [record] = caplog.records
    assert "training of 1 ended with exit code 1" in record.message
    assert "out of luck" in record.message
    assert len(record.message) < 4200


def test_the_reason_that_charrnn_gives_is_the_outcome(command: TrainingCommand):
    end = outcome(LocalTraining(command))
    assert end.end is TrainingEnd.FAILED
    assert "9 characters are too few to train on" in end.sentence


def test_no_training_outlives_a_bot_that_is_killed(command: TrainingCommand, tmp_path: Path):
    bot = f"""
import sys, time
from pathlib import Path
from bot.training.process import LocalTraining, TrainingCommand
paths = {[str(command.text), str(command.base), str(command.output)]}
command = TrainingCommand(*map(Path, paths), 1)
program = '''
import sys
from pathlib import Path
from bot.storage.files import StateFolder
folder = StateFolder(Path({str(tmp_path)!r}) / sys.argv[1])
folder.claim()
(Path({str(tmp_path)!r}) / sys.argv[1] / "claimed").touch()
sys.stdin.read()
'''
trainings = [LocalTraining(command, (sys.executable, "-c", program, n)) for n in ("one", "two")]
time.sleep(600)
"""
    folders = [tmp_path / "one", tmp_path / "two"]
    with subprocess.Popen([sys.executable, "-c", bot]) as process:
        until(lambda: all((folder / "claimed").exists() for folder in folders))
        assert not any(map(free, folders))
        process.kill()
    until(lambda: all(map(free, folders)))


def free(folder: Path) -> bool:
    """Whether no process has claimed a state folder."""
    state = StateFolder(folder)
    try:
        state.claim()
    except RegistryError:
        return False
    finally:
        state.release()
    return True
