"""Training jobs whose bot stops, fails or is killed."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest

from bot.errors import RegistryError
from bot.storage.database import Database
from bot.storage.records import GIVEN_UP, JobState
from bot.storage.registry import Registry
from bot.training.service import RESTARTED, TrainingService
from tests.bot.guilds import GLOBE
from tests.bot.training.jobs import (
    Start,
    create,
    files,
    finished,
    queued,
    ready,
    running,
    sampled,
    state_of,
)
from tests.bot.trainings import FakeTrainings, reading, write_trained


class TestRestart:
    """What the successor of a bot that was killed does."""

    async def test_a_training_goes_on_from_its_checkpoint(
        self, training: TrainingService, start: Start, trainings: FakeTrainings
    ):
        job, process = await running(training, trainings)
        process.command.checkpoints.mkdir(parents=True)
        after = start().training
        await after.restore()
        await after.tick()
        assert (await state_of(after, job))[0] is JobState.TRAINING
        assert trainings.started[1].command == process.command

    async def test_a_training_that_had_finished_is_not_repeated(
        self, training: TrainingService, start: Start, trainings: FakeTrainings
    ):
        job, process = await running(training, trainings)
        process.finish()
        after = start().training
        await after.restore()
        assert (await sampled(after, job)).model
        assert len(trainings.started) == 1

    @pytest.mark.parametrize("waiting", [ready, queued])
    async def test_jobs_that_wait_go_on_waiting(
        self, training: TrainingService, start: Start, waiting: Callable[..., Any]
    ):
        job = await waiting(training)
        after = start().training
        await after.restore()
        assert await after.jobs() == [job]

    async def test_reading_is_over(self, training: TrainingService, start: Start, tmp_path: Path):
        job = await create(training)
        (tmp_path / "texts").mkdir()
        (tmp_path / "texts" / f"{job.id}.txt").write_text("so be")
        after = start().training
        await after.restore()
        assert await state_of(after, job) == (JobState.CANCELLED, RESTARTED)
        assert not files(tmp_path)

    @pytest.mark.parametrize("begun", [False, True])
    async def test_jobs_are_interrupted_where_nothing_can_be_trained_any_more(
        self, training: TrainingService, start: Start, trainings: FakeTrainings, begun: bool
    ):
        job = await queued(training)
        if begun:
            await training.tick()
        after = start().training
        await after.restore(blocked="Not here.")
        await after.tick()
        assert await state_of(after, job) == (JobState.INTERRUPTED, "Not here.")
        assert len(trainings.started) == begun

    async def test_the_end_of_a_job_is_shown_until_that_has_succeeded(
        self, training: TrainingService, start: Start, trainings: FakeTrainings, registry: Registry
    ):
        job, _ = await finished(training, trainings)
        assert await start().training.jobs() == [job]
        await registry.mark_shown(GLOBE, job.id, job.model)
        assert await start().training.jobs() == []

    async def test_an_interrupted_job_keeps_its_reason(
        self, training: TrainingService, start: Start, trainings: FakeTrainings, registry: Registry
    ):
        job, process = await running(training, trainings)
        process.command.checkpoints.mkdir(parents=True)
        process.crash("The memory ran out.")
        await training.tick()
        await registry.mark_shown(GLOBE, job.id)
        after = start().training
        await after.restore()
        assert await after.jobs() == []
        unfinished = await after.unfinished_job(GLOBE)
        assert unfinished and unfinished.row.ending == "The memory ran out."

    async def test_files_that_belong_to_nothing_are_deleted(
        self, training: TrainingService, start: Start, trainings: FakeTrainings, tmp_path: Path
    ):
        job, process = await finished(training, trainings)
        process.command.curve.touch()
        kept = files(tmp_path)
        write_trained(process.command.base, tmp_path / "models" / "10" / "77")
        (tmp_path / "models" / "10" / f".{job.id}.new").mkdir()
        (tmp_path / "texts" / "77.txt").touch()
        await start().training.restore()
        assert files(tmp_path) == kept
        assert not (tmp_path / "models" / "10" / f".{job.id}.new").exists()


async def test_a_stopping_bot_stops_its_trainings_and_kills_slow_ones(
    training: TrainingService, trainings: FakeTrainings
):
    job, process = await running(training, trainings)
    await training.close(grace_s=0)
    assert process.asked_to_stop and process.killed
    await training.tick()
    assert (await state_of(training, job))[0] is JobState.TRAINING  # and so it goes on


class ClosingRegistry(Registry):
    """The bot begins to stop while it starts a training."""

    training: TrainingService
    closing: asyncio.Task[None]

    async def start_next(self):
        self.closing = asyncio.create_task(self.training.close(grace_s=0))
        return await super().start_next()


async def test_a_training_that_starts_while_the_bot_stops_is_stopped_too(
    start: Start, trainings: FakeTrainings, tmp_path: Path
):
    registry = ClosingRegistry(tmp_path / "registry.db")
    registry.training = training = start(registry=registry).training
    await queued(training)
    await training.tick()
    await registry.closing
    registry.close()
    assert [process.killed for process in trainings.started] == [True]


class Killed(BaseException):
    """The bot is killed."""


class FailingDatabase(Database):
    """Raises `failure` once, in the transaction with the number `failing`. A kill counts only
    before something is written: before a read it would leave the same behind."""

    failing: int
    failure: type[BaseException]

    def _count(self) -> None:
        self.failing -= 1
        if self.failing == 0:
            raise self.failure("The disk is full.")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        self._count()
        with super().writing() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        if self.failure is RegistryError:
            self._count()
        with super().reading() as connection:
            yield connection


class FailingRegistry(Registry):
    def __init__(self, path: Path, failing: int, failure: type[BaseException]):
        super().__init__(path)
        self.database.close()
        self.database = FailingDatabase(path)
        self.database.failing, self.database.failure = failing, failure


async def made_in_a_second(training: TrainingService, trainings: FakeTrainings) -> bool:
    """An admin does what is next, and so does the bot. True when there is a model to show."""
    *_, job = [None, *await training.jobs()]
    if job is None or job.state in GIVEN_UP:
        job = await create(training)
        await training.prepare(job.row, reading())
    elif job.state is JobState.READY:
        await training.enqueue(GLOBE, job.id)
    await training.tick()
    for process in trainings.started:
        if process.running():
            process.finish()
    if samples := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(samples)
    return job.model is not None and job.over


@pytest.mark.parametrize("failure", [RegistryError, Killed])
async def test_whenever_the_bot_fails_or_is_killed_a_job_still_ends_as_a_model(
    start: Start, tmp_path: Path, failure: type[BaseException]
):
    for failing in itertools.count(1):
        state = tmp_path / str(failing)
        state.mkdir()
        registry = FailingRegistry(state / "registry.db", failing, failure)
        trainings = FakeTrainings()
        options = {"registry": registry, "trainings": trainings}
        training = start(state, **options).training
        made, seconds = False, itertools.count()
        while not made:
            assert next(seconds) < 12, f"no model when transaction {failing} fails"
            try:
                with suppress(RegistryError):
                    made = await made_in_a_second(training, trainings)
            except Killed:
                for process in trainings.started:
                    process.kill()
                training = start(state, **options).training
                await training.restore()
        [folder] = {Path(file).parent for file in files(state)}
        assert folder.parent == Path(f"models/{GLOBE}")
        registry.close()
        if registry.database.failing > 0:
            break  # every transaction has failed once
