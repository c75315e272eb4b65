"""Trainings in real processes, and what is left when these are killed."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bot.inference.executor import LocalExecutor
from bot.models.cache import LoadedModels
from bot.models.server_models import ServerModels
from bot.storage.files import StateFolder
from bot.storage.records import JobState
from bot.storage.registry import Registry
from bot.training.process import KILLED, LONGEST_COPY
from bot.training.service import Retraining
from bot.training.statuses import Candidate, Ended, Learning
from charrnn import store
from charrnn.generation import Prompt, generate
from charrnn.store import Model
from charrnn.text.messages import Counts
from charrnn.verbatim import longest_copy
from tests.bot.guilds import ADMIN, CHANNEL, GLOBE
from tests.bot.processes import trainings
from tests.bot.trainings import reference
from tests.conftest import CHARACTERS

DEADLINE_S = 120
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


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


@pytest.fixture
def retraining(registry: Registry, stateful: Model, tmp_path: Path) -> Retraining:
    models = ServerModels(registry, StateFolder(tmp_path), {"chat": reference(stateful)})
    return Retraining(registry, LocalExecutor(1, LoadedModels(0)), models, StateFolder(tmp_path))


async def until(retraining: Retraining, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline
        await retraining.tick()
        await asyncio.sleep(0.05)


def kill_process_of(output: Path) -> None:
    """Kill the training that writes to `output`, as the system does when memory runs out."""
    for pid, words in trainings().items():
        if os.fsencode(output) in words:
            os.kill(pid, signal.SIGKILL)


@linux
async def test_a_training_that_is_killed_goes_on_and_its_model_copies_no_more_than_it_may(
    retraining: Retraining, registry: Registry, tmp_path: Path
):
    asked = {"name": "mine", "base": "chat", "source": "#general"}
    job = (await retraining.create(GLOBE, ADMIN, CHANNEL, **asked)).job
    await retraining.prepare(job, read)
    await retraining.start(GLOBE, job.id)

    def status() -> object:
        return retraining.statuses()[job.id]

    await until(retraining, lambda: isinstance(s := status(), Learning) and s.epoch is not None)
    kill_process_of(tmp_path / job.folder)
    await until(retraining, lambda: not isinstance(status(), Learning))
    assert status() == Ended(registry.job(GLOBE, job.id), KILLED)
    assert registry.job(GLOBE, job.id).state is JobState.INTERRUPTED
    assert registry.model_in_use(GLOBE) is None

    await retraining.resume(GLOBE, job.id)
    await until(retraining, lambda: isinstance(status(), Candidate | Ended))
    [kept] = registry.models(GLOBE)
    model = store.load(tmp_path / kept.folder)
    assert kept.scores.nats_after < kept.scores.nats_before
    written = generate(model, [Prompt("", 2000, rng_seed=n) for n in range(3)])
    texts = [model.vocabulary.encode(one.text).ids for one in written]
    source = model.vocabulary.encode(text()).ids
    assert longest_copy(texts, source)[0] <= LONGEST_COPY
