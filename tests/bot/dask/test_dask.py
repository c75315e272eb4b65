"""Texts written and models trained by a Dask cluster of two worker processes; one is killed."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster, Scheduler

from bot.dask.cluster import Cluster, WorkLostError
from bot.dask.executor import DaskExecutor
from bot.dask.run import LOST, DaskRun
from bot.dask.worker import Start, attend, begin, fetch, keep, receive, trainings
from bot.errors import ExecutorError
from bot.interactions.reply import Reply
from bot.models.reference import ModelReference
from bot.training.process import TrainingEnd, TrainingOrder, TrainingOutcome, TrainingRun
from charrnn import store
from charrnn.errors import ModelError
from charrnn.generation import Generated, Prompt, generate
from charrnn.store import Model
from tests.bot.processes import Processes
from tests.discord_server import DiscordServer

DEADLINE_S = 120  # on a busy machine
UNLIMITED = 2**40
LONG = 50_000  # characters that take a worker some seconds
PROMPTS = [Prompt("So be it", LONG, rng_seed=n) for n in range(2)]

PRELUDE = """
import json, shutil, signal, sys, time
from pathlib import Path
def report(event, **content):
    print(json.dumps({"event": event, **content}), flush=True)
def option(name):
    return Path(sys.argv[sys.argv.index(name) + 1])
