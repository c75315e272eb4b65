"""Writing and training in a Dask cluster of two worker processes, some of which are killed."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from dask import config as dask_config
from distributed import LocalCluster, Scheduler

from bot.dask.cluster import Cluster
from bot.dask.executor import DaskExecutor
from bot.dask.training import MACHINE_LOST, DaskTraining
from bot.dask.worker import Files, keep
from bot.errors import ExecutorError
from bot.interactions.reply import Reply
from bot.models.reference import ModelReference
from bot.training.process import TrainingCommand, TrainingEnd, TrainingOutcome
from charrnn import store
from charrnn.errors import ModelError
from charrnn.generation import Generated, Prompt, generate
from charrnn.store import Model
from charrnn.training.events import Progress
from tests.bot.processes import Processes
from tests.bot.trainings import EPOCH, PROGRESS
from tests.discord_server import DiscordServer

DEADLINE_S = 240  # for a training, which has the lowest priority, on a busy machine
UNLIMITED = 2**40
LONG = 20_000  # characters that take a worker a second or more
PROMPTS = [Prompt("So be it", LONG, rng_seed=n) for n in range(2)]

FINISHED, STOPPED = TrainingOutcome(TrainingEnd.FINISHED), TrainingOutcome(TrainingEnd.STOPPED)

# Stands in for charrnn.
PROGRAM = f"""
import os, shutil, sys
from pathlib import Path
from charrnn.training.events import *
PROGRESS, EPOCH = {PROGRESS}, {EPOCH}
def report(event):
    print(json_line(event), flush=True)
def option(name):
    return Path(sys.argv[sys.argv.index(name) + 1])
