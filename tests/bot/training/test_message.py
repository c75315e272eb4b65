"""The message of a job, as people see it when Discord, the registry or a clock fails."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.client import Bot
from bot.cogs.retrain import RETRY_S
from bot.errors import RegistryError
from bot.services import Services
from bot.storage.registry import Registry
from bot.training.message import (
    EDIT_INTERVAL_S,
    LONGEST_PAUSE_S,
    NEW_MESSAGE_S,
    TrainingMessages,
)
from charrnn.store import Model
from tests.bot.conftest import services, virtual_time
from tests.bot.stage import Stage
from tests.bot.trainings import PROGRESS, FakeExecutor, FakeTrainings

pytestmark = pytest.mark.simcord(shard_count=1)


class FailingRegistry(Registry):
    """Cannot save in which message a job is shown while `full`."""

    full = False

    async def show_in(self, guild_id: int, job_id: int, channel_id: int, message_id: int):
        if self.full:
            raise RegistryError("The disk is full.")
        return await super().show_in(guild_id, job_id, channel_id, message_id)


class Skipping:
    """A clock that a test can move on without a second of work for the bot."""

    skipped_s = 0.0

    def __call__(self) -> float:
        return virtual_time() + self.skipped_s


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[FailingRegistry]:
    registry = FailingRegistry(tmp_path / "registry.db")
    yield registry
    registry.close()


@pytest.fixture
def clock() -> Skipping:
    return Skipping()


@pytest.fixture
def service_options(
    trainings: FakeTrainings, registry: FailingRegistry, clock: Skipping
) -> dict[str, Any]:
    return {
        "executor": FakeExecutor(),
        "trainings": trainings,
        "registry": registry,
        "clock": clock,
        "channels_allowed": True,
        "shutdown_grace_s": 0,
    }


async def test_something_moves_between_train_and_the_first_figures(stage: Stage):
    await stage.train()
    seen = set()
    for _ in range(3):
        assert "Starting: " in stage.text
        seen.add(stage.text)
        await stage.wait(EDIT_INTERVAL_S)
    assert len(seen) == 3


async def test_a_text_waits_for_train_through_a_restart(
    stage: Stage, stateful: Model, tmp_path: Path, trainings: FakeTrainings
):
    await stage.retrain(name="mine")
    options = {"executor": FakeExecutor(), "trainings": trainings}
    await stage.env.restart_bot(Bot(services(stateful, tmp_path, **options)))
    await stage.wait()
    assert stage.title == "Train mine?"
    await stage.click("Train")
    await stage.wait()
    assert trainings.started[0].command.text.read_text("utf-8").startswith("number 0")


async def test_the_message_is_edited_at_most_every_five_seconds(stage: Stage):
    training = await stage.train()
    before = len(stage.env.http_requests)
    for n in range(20):
        training.told = [replace(PROGRESS, done=n / 20)]
        await stage.wait(1)
    edits = [r for r in stage.env.http_requests[before:] if r.method == "PATCH"]
    assert 3 <= len(edits) <= 4


async def test_progress_shows_when_the_clock_is_set_back_by_an_hour(stage: Stage):
    training = await stage.train()
    stage.env.backend.clock._epoch -= timedelta(hours=1)
    training.told = [PROGRESS]
    await stage.wait(2 * EDIT_INTERVAL_S)
    assert "Epoch 1 of at most 5" in stage.text


async def test_nothing_is_repeated_when_the_clock_is_set_forward_by_eight_hours(stage: Stage):
    training = await stage.train()
    before = training.looks
    stage.env.backend.clock._epoch += timedelta(hours=8)
    await stage.wait(10)
    assert 8 <= training.looks - before <= 12


async def test_a_late_update_shows_the_job_as_it_is_by_then(
    stage: Stage, bot_services: Services, clock: Skipping
):
    await stage.train()
    [earlier] = await bot_services.training.jobs()
    await stage.click("Cancel")
    has = bot_services
    messages = TrainingMessages(stage.env.bot, has.training, has.registry, has.files, clock)
    await messages.refresh(earlier)
    assert stage.title == "Cancelled: mine"


async def test_after_an_hour_it_goes_on_in_a_new_message(stage: Stage, clock: Skipping):
    training = await stage.train()
    first = stage.message
    clock.skipped_s += NEW_MESSAGE_S
    training.told = [PROGRESS]
    await stage.wait(EDIT_INTERVAL_S)
    assert stage.message.id != first.id
    assert "Epoch 1 of at most 5" in stage.text
    assert not stage.shows(first)


@pytest.mark.parametrize(
    ("label", "title", "buttons"),
    [
        ("Use it", "mine is ready", ["Roll back"]),
        ("Discard", "mine", []),
    ],
)
async def test_buttons_work_where_somebody_removed_the_embed(
    stage: Stage, label: str, title: str, buttons: list[str]
):
    await stage.finish()
    channel: Any = stage.env.bot.get_channel(stage.channel.id)
    await channel.get_partial_message(stage.message.id).edit(embeds=[])
    result = await stage.admin.click(stage.message, label=label)
    assert not result.followups
    assert (stage.title, stage.buttons) == (title, buttons)


async def test_the_command_shows_a_job_again_whose_message_was_deleted(stage: Stage):
    training = await stage.train()
    await stage.admin.delete(stage.message)
    training.told = [PROGRESS]
    await stage.wait(EDIT_INTERVAL_S)
    assert not training.killed
    await stage.retrain()
    assert "Epoch 1 of at most 5" in stage.text
    training.finish()
    await stage.wait()
    assert stage.title == "mine is ready"


@pytest.mark.parametrize("failed_edits", [0, 3])
async def test_the_end_is_shown_at_once_though_the_message_was_deleted(
    stage: Stage, clock: Skipping, failed_edits: int
):
    training = await stage.train()
    await stage.admin.delete(stage.message)
    for n in range(failed_edits):
        training.told = [replace(PROGRESS, epoch=n)]
        clock.skipped_s += LONGEST_PAUSE_S
        await stage.wait()
    training.finish()
    await stage.wait()
    assert stage.title == "mine is ready"
    assert stage.buttons == ["Use it", "Discard"]


async def test_a_job_that_cannot_be_shown_is_not_begun(stage: Stage):
    stage.env.inject_error("PATCH", "/webhooks/*/messages/*", status=403, code=50013, times=1)
    await stage.retrain()
    await stage.wait()
    await stage.retrain()
    assert stage.title == "Train general?"


async def test_a_job_whose_message_cannot_be_saved_is_not_begun(
    stage: Stage, registry: FailingRegistry
):
    registry.full = True
    refused = await stage.retrain()
    assert refused == "The disk is full."
    registry.full = False
    await stage.wait()
    await stage.retrain()
    assert stage.title == "Train general?"


@pytest.mark.simcord(shard_count=1, check_errors=False)
async def test_trainings_are_followed_again_after_an_unforeseen_error(stage: Stage):
    training = await stage.train()
    for _ in range(2):
        training.told = [None]  # type: ignore[list-item]
        await stage.wait()
        await stage.wait(RETRY_S)
    training.finish()
    await stage.wait(EDIT_INTERVAL_S)
    assert stage.title == "mine is ready"


@pytest.mark.parametrize("status", [500, 429])
async def test_a_refused_edit_is_repeated(stage: Stage, status: int):
    training = await stage.train()
    stage.env.inject_error("PATCH", "/channels/*/messages/*", status=status, times=1)
    training.finish()
    await stage.wait(3 * EDIT_INTERVAL_S)
    assert stage.title == "mine is ready"


REFUSED = [(403, 50001), (403, 50013), (404, 10003), (500, 0)]


@pytest.mark.parametrize(("status", "code"), REFUSED)
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_refused_end_is_shown_later_also_after_a_restart(
    stage: Stage,
    stateful: Model,
    tmp_path: Path,
    trainings: FakeTrainings,
    status: int,
    code: int,
    restarted: bool,
):
    training = await stage.train()
    stage.env.inject_error("PATCH", "/channels/*/messages/*", status=status, code=code, times=1)
    training.finish()
    await stage.wait()
    if restarted:
        options = {"executor": FakeExecutor(), "trainings": trainings}
        await stage.env.restart_bot(Bot(services(stateful, tmp_path, **options)))
    await stage.wait(LONGEST_PAUSE_S / 10)
    assert stage.title == "mine is ready"


async def test_an_end_is_given_up_once_its_channel_is_deleted(
    stage: Stage, registry: FailingRegistry
):
    training = await stage.train()
    channel: Any = stage.env.bot.get_channel(stage.channel.id)
    await channel.delete()
    training.finish()
    await stage.wait()
    assert await registry.jobs_to_show() == ()


async def test_an_end_is_posted_anew_where_its_message_is_too_old_to_edit(stage: Stage):
    training = await stage.train()
    first = stage.message
    stage.env.inject_error("PATCH", "/channels/*/messages/*", status=400, code=30046, times=1)
    training.finish()
    await stage.wait()
    assert stage.message.id != first.id
    assert stage.title == "mine is ready"


@pytest.mark.parametrize(("status", "code"), [(404, 10008), *REFUSED])
async def test_a_training_goes_on_where_it_cannot_be_shown(stage: Stage, status: int, code: int):
    training = await stage.train()
    stage.env.inject_error("PATCH", "/channels/*/messages/*", status=status, code=code, times=None)
    training.finish()
    await stage.wait(EDIT_INTERVAL_S)
    assert "mine says so" in await stage.writes(model="mine")


async def test_the_end_is_shown_however_often_discord_refused(stage: Stage, clock: Skipping):
    training = await stage.train()
    stage.env.inject_error("PATCH", "/channels/*/messages/*", status=403, code=50013, times=10)
    training.finish()
    for n in range(10):
        await stage.wait()
        assert stage.title == "Training mine"
        clock.skipped_s += min(EDIT_INTERVAL_S * 2 ** (n + 1), LONGEST_PAUSE_S)
    await stage.wait()
    assert stage.title == "mine is ready"


async def test_later_edits_do_not_need_the_interactions_token(stage: Stage):
    training = await stage.train()
    stage.env.inject_error("PATCH", "/webhooks/*/messages/*", status=401, code=50027, times=None)
    training.finish()
    await stage.wait()
    assert stage.title == "mine is ready"


async def test_a_bot_stops_though_it_cannot_save_where_it_showed_a_job(
    stage: Stage, clock: Skipping, registry: FailingRegistry, caplog: pytest.LogCaptureFixture
):
    await stage.train()
    clock.skipped_s += NEW_MESSAGE_S
    registry.full = True
    await stage.env.bot.close()
    assert "Not every training could be shown: The disk is full." in caplog.text
