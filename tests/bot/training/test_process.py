"""Training runs as processes. What they start here are a few lines in place of charrnn."""

import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.inference.executor import LocalExecutor
from bot.models.cache import LoadedModels
from bot.training.process import (
    CRASHED,
    KILLED,
    TrainingEnd,
    TrainingOrder,
    TrainingOutcome,
    TrainingProcess,
    TrainingRun,
)
from charrnn.store import Model

DEADLINE_S = 30

PRELUDE = """
import json, os, signal, sys, time
from pathlib import Path
def report(event, **content):
    print(json.dumps({"event": event, **content}), flush=True)
"""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(run: TrainingRun) -> TrainingOutcome:
    until(lambda: not run.running())
    return run.outcome()


@pytest.fixture
def order(tmp_path: Path, stateful: Model) -> TrainingOrder:
    text = tmp_path / "text.txt"
    text.write_text("So be it.")
    return TrainingOrder(text, stateful.folder, tmp_path / "models" / "1", threads=1)


def start(order: TrainingOrder, program: str) -> TrainingProcess:
    return TrainingProcess(order, (sys.executable, "-c", PRELUDE + program))


def test_events_are_told_once_and_when_they_are_whole(order: TrainingOrder, tmp_path: Path):
    run = start(
        order,
        f"""
folder = Path({str(tmp_path)!r})
report("progress", done=0.5)
print('{{"event": "epo', end="", flush=True)
folder.joinpath("half").touch()
while not folder.joinpath("go").exists(): time.sleep(0.01)
print('ch"}}', flush=True)
report("finished")
""",
    )
    until((tmp_path / "half").exists)
    assert run.events() == [{"event": "progress", "done": 0.5}]
    assert run.events() == []
    (tmp_path / "go").touch()
    assert ended(run) == TrainingOutcome(TrainingEnd.FINISHED)
    assert run.events() == [{"event": "epoch"}, {"event": "finished"}]


def test_what_a_library_prints_is_no_event(order: TrainingOrder):
    run = start(
        order, 'print("Warning: Continuing without ssl support.", flush=True)\nreport("finished")'
    )
    assert ended(run) == TrainingOutcome(TrainingEnd.FINISHED)
    assert run.events() == [{"event": "finished"}]


def test_it_trains_with_the_lowest_priority_and_no_more_threads_than_it_may(order: TrainingOrder):
    run = start(order, 'report("x", nice=os.nice(0), threads=os.environ["OMP_NUM_THREADS"])')
    ended(run)
    assert run.events() == [{"event": "x", "nice": 19, "threads": "1"}]


def test_it_goes_on_where_there_are_checkpoints(order: TrainingOrder):
    program = 'report("x", resumes="--resume" in sys.argv)'
    for resumes in (False, True):
        run = start(order, program)
        ended(run)
        assert run.events() == [{"event": "x", "resumes": resumes}]
        order.checkpoints.mkdir(exist_ok=True)


def test_asked_to_stop_it_finishes_what_it_does_first(order: TrainingOrder):
    run = start(
        order,
        """
signals = []
def receive(number, _):
    signals.append(number)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGTERM, receive)
report("progress")
while not signals: time.sleep(0.01)
report("stopped")
sys.exit(130)
""",
    )
    until(run.events)
    run.stop()
    run.stop()
    assert ended(run) == TrainingOutcome(TrainingEnd.STOPPED)
    assert run.events() == [{"event": "stopped"}]


@pytest.mark.parametrize("end", [TrainingProcess.stop, TrainingProcess.kill])
def test_asked_to_end_before_it_has_begun_it_counts_as_stopped(
    order: TrainingOrder, end: Callable[[TrainingProcess], None]
):
    run = start(order, "time.sleep(60)")
    end(run)
    assert ended(run).end is TrainingEnd.STOPPED


def test_one_that_the_system_kills_says_so(order: TrainingOrder):
    run = start(order, "os.kill(os.getpid(), signal.SIGKILL)")
    assert ended(run) == TrainingOutcome(TrainingEnd.FAILED, KILLED)


def test_of_one_that_crashes_the_log_has_the_last_words(
    order: TrainingOrder, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    run = start(order, 'report("progress"); sys.exit("a" * 5000 + "out of luck")')
    assert ended(run) == TrainingOutcome(TrainingEnd.FAILED, CRASHED)
    [record] = caplog.records
    assert "training of 1 ended with exit code 1" in record.message
    assert "out of luck" in record.message
    assert len(record.message) < 4200


def test_what_charrnn_has_against_it_is_the_outcome(order: TrainingOrder):
    run = LocalExecutor(1, LoadedModels(0)).train(order)
    outcome = ended(run)
    assert outcome.end is TrainingEnd.FAILED
    assert "9 characters are too few to train on" in outcome.sentence
    assert [event["event"] for event in run.events()] == ["error"]


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="only Linux has setpriv")
def test_it_does_not_outlive_a_bot_that_is_killed(order: TrainingOrder, tmp_path: Path):
    lock = tmp_path / "lock"
    training = f"""
import fcntl, time
file = open({str(lock)!r}, "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", file=file, flush=True)
time.sleep(60)
"""
    bot = f"""
import sys, time
from pathlib import Path
from bot.training_run import TrainingOrder, TrainingProcess
order = TrainingOrder(*map(Path, {[str(order.text), str(order.base), str(order.output)]}), 1)
run = TrainingProcess(order, (sys.executable, "-c", {training!r}))
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", bot]) as process:
        until(lambda: lock.exists() and lock.read_text())
        os.kill(process.pid, signal.SIGKILL)

    def free() -> bool:
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    until(free)