text, base, output = Path(sys.argv[2]), option("--base"), option("--output")
checkpoints = output.with_name(output.name + ".training")
"""
# Reports the number of its process as an epoch, and waits until it is asked to stop.
HANG = "report(Progress(os.getpid(), 0, 0.0, 0.0, 0.0, 0.0)); sys.stdin.read()"


@pytest.fixture(scope="module")
def two_workers() -> Iterator[LocalCluster]:
    # Otherwise the cluster removes a worker that is killed again after this time.
    with dask_config.set({"distributed.deploy.lost-worker-timeout": "1h"}):
        options = {"processes": True, "dashboard_address": ":0"}
        workers = LocalCluster(n_workers=2, threads_per_worker=1, **options)
        yield workers
        workers.close()


@pytest.fixture
def scheduler(two_workers: LocalCluster) -> Scheduler:
    assert isinstance(two_workers.scheduler, Scheduler)
    return two_workers.scheduler


@pytest.fixture
async def cluster(two_workers: LocalCluster) -> AsyncIterator[Cluster]:
    cluster = Cluster(two_workers.scheduler_address.removeprefix("tcp://"))
    yield cluster
    await cluster.close()


@pytest.fixture
def executor(cluster: Cluster) -> DaskExecutor:
    return DaskExecutor(cluster, UNLIMITED)


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        while not (value := condition()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.02)
    return value


async def pids(cluster: Cluster) -> dict[str, int]:
    """The process of each worker, by address."""
    return await (await cluster.client()).run(os.getpid)


async def test_workers_write_what_the_model_writes_and_are_sent_it_once(
    scheduler: Scheduler, executor: DaskExecutor, stateful: Model
):
    def sent() -> int:
        return sum(event["action"] == "scatter" for _, event in scheduler.get_events("all"))

    reference = ModelReference.of(stateful.folder)
    prompts = [Prompt("So be it", 200, rng_seed=n) for n in range(3)]
    expected = generate(stateful, prompts)
    assert executor.workers == 1
    for _ in range(3):
        batches = await asyncio.gather(*(executor.write(reference, prompts) for _ in range(6)))
        assert batches == [expected] * 6
    await until(lambda: executor.workers == 2)
    assert 1 <= sent() <= 2


@pytest.fixture
async def interrupted(
    scheduler: Scheduler, cluster: Cluster, executor: DaskExecutor, stateful: Model
) -> AsyncIterator[Callable[[], Awaitable[list[Generated]]]]:
    """Writes a batch, and kills the worker that writes it."""

    async def write() -> list[Generated]:
        pid_of = await pids(cluster)
        reference = ModelReference.of(stateful.folder)
        await asyncio.gather(*(executor.write(reference, [Prompt("", 20)]) for _ in range(4)))
        writing = asyncio.create_task(executor.write(reference, PROMPTS))
        busy = await until(lambda: [w.address for w in scheduler.workers.values() if w.processing])
        psutil.Process(pid_of[busy[0]]).kill()
        async with asyncio.timeout(DEADLINE_S):
            return await writing

    allowed = scheduler.allowed_failures
    yield write
    scheduler.allowed_failures = allowed
    await until(lambda: len(scheduler.workers) == 2)


async def test_another_worker_writes_the_batch_of_a_worker_that_is_killed(
    interrupted: Callable[[], Awaitable[list[Generated]]], stateful: Model
):
    assert await interrupted() == generate(stateful, PROMPTS)


async def test_a_batch_that_kills_more_workers_than_dask_allows_is_given_up(
    interrupted: Callable[[], Awaitable[list[Generated]]], scheduler: Scheduler
):
    scheduler.allowed_failures = 0
    with pytest.raises(ExecutorError):
        await interrupted()


def test_a_worker_deletes_the_least_recently_used_model(
    stateful: Model, windowed: Model, tmp_path: Path
):
    first, second = tmp_path / "first", tmp_path / "second"
    keep(first, Files(store.read_files(stateful.folder)))
    os.utime(first, (1, 1))
    keep(second, Files(store.read_files(windowed.folder)), limit=1)
    assert [*tmp_path.iterdir()] == [second]


async def test_a_worker_refuses_a_model_that_is_not_what_its_card_says(
    executor: DaskExecutor, model_folder: Path, windowed: Model
):
    card = model_folder / store.CARD
    card.write_text(card.read_text("utf-8") + "\n")  # no worker has this model yet
    (model_folder / store.ONNX).write_bytes((windowed.folder / store.ONNX).read_bytes())
    with pytest.raises(ModelError, match=r"model\.onnx is damaged"):
        await executor.write(ModelReference.of(model_folder), [Prompt("")])


def dask(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *words, "--no-dashboard"], stderr=subprocess.DEVNULL
    )


async def test_people_are_told_while_the_scheduler_is_gone_and_answered_when_it_is_back(
    stateful: Model, tmp_path: Path
):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    reference = ModelReference.of(stateful.folder)
    executor = DaskExecutor(Cluster(f"127.0.0.1:{port}", grace_s=0.1), UNLIMITED)
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        running.append(dask("scheduler", "--host", "127.0.0.1", "--port", port))
        worker = ("worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--no-nanny")
        running.append(dask(*worker, "--local-directory", str(tmp_path)))

    async def answered() -> None:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    assert len(await executor.write(reference, [Prompt("", 20)])) == 1
                except ExecutorError:
                    await asyncio.sleep(0.1)
                else:
                    return

    try:
        assert executor.trouble() is None  # nobody has asked for it yet
        with pytest.raises(ExecutorError, match="cannot be reached"):
            await executor.write(reference, [Prompt("")])
        assert executor.trouble() == "Dask cannot be reached."
        start()
        await answered()
        assert executor.trouble() is None
        writing = asyncio.create_task(executor.write(reference, [Prompt("", LONG)]))
        running[0].kill()
        with pytest.raises(ExecutorError):
            await writing
        running[0].wait()
        running[1].wait(DEADLINE_S)  # a worker ends without its scheduler
        start()
        await answered()
    finally:
        await executor.close()
        for process in running:
            process.kill()
            process.wait()


@pytest.fixture
def command(tmp_path: Path, stateful: Model) -> TrainingCommand:
    text = tmp_path / "text.txt"
    text.write_text("So be it.")
    return TrainingCommand(text, stateful.folder, tmp_path / "models" / "1", threads=1)


def train(cluster: Cluster, command: TrainingCommand, program: str) -> DaskTraining:
    return DaskTraining(cluster, command, program=(sys.executable, "-c", PROGRAM + program))


async def ended(training: DaskTraining) -> TrainingOutcome:
    await until(lambda: not training.running())
    return training.outcome()


async def pid(training: DaskTraining) -> int:
    """The process of a training that hangs."""
    [event] = await until(training.events)
    assert isinstance(event, Progress)
    return event.epoch


def gone(pid: int) -> bool:
    """Whether the process has ended, even if its parent has not noticed."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_the_model_that_a_worker_trains_comes_to_the_bot(
    scheduler: Scheduler, cluster: Cluster, command: TrainingCommand, stateful: Model
):
    program = """
assert text.read_text("utf-8") == "So be it."
report(PROGRESS)
option("--plot").write_bytes(b"a picture")
report(EPOCH)
shutil.copytree(base, output)
report(Finished("", {}, None, None))
"""
    training = train(cluster, command, program)
    assert await ended(training) == FINISHED
    assert training.events() == [PROGRESS, EPOCH]
    assert training.events() == []
    prompt = Prompt("So be it", 20)
    assert generate(store.load(command.output), [prompt]) == generate(stateful, [prompt])
    assert command.curve.read_bytes() == b"a picture"
    assert not command.checkpoints.exists()
    await until(lambda: not any(worker.actors for worker in scheduler.workers.values()))


