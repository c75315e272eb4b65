"""Trainings in real processes, and what is left when a process is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bot.storage.records import JobState, Source
from bot.storage.registry import Registry
from bot.training.job import Job
from bot.training.process import KILLED, LONGEST_COPY, LocalTraining
from charrnn import store
from charrnn.generation import Prompt, generate
from charrnn.store import Model
from charrnn.text.messages import Counts
from charrnn.verbatim import longest_copy
from tests.bot.conftest import services
from tests.bot.guilds import ADMIN, CHANNEL, GLOBE
from tests.bot.processes import trainings, until
from tests.conftest import CHARACTERS

DEADLINE_S = 300  # on a busy machine, where trainings come last

# A bot that starts the training with these three paths.
BOT = """
import sys, time
from pathlib import Path
from bot.training.process import LocalTraining, TrainingCommand
from charrnn.training.events import EpochEnd
training = LocalTraining(TrainingCommand(*map(Path, sys.argv[1:]), threads=1))
while not any(isinstance(event, EpochEnd) for event in training.events()):
    time.sleep(0.05)
print("an epoch", flush=True)
time.sleep(600)
"""


def text() -> str:
    """Six thousand characters of a dozen words, which a model learns by heart."""
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list(CHARACTERS[2:]), 5)) for _ in range(12)]
    lines = (" ".join(rng.choice(words, 6)) for _ in range(170))
    return "".join(line + "\n" for line in lines)


async def read(path: Path, _: object, count: Callable[[Counts], None]) -> Counts:
    await asyncio.to_thread(path.write_text, text())
    counts = Counts(170, len(text()), {"1"})
    count(counts)
    return counts


def processes_of(output: Path) -> list[int]:
    """The ids of the trainings that write to `output`."""
    return [pid for pid, words in trainings().items() if os.fsencode(output) in words]


def kill_bot_after_an_epoch(*paths: Path) -> int:
    """The id of the training that the bot leaves behind."""
    with subprocess.Popen([sys.executable, "-c", BOT, *map(str, paths)], stdout=-1) as bot:
        assert bot.stdout and bot.stdout.readline() == b"an epoch\n"
        [process] = processes_of(paths[-1])
        bot.kill()
    return process


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
async def test_a_training_goes_on_after_its_bot_and_then_itself_were_killed(
    registry: Registry, stateful: Model, tmp_path: Path
):
    training = services(stateful, tmp_path, registry=registry, trainings=LocalTraining).training
    source = Source("#general", (CHANNEL,), 10_000)
    job = await training.create(GLOBE, ADMIN, CHANNEL, name="mine", base="chat", source=source)
    await training.prepare(job.row, read)
    await training.enqueue(GLOBE, job.id)
    output = tmp_path / job.row.folder

    async def follow_until(done: Callable[[Job], object]) -> Job:
        deadline = time.monotonic() + DEADLINE_S
        while not done(now := await training.job(GLOBE, job.id)):
            assert time.monotonic() < deadline
            await training.tick()
            await asyncio.sleep(0.05)
        return now

    await registry.start_next()
    process = kill_bot_after_an_epoch(tmp_path / "texts" / f"{job.id}.txt", stateful.folder, output)
    await until(lambda: process not in trainings(), DEADLINE_S)

    await training.restore()
    await follow_until(lambda now: now.progress)
    [process] = processes_of(output)
    os.kill(process, signal.SIGKILL)
    broken_off = await follow_until(lambda now: now.state is not JobState.TRAINING)
    assert (broken_off.state, broken_off.row.ending) == (JobState.INTERRUPTED, KILLED)

    await training.enqueue(GLOBE, job.id)
    kept = (await follow_until(lambda now: now.over)).model
    assert kept and kept.scores.nats_after < kept.scores.nats_before
    model = store.load(output)
    written = generate(model, [Prompt("", 2000, rng_seed=n) for n in range(3)])
    texts = [model.vocabulary.encode(one.text).ids for one in written]
    assert longest_copy(texts, model.vocabulary.encode(text()).ids)[0] <= LONGEST_COPY