checkpoints = option("--output").with_name(option("--output").name + ".training")
"""


class Listening(Cluster):
    """A cluster that notes what it has been asked to run, and where; and loses answers."""

    def __init__(self, scheduler: str):
        super().__init__(scheduler)
        self.ran: list[tuple[str, str]] = []
        self.loses: list[str] = []  # the next answers of these functions

    async def run(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Any:
        self.ran.append((worker, function.__name__))
        answer = await super().run(worker, function, *arguments)
        if function.__name__ in self.loses:
            self.loses.remove(function.__name__)
            raise WorkLostError
        return answer

    def sent(self) -> list[str]:
        """The workers that a model was sent to."""
        return [worker for worker, name in self.ran if name == receive.__name__]


@pytest.fixture(scope="module")
def two_workers() -> Iterator[LocalCluster]:
    options = {"processes": True, "dashboard_address": None}
    workers = LocalCluster(n_workers=2, threads_per_worker=1, **options)
    yield workers
    workers.close()


@pytest.fixture
async def cluster(two_workers: LocalCluster) -> AsyncIterator[Listening]:
    cluster = Listening(two_workers.scheduler_address.removeprefix("tcp://"))
    yield cluster
    await cluster.close()


@pytest.fixture
def executor(cluster: Listening) -> DaskExecutor:
    return DaskExecutor(cluster, UNLIMITED)


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        while not (value := condition()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.02)
    return value


async def ended(run: TrainingRun) -> TrainingOutcome:
    await until(lambda: not run.running())
    return run.outcome()


async def test_the_texts_are_what_the_model_writes_and_it_is_sent_once(
    cluster: Listening, executor: DaskExecutor, stateful: Model
):
    reference = ModelReference.of(stateful.folder)
    prompts = [Prompt("So be it", 2000, rng_seed=n) for n in range(3)]
    expected = generate(stateful, prompts)
    assert executor.workers == 1
    for _ in range(2):
        batches = await asyncio.gather(*(executor.write(reference, prompts) for _ in range(6)))
        assert batches == [expected] * 6
    await until(lambda: executor.workers == 2)
    assert len(cluster.sent()) == len(set(cluster.sent())) > 0


@pytest.fixture
async def interrupted(
    two_workers: LocalCluster, cluster: Listening, executor: DaskExecutor, stateful: Model
) -> AsyncIterator[Callable[[], Awaitable[list[Generated]]]]:
    """What comes of a batch whose worker is killed."""
    scheduler = two_workers.scheduler
    assert isinstance(scheduler, Scheduler)

    async def write() -> list[Generated]:
        reference = ModelReference.of(stateful.folder)
        await asyncio.gather(*(executor.write(reference, [Prompt("", 20)]) for _ in range(4)))
        writing = asyncio.create_task(executor.write(reference, PROMPTS))
        busy = await until(lambda: [w.address for w in scheduler.workers.values() if w.processing])
        pid = await cluster.run(busy[0], os.getpid)
        await asyncio.sleep(0.2)
        assert not writing.done()
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait([writing])
        assert busy[0] not in scheduler.workers
        return await writing

    allowed = scheduler.allowed_failures
    yield write
    scheduler.allowed_failures = allowed
    await until(lambda: len(scheduler.workers) == 2)


async def test_a_worker_that_is_killed_in_mid_batch_costs_a_moment(
    interrupted: Callable[[], Awaitable[list[Generated]]], stateful: Model
):
    assert await interrupted() == generate(stateful, PROMPTS)


async def test_a_batch_that_costs_more_workers_than_dask_allows_is_given_up(
    interrupted: Callable[[], Awaitable[list[Generated]]], two_workers: LocalCluster
):
    two_workers.scheduler.allowed_failures = 0
    with pytest.raises(ExecutorError):
        await interrupted()


def test_beyond_the_limit_the_model_not_used_for_longest_goes_from_a_worker(
    stateful: Model, windowed: Model, tmp_path: Path
):
    def send(model: Model, limit_bytes: int) -> str:
        digest = store.sha256(model.folder / store.CARD)
        files = store.read_files(model.folder, only_to_write=True)
        keep(tmp_path, digest, files, limit_bytes)
        return digest

    first, second = send(stateful, UNLIMITED), send(windowed, UNLIMITED)
    assert {folder.name for folder in tmp_path.iterdir()} == {first, second}
    os.utime(tmp_path / first, (1, 1))
    send(windowed, limit_bytes=1)
    assert [folder.name for folder in tmp_path.iterdir()] == [second]


async def test_a_model_that_is_not_what_its_card_says_is_refused_by_the_worker(
    executor: DaskExecutor, model_folder: Path, windowed: Model
):
    card = model_folder / store.CARD
    card.write_text(card.read_text() + "\n")  # not a model that the workers have already
    (model_folder / store.ONNX).write_bytes((windowed.folder / store.ONNX).read_bytes())
    with pytest.raises(ModelError, match=r"model\.onnx is damaged"):
        await executor.write(ModelReference.of(model_folder), [Prompt("")])


async def test_a_worker_takes_no_model_under_another_ones_name(
    cluster: Listening, stateful: Model, windowed: Model
):
    [worker, *_] = await cluster.run_in_all(os.getpid)
    files = store.read_files(windowed.folder, only_to_write=True)
    with pytest.raises(ModelError, match="not the one that was announced"):
        await cluster.run(worker, receive, store.sha256(stateful.folder / store.CARD), files)


def dask(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *words, "--no-dashboard"], stderr=subprocess.DEVNULL
    )


async def test_while_the_scheduler_is_gone_people_are_told_and_when_it_is_back_they_are_answered(
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
        await asyncio.sleep(0.2)
        running[0].kill()
        with pytest.raises(ExecutorError):
            await writing
        running[0].wait()
        running[1].wait(DEADLINE_S)  # without a scheduler, a worker ends
        start()
        await answered()
    finally:
        await executor.close()
        for process in running:
            process.kill()
            process.wait()


@pytest.fixture
def order(tmp_path: Path, stateful: Model) -> TrainingOrder:
    text = tmp_path / "text.txt"
    text.write_text("So be it.")
    return TrainingOrder(text, stateful.folder, tmp_path / "models" / "1", threads=1)


def train(cluster: Cluster, order: TrainingOrder, program: str, **options: Any) -> DaskRun:
    return DaskRun(cluster, order, program=(sys.executable, "-c", PRELUDE + program), **options)


async def test_a_model_that_a_worker_has_trained_comes_to_the_bot(
    cluster: Listening, order: TrainingOrder, stateful: Model
):
    run = train(
        cluster,
        order,
        """