async def test_a_training_that_is_stopped_goes_on_from_its_checkpoint(
    cluster: Cluster, command: TrainingCommand
):
    program = """
report(PROGRESS)
sys.stdin.read()
checkpoints.mkdir()
checkpoints.joinpath("state.json").write_text("epoch 3")
report(Halted(""))
"""
    training = train(cluster, command, program)
    await until(training.events)
    training.stop()
    assert await ended(training) == STOPPED
    program = """
assert "--resume" in sys.argv and checkpoints.joinpath("state.json").read_text("utf-8") == "epoch 3"
shutil.rmtree(checkpoints)
shutil.copytree(base, output)
report(Finished("", {}, None, None))
"""
    assert await ended(train(cluster, command, program)) == FINISHED
    assert not command.checkpoints.exists()


async def test_trainings_share_the_workers_and_one_that_is_killed_counts_as_stopped(
    scheduler: Scheduler, cluster: Cluster, command: TrainingCommand
):
    trainings = [train(cluster, command, HANG) for _ in range(2)]
    processes = [await pid(training) for training in trainings]
    assert [len(worker.actors) for worker in scheduler.workers.values()] == [1, 1]
    for training in trainings:
        training.kill()
    assert [await ended(training) for training in trainings] == [STOPPED, STOPPED]
    for process in processes:
        await until(lambda process=process: gone(process))


async def test_the_outcome_says_what_charrnn_says(cluster: Cluster, command: TrainingCommand):
    outcome = await ended(DaskTraining(cluster, command))
    assert outcome.end is TrainingEnd.FAILED
    assert "9 characters are too few to train on" in outcome.sentence


async def test_a_training_ends_with_its_worker_and_has_failed(
    scheduler: Scheduler, cluster: Cluster, command: TrainingCommand
):
    training = train(cluster, command, HANG)
    process = await pid(training)
    [worker] = [worker.address for worker in scheduler.workers.values() if worker.actors]
    psutil.Process((await pids(cluster))[worker]).kill()
    assert await ended(training) == TrainingOutcome(TrainingEnd.FAILED, MACHINE_LOST)
    await until(lambda: gone(process))
    await until(lambda: len(scheduler.workers) == 2)


@pytest.mark.parametrize("orderly", [True, False])
async def test_a_training_ends_with_the_bots_connection(
    cluster: Cluster, command: TrainingCommand, orderly: bool
):
    training = train(cluster, command, HANG)
    process = await pid(training)
    if orderly:
        await cluster.close()
    else:
        (await cluster.client()).scheduler_comm.comm.abort()
    assert await ended(training) == TrainingOutcome(TrainingEnd.FAILED, MACHINE_LOST)
    await until(lambda: gone(process))


async def test_a_training_that_finds_no_cluster_has_failed(command: TrainingCommand):
    cluster = Cluster("127.0.0.1:9", grace_s=0.0)
    training = DaskTraining(cluster, command)
    assert await ended(training) == TrainingOutcome(TrainingEnd.FAILED, MACHINE_LOST)
    await cluster.close()


async def test_a_bot_whose_executor_is_a_cluster_answers(two_workers: LocalCluster, tmp_path: Path):
    scheduler = two_workers.scheduler_address.replace("tcp://", "dask://")
    async with (
        DiscordServer() as discord,
        Processes(discord.api, tmp_path) as processes,
    ):
        bot = await processes.start(EXECUTOR=scheduler)
        await asyncio.wait_for(discord.identified.wait(), DEADLINE_S)
        asked = await discord.slash("shakespeare", {"seed": "To be"})
        await asyncio.wait_for(asked.answered, DEADLINE_S)
        assert Reply.parse(asked.content).seed == "To be"
        bot.terminate()
        await asyncio.wait_for(bot.communicate(), DEADLINE_S)
        assert bot.returncode == 0


def test_without_the_extra_the_setting_says_what_to_install():
    program = "import sys; sys.modules['distributed'] = None; import bot.__main__ as b; b.main()"
    process = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"EXECUTOR": "dask://127.0.0.1:8786"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert process.returncode == 78
    assert "EXECUTOR needs distributed, part of charrnn's extra `dask`" in process.stderr
