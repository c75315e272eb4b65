"""Jobs that start from one of the server's own models, which may change meanwhile."""

import shutil

import pytest

from bot.errors import BotError
from bot.storage.records import JobState
from bot.storage.registry import Registry
from bot.training.service import TrainingService
from charrnn import store
from tests.bot.guilds import GLOBE
from tests.bot.training.jobs import from_own_base, sampled, state_of
from tests.bot.trainings import FakeTrainings, reading


async def test_a_renamed_base_is_still_the_base(
    training: TrainingService, trainings: FakeTrainings, registry: Registry
):
    made, job = await from_own_base(training, trainings)
    await training.prepare(job.row, reading())
    await registry.rename(GLOBE, made.id, "other")
    await training.enqueue(GLOBE, job.id)
    await training.tick()
    assert trainings.started[1].command.base == trainings.started[0].command.output


async def test_a_base_that_is_deleted_before_the_training_ends_the_job(
    training: TrainingService, trainings: FakeTrainings, registry: Registry
):
    made, job = await from_own_base(training, trainings)
    await training.prepare(job.row, reading())
    await registry.delete(GLOBE, made.id)
    await training.enqueue(GLOBE, job.id)
    await training.tick()
    state, ending = await state_of(training, job)
    assert state is JobState.FAILED
    assert ending and "no such model" in ending


async def test_a_base_that_is_deleted_during_the_training_costs_only_the_samples(
    training: TrainingService, trainings: FakeTrainings, registry: Registry
):
    made, job = await from_own_base(training, trainings)
    await training.prepare(job.row, reading())
    await training.enqueue(GLOBE, job.id)
    await training.tick()
    trainings.started[1].finish()
    await registry.delete(GLOBE, made.id)
    shutil.rmtree(trainings.started[0].command.output)
    model = (await sampled(training, job)).model
    assert model and (model.name, model.samples) == ("second", ())


@pytest.mark.parametrize("prepared", [False, True])
async def test_a_damaged_base_ends_the_job_and_the_reason_is_in_the_log(
    training: TrainingService,
    trainings: FakeTrainings,
    caplog: pytest.LogCaptureFixture,
    prepared: bool,
):
    _, job = await from_own_base(training, trainings)
    card = trainings.started[0].command.output / store.CARD
    if not prepared:
        card.write_text("{")
        with pytest.raises(BotError, match="mine is damaged"):
            await training.prepare(job.row, reading())
    else:
        await training.prepare(job.row, reading())
        card.write_text("{")
        await training.enqueue(GLOBE, job.id)
        await training.tick()
    state, ending = await state_of(training, job)
    assert state is JobState.FAILED
    assert ending and "mine is damaged" in ending
    assert str(card) in caplog.text