report("progress", text=Path(sys.argv[2]).read_text(), base=option("--base").name)
option("--plot").write_bytes(b"a picture")
shutil.copytree(option("--base"), option("--output"))
report("finished")
""",
    )
    assert await ended(run) == TrainingOutcome(TrainingEnd.FINISHED)
    assert run.events() == [
        {"event": "progress", "text": "So be it.", "base": stateful.folder.name},
        {"event": "finished"},
    ]
    assert run.events() == []
    prompt = Prompt("So be it", 20)
    assert generate(store.load(order.output), [prompt]) == generate(stateful, [prompt])
    assert order.curve.read_bytes() == b"a picture"
    assert not order.checkpoints.exists()
    assert set((await cluster.run_in_all(trainings)).values()) == {0}


async def test_an_answer_that_is_lost_is_asked_for_again(cluster: Listening, order: TrainingOrder):
    cluster.loses = [begin.__name__, attend.__name__, fetch.__name__]
    program = "shutil.copytree(option('--base'), option('--output')); report('finished')"
    run = train(cluster, order, program, lease_s=5.0)
    assert await ended(run) == TrainingOutcome(TrainingEnd.FINISHED)
    assert run.events() == [{"event": "finished"}]
    assert store.load(order.output)
    assert cluster.loses == []


async def test_a_worker_that_cannot_write_says_so(cluster: Listening, stateful: Model):
    [worker, *_] = await cluster.run_in_all(os.getpid)
    base = store.read_files(stateful.folder)
    start = Start("x" * 300, ("text.txt", b""), ("base", base), "1", {}, threads=1, lease_s=1.0)
    with pytest.raises(ModelError, match="cannot write its files: File name too long"):
        await cluster.run(worker, begin, start)


async def test_one_that_is_stopped_goes_on_from_its_checkpoints_wherever_it_runs_next(
    cluster: Listening, order: TrainingOrder
):
    run = train(
        cluster,
        order,
        """
def stop(*_):
    checkpoints.mkdir()
    checkpoints.joinpath("state.json").write_text("epoch 3")
    report("stopped")
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
report("progress")
time.sleep(60)
""",
    )
    await until(run.events)
    run.stop()
    run.stop()
    assert await ended(run) == TrainingOutcome(TrainingEnd.STOPPED)
    run = train(
        cluster,
        order,
        """
report("x", resumes="--resume" in sys.argv, state=checkpoints.joinpath("state.json").read_text())
shutil.rmtree(checkpoints)
""",
    )
    assert await ended(run) == TrainingOutcome(TrainingEnd.FINISHED)
    assert run.events() == [{"event": "x", "resumes": True, "state": "epoch 3"}]
    assert not order.checkpoints.exists()


async def test_one_that_is_killed_counts_as_stopped(cluster: Listening, order: TrainingOrder):
    run = train(cluster, order, "report('progress'); time.sleep(60)")
    await until(run.events)
    run.kill()
    assert await ended(run) == TrainingOutcome(TrainingEnd.STOPPED)


async def test_what_charrnn_has_against_it_is_the_outcome(
    executor: DaskExecutor, order: TrainingOrder
):
    outcome = await ended(executor.train(order))
    assert outcome.end is TrainingEnd.FAILED
    assert "9 characters are too few to train on" in outcome.sentence


def gone(pid: int) -> bool:
    """Or dead, and not yet buried by whoever has inherited it."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # the system has no /proc, or it has gone just now
        return False


async def test_with_its_worker_a_training_ends_and_says_so(
    two_workers: LocalCluster, cluster: Listening, order: TrainingOrder
):
    run = train(cluster, order, "import os; report('progress', pid=os.getpid()); time.sleep(60)")
    [event] = await until(run.events)
    [worker] = {worker for worker, name in cluster.ran if name == begin.__name__}
    os.kill(await cluster.run(worker, os.getpid), signal.SIGKILL)
    assert await ended(run) == TrainingOutcome(TrainingEnd.FAILED, LOST)
    if shutil.which("setpriv"):
        await until(lambda: gone(event["pid"]))
    await until(lambda: len(two_workers.scheduler.workers) == 2)


async def test_a_training_that_no_bot_asks_after_ends(
    cluster: Listening, order: TrainingOrder, tmp_path: Path
):
    pid = tmp_path / "pid"
    program = f"import os; Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"
    start = Start(
        run="forgotten",
        text=("text.txt", b"So be it."),
        base=("base", store.read_files(order.base)),
        output="1",
        checkpoints={},
        threads=1,
        lease_s=1.0,
        program=(sys.executable, "-c", PRELUDE + program),
    )
    [worker, *_] = await cluster.run_in_all(trainings)
    await cluster.run(worker, begin, start)
    await until(lambda: pid.exists() and pid.read_text())
    await until(lambda: gone(int(pid.read_text())))
    assert await cluster.run(worker, attend, "forgotten", 0, 0, None) is None


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
    assert "EXECUTOR needs distributed, which comes with charrnn's extra `dask`" in process.stderr
