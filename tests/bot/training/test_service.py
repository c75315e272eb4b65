"""Training jobs from their text to their model, with trainings that take no time."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection

import pytest

from bot.errors import BotError
from bot.models.reference import ModelReference
from bot.storage.database import Database
from bot.storage.records import JobState, Sample, TextCounts
from bot.storage.registry import Registry
from bot.training.estimate import STARTING_AND_WRITING
from bot.training.results import write_samples
from bot.training.service import (
    DAMAGED,
    NOT_STARTED,
    OPTED_OUT,
    READING_BROKE,
    STOPPED,
    TrainingService,
)
from charrnn import store
from charrnn.generation import Generated, Prompt
from charrnn.store import Model
from charrnn.text.messages import Counts
from tests.bot.guilds import ANN, BEN, DAY_S, GLOBE, ROSE, SCORES, Clock, make
from tests.bot.training.jobs import (
    Start,
    create,
    files,
    finished,
    from_own_base,
    queued,
    ready,
    running,
    sampled,
    state_of,
)
from tests.bot.trainings import EPOCH, PROGRESS, FakeExecutor, FakeTrainings, reading, write_trained


async def test_a_text_is_counted_and_waits_for_train(
    training: TrainingService, trainings: FakeTrainings
):
    job = await ready(training)
    await training.tick()
    assert job.state is JobState.READY
    assert job.row.counts == TextCounts(9000, 1000, 1)
    assert job.row.estimate_s
    assert not trainings.started


async def test_a_training_reports_and_ends_as_a_candidate(
    training: TrainingService, trainings: FakeTrainings, stateful: Model, tmp_path: Path
):
    job, process = await running(training, trainings)
    command = process.command
    assert command.text.read_text("utf-8").startswith("so be it\n")
    assert (command.base, command.output) == (stateful.folder, tmp_path / job.row.folder)
    process.told = [PROGRESS, EPOCH]
    await training.tick()
    now = await training.job(GLOBE, job.id)
    assert (now.state, now.progress, now.epoch) == (JobState.TRAINING, PROGRESS, EPOCH)
    process.finish()
    model = (await sampled(training, job)).model
    assert model and model.samples
    assert (model.scores, model.in_use) == (SCORES, False)
    assert model.size_bytes > 1000
    assert model.samples[0] == Sample("hi all", "tiny says so", "mine says so")
    assert not command.text.exists()


async def test_a_candidate_has_the_scores_of_the_epoch_that_was_kept(
    training: TrainingService, trainings: FakeTrainings
):
    job, process = await running(training, trainings)
    process.finish(losses=(1.75, 1.4, 1.5, 1.6), best_epoch=2, voice=None)
    model = (await sampled(training, job)).model
    assert model and model.scores == replace(SCORES, voice=None)


async def test_a_training_is_expected_to_take_as_long_as_measured_before_the_restart(
    start: Start, trainings: FakeTrainings
):
    training = start().training
    _, process = await running(training, trainings)
    process.told = [replace(EPOCH, characters_per_second=900.0, measuring_s=2.0)]
    await training.tick()
    expected = await ready(start().training, ROSE)
    epochs, learnt = 25, 8100
    seconds = epochs * learnt / 900 + (epochs + STARTING_AND_WRITING) * 2
    assert expected.row.estimate_s == seconds


async def test_texts_are_kept_where_the_operator_wants_it(start: Start, trainings: FakeTrainings):
    has = start(keep_texts=True)
    _, process = await finished(has.training, trainings)
    await has.training.restore()
    assert process.command.text.exists()
    await has.privacy.opt_out(ANN)
    assert not process.command.text.exists()


async def test_a_text_is_deleted_if_its_job_ended_while_an_author_opted_out(
    start: Start, trainings: FakeTrainings
):
    has = start(keep_texts=True)
    _, process = await finished(has.training, trainings)
    await has.registry.opt_out(ANN)  # before there was a model, so its text was not deleted
    await has.training.cancel_using_opted_out()
    assert not process.command.text.exists()


async def test_too_little_text_is_refused_with_what_was_counted(
    training: TrainingService, tmp_path: Path
):
    job = await create(training)
    with pytest.raises(BotError, match=r"90 characters are too few .* 10 messages of 1 person"):
        await training.prepare(job.row, reading(10, ANN))
    assert (await state_of(training, job))[0] is JobState.FAILED
    assert not files(tmp_path)


async def test_too_short_a_text_is_refused_without_messages(training: TrainingService):
    job = await create(training)

    async def text_of_one_character(destination: Path, *_: object) -> Counts:
        await asyncio.to_thread(destination.write_text, "a")
        return Counts(characters=1)

    with pytest.raises(BotError, match=r"^1 character is too few .* a longer file\.$"):
        await training.prepare(job.row, text_of_one_character)


async def test_a_reader_that_breaks_down_ends_the_job(training: TrainingService):
    async def broken(*_: object) -> Counts:
        raise ZeroDivisionError

    job = await create(training)
    with pytest.raises(ZeroDivisionError):
        await training.prepare(job.row, broken)
    await training.tick()
    assert await state_of(training, job) == (JobState.FAILED, READING_BROKE)


async def test_a_job_that_nobody_can_see_ends(training: TrainingService):
    job = await create(training)
    training.abandon(job)
    await training.tick()
    assert await state_of(training, job) == (JobState.FAILED, READING_BROKE)


@pytest.mark.parametrize(
    ("event", "state"),
    [
        ("cancelled", JobState.CANCELLED),
        ("opted out", JobState.FAILED),
        ("stopping", JobState.FAILED),
    ],
)
async def test_a_text_that_may_not_be_used_when_it_is_read_is_deleted(
    start: Start, tmp_path: Path, event: str, state: JobState
):
    has = start()
    job = await create(has.training)

    async def read(path: Path, *_: object) -> Counts:
        await asyncio.to_thread(path.write_text, "so be it\n" * 1000)
        match event:
            case "cancelled":
                await has.training.cancel(GLOBE, job.id)
            case "opted out":
                await has.registry.opt_out(ANN)
            case _:
                await has.training.close(grace_s=0)
        return Counts(1000, 9000, {str(ANN)})

    with pytest.raises(BotError):
        await has.training.prepare(job.row, read)
    assert (await state_of(has.training, job))[0] is state
    assert not files(tmp_path)


async def test_an_unknown_base_is_refused_before_anything_is_read(training: TrainingService):
    with pytest.raises(BotError, match="no such model"):
        await create(training, base="hal")
    assert await training.unfinished_job(GLOBE) is None


async def test_a_server_trains_one_model_at_a_time(training: TrainingService):
    await ready(training)
    with pytest.raises(BotError, match="already training mine"):
        await create(training, name="other")


async def test_one_training_runs_at_a_time_and_the_others_see_their_place(
    training: TrainingService, trainings: FakeTrainings
):
    job, process = await running(training, trainings)
    second, third = await queued(training, ROSE), await queued(training, 30)
    assert (second.place, third.place) == (1, 2)
    process.finish()
    await training.tick()
    states = {job.id: (job.state, job.place) for job in await training.jobs()}
    assert states == {
        job.id: (JobState.FINISHED, 0),
        second.id: (JobState.TRAINING, 0),
        third.id: (JobState.QUEUED, 1),
    }


@pytest.mark.parametrize("begun", [False, True])
async def test_train_and_cancel_work_once(training: TrainingService, begun: bool):
    job = await queued(training)
    if begun:
        await training.tick()
    with pytest.raises(BotError, match="Too late: this training is "):
        await training.enqueue(GLOBE, job.id)
    await training.cancel(GLOBE, job.id)
    with pytest.raises(BotError, match="Too late: this training is "):
        await training.cancel(GLOBE, job.id)


async def test_a_cancelled_training_leaves_no_files(
    training: TrainingService, trainings: FakeTrainings, tmp_path: Path
):
    job, process = await running(training, trainings)
    process.command.checkpoints.mkdir(parents=True)
    process.command.curve.touch()
    await training.cancel(GLOBE, job.id, "No.")
    assert process.killed
    await training.tick()
    assert await state_of(training, job) == (JobState.CANCELLED, "No.")
    assert not files(tmp_path)


@pytest.mark.parametrize("sentence", ["The loss became nan.", ""])
async def test_a_training_that_ends_before_its_first_checkpoint_has_failed(
    training: TrainingService, trainings: FakeTrainings, tmp_path: Path, sentence: str
):
    job, process = await running(training, trainings)
    process.crash(sentence)
    await training.tick()
    assert await state_of(training, job) == (JobState.FAILED, sentence or STOPPED)
    assert not files(tmp_path)


async def test_a_training_that_breaks_off_later_can_be_resumed(
    training: TrainingService, trainings: FakeTrainings
):
    job, process = await running(training, trainings)
    process.command.checkpoints.mkdir(parents=True)
    process.crash("The memory ran out.")
    await training.tick()
    assert await state_of(training, job) == (JobState.INTERRUPTED, "The memory ran out.")
    await training.enqueue(GLOBE, job.id)
    await training.tick()
    assert trainings.started[1].command == process.command


async def test_a_damaged_new_model_is_no_candidate(
    training: TrainingService, trainings: FakeTrainings, registry: Registry
):
    job, process = await running(training, trainings)
    process.finish()
    (process.command.output / store.CARD).write_text("{}")
    await training.tick()
    assert await state_of(training, job) == (JobState.FAILED, DAMAGED)
    assert not await registry.models(GLOBE)


@pytest.mark.parametrize("author", [10**20, 2**63])
async def test_authors_whose_numbers_are_no_ids_are_no_obstacle(
    training: TrainingService, author: int
):
    assert (await queued(training, author=author)).state is JobState.QUEUED


class BrokenExecutor(FakeExecutor):
    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        raise MemoryError(model, prompts)


async def test_samples_that_cannot_be_written_do_not_cost_the_model(
    start: Start, trainings: FakeTrainings
):
    job, _ = await finished(start(executor=BrokenExecutor()).training, trainings)
    assert job.model and job.model.samples == ()


async def test_a_model_that_was_renamed_meanwhile_has_samples(
    start: Start, trainings: FakeTrainings
):
    bot = start()
    job, _ = await finished(bot.training, trainings)
    await bot.models.rename(GLOBE, job.id, "renamed")
    [sample, *_] = await write_samples(FakeExecutor(), bot.models, job.row)
    assert (sample.before, sample.after) == ("tiny says so", "renamed says so")


class TestOptingOut:
    """Nothing learns from somebody who has opted out."""

    @pytest.mark.parametrize("state", [JobState.READY, JobState.QUEUED, JobState.TRAINING])
    @pytest.mark.parametrize("restarted", [False, True])
    async def test_jobs_that_use_their_messages_are_cancelled(
        self,
        start: Start,
        trainings: FakeTrainings,
        tmp_path: Path,
        state: JobState,
        restarted: bool,
    ):
        has = start()
        training = has.training
        other = await ready(training, ROSE, author=BEN)
        job = await ready(training)
        if state is not JobState.READY:
            await training.enqueue(GLOBE, job.id)
        if state is JobState.TRAINING:
            await training.tick()
        await has.registry.opt_out(ANN)  # and then the bot fails or is killed
        if restarted:
            training = start().training
            await training.restore()
        await training.tick()
        assert await state_of(training, job) == (JobState.CANCELLED, OPTED_OUT)
        assert len(trainings.started) == (state is JobState.TRAINING)
        assert files(tmp_path) == {f"texts/{other.id}.txt"}

    async def test_a_job_learns_from_the_people_of_its_base_too(
        self, training: TrainingService, registry: Registry, tmp_path: Path, stateful: Model
    ):
        base = await make(registry, GLOBE, "base", BEN)
        write_trained(stateful.folder, tmp_path / base.folder)
        job = await create(training, base="Base")
        await training.prepare(job.row, reading(1000, ANN))
        for person in (ANN, BEN):
            assert [job.id] == [job.id for job in (await registry.kept_about(person)).learning]

    async def test_no_job_starts_from_a_model_that_learnt_from_them(
        self, training: TrainingService, registry: Registry
    ):
        await make(registry, GLOBE, "base", BEN)
        await registry.opt_out(BEN)
        with pytest.raises(BotError, match="Choose another base"):
            await create(training, base="base")
        assert await registry.unfinished() == ()


async def test_texts_of_jobs_that_nobody_starts_or_resumes_are_deleted_in_time(
    training: TrainingService, trainings: FakeTrainings, clock: Clock, tmp_path: Path
):
    await ready(training)
    job, process = await running(training, trainings, ROSE)
    process.command.checkpoints.mkdir(parents=True)
    process.crash()
    await training.tick()
    await training.cancel_expired(clock.now + 0.9 * DAY_S)
    assert len(files(tmp_path)) == 2
    await training.cancel_expired(clock.now + 1.1 * DAY_S)
    assert files(tmp_path) == {f"texts/{job.id}.txt"}
    await training.cancel_expired(clock.now + 8 * DAY_S)
    assert not files(tmp_path)


async def test_the_day_for_pressing_train_begins_when_the_text_has_been_read(
    training: TrainingService, clock: Clock
):
    job = await create(training)
    clock.now += 0.5 * DAY_S
    await training.prepare(job.row, reading())
    await training.cancel_expired(clock.now + 0.9 * DAY_S)
    assert (await state_of(training, job))[0] is JobState.READY
    await training.cancel_expired(clock.now + 1.1 * DAY_S)
    assert await state_of(training, job) == (JobState.CANCELLED, NOT_STARTED)


class CountingDatabase(Database):
    transactions = 0

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        self.transactions += 1
        with super()._transaction(begin) as connection:
            yield connection


async def test_a_tick_takes_one_transaction_while_there_is_nothing_to_do(
    training: TrainingService, trainings: FakeTrainings, registry: Registry, tmp_path: Path
):
    job, _ = await finished(training, trainings)
    await registry.mark_shown(GLOBE, job.id, job.model)
    registry.close()
    registry.database = database = CountingDatabase(tmp_path / "registry.db")
    assert await training.tick() == []
    assert database.transactions == 1


async def test_a_server_is_forgotten_with_everything_it_had(
    start: Start, trainings: FakeTrainings, tmp_path: Path
):
    has = start()
    _, job = await from_own_base(has.training, trainings)
    await has.training.prepare(job.row, reading())
    await has.registry.mark_removed(GLOBE)
    await has.training.cancel_in(GLOBE)
    assert await has.privacy.forget_guild(GLOBE)
    await has.training.tick()
    assert not files(tmp_path)
    assert await has.training.jobs() == []
