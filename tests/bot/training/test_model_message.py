"""What the message of a model shows and offers, whatever people do with the model and wherever."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import discord
import pytest

from bot.client import Bot
from bot.models.reference import ModelReference
from charrnn.generation import Generated, Prompt
from charrnn.store import Model
from tests.bot.conftest import services
from tests.bot.servers import press, told
from tests.bot.stage import Stage
from tests.bot.trainings import FakeExecutor, FakeTrainings

pytestmark = pytest.mark.simcord(shard_count=1)

SAMPLES_S = 40  # until the samples of SlowExecutor are shown
CANDIDATE = ["Use it", "Discard"]
IN_USE = ["Roll back"]


class SlowExecutor(FakeExecutor):
    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        await asyncio.sleep(SAMPLES_S / 4)
        return await super().write(model, prompts)


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def service_options(executor: FakeExecutor, trainings: FakeTrainings) -> dict[str, Any]:
    return {"executor": executor, "trainings": trainings, "channels_allowed": True}


class TestBeforeItsSamples:
    """What somebody does before the samples arrive is still shown after that."""

    @pytest.fixture
    def executor(self) -> FakeExecutor:
        return SlowExecutor()

    async def test_a_model_that_is_used_stays_in_use(self, stage: Stage):
        await stage.finish()
        await stage.click("Use it")
        await stage.wait(SAMPLES_S)
        assert "mine says so" in stage.text
        assert "In use: /write writes with it." in stage.text
        assert stage.buttons == IN_USE

    async def test_a_model_that_is_rolled_back_is_a_candidate(self, stage: Stage):
        await stage.finish()
        await stage.click("Use it")
        await stage.click("Roll back")
        await stage.wait(SAMPLES_S)
        assert "mine says so" in stage.text
        assert "Rolled back to tiny." in stage.text
        assert stage.buttons == CANDIDATE

    async def test_a_model_that_is_rolled_back_and_used_again_is_in_use(self, stage: Stage):
        await stage.finish()
        for label in ("Use it", "Roll back", "Use it"):
            await stage.click(label)
        await stage.wait(SAMPLES_S)
        assert "Rolled back" not in stage.text
        assert stage.buttons == IN_USE

    async def test_a_model_that_is_discarded_stays_deleted(self, stage: Stage):
        await stage.finish()
        await stage.click("Discard")
        await stage.wait(SAMPLES_S)
        assert stage.text.startswith(f"Discarded by <@{stage.admin.id}>.")
        assert not stage.buttons

    async def test_a_model_that_is_used_elsewhere_is_in_use(self, stage: Stage):
        await stage.finish()
        await elsewhere(stage, "mine", "Use it")
        await stage.wait()
        assert stage.buttons == IN_USE
        await stage.wait(SAMPLES_S)
        assert stage.buttons == IN_USE


async def elsewhere(stage: Stage, name: str, *labels: str) -> None:
    """Press buttons that /models shows only to the admin."""
    result = await stage.admin.slash(stage.channel, "models", name=name)
    for label in labels:
        result = await stage.admin.click(result.response, label=label)


async def rename(stage: Stage, name: str, new: str) -> None:
    result = await stage.admin.slash(stage.channel, "models", name=name)
    asked = await stage.admin.click(result.response, label="Rename")
    await stage.admin.submit_modal(asked, {"name": new})


async def test_it_follows_what_is_done_with_the_model_elsewhere(stage: Stage):
    await stage.finish()
    await elsewhere(stage, "mine", "Use it")
    await stage.wait()
    assert stage.buttons == IN_USE
    await elsewhere(stage, "mine", "Roll back")
    await stage.wait()
    assert stage.buttons == CANDIDATE
    await rename(stage, "mine", "better")
    await stage.wait()
    assert stage.title == "better is ready"
    await elsewhere(stage, "better", "Delete", "Delete for good")
    await stage.wait()
    assert stage.text.startswith("This model has been deleted.")
    assert not stage.buttons


async def test_it_follows_when_another_model_is_used_instead(stage: Stage):
    await stage.finish()
    await stage.click("Use it")
    first = stage.message.id
    await stage.retrain(name="second")
    await stage.click("Train")
    await stage.wait()
    stage.trainings.started[-1].finish()
    await stage.wait()

    def offers(message_id: int) -> list[str]:
        [message] = [one for one in stage.channel.history() if one.id == message_id]
        view = discord.ui.View.from_message(message)
        return [str(button.label) for button in view.children]

    second = stage.message.id
    await stage.click("Use it")
    await stage.wait()
    assert (offers(first), offers(second)) == (CANDIDATE, IN_USE)
    await elsewhere(stage, "second", "Delete", "Delete for good")
    await stage.wait()
    assert (offers(first), offers(second)) == (IN_USE, [])


async def test_it_follows_when_discord_did_not_take_the_answer_to_the_button(stage: Stage):
    await stage.finish()
    stage.env.inject_error("PATCH", "/webhooks/*/messages/*", status=403, code=50013, times=1)
    await stage.click("Use it")
    await stage.wait()
    assert stage.buttons == IN_USE


async def test_it_follows_after_a_restart(
    stage: Stage, stateful: Model, tmp_path: Path, service_options: dict[str, Any]
):
    await stage.finish()
    stage.env.inject_error("PATCH", "/channels/*/messages/*", status=403, code=50013, times=1)
    await elsewhere(stage, "mine", "Use it")
    await stage.wait()
    assert stage.buttons == CANDIDATE
    await stage.env.restart_bot(Bot(services(stateful, tmp_path, **service_options)))
    await stage.wait()
    assert stage.buttons == IN_USE


async def test_a_button_that_came_too_late_says_so(stage: Stage):
    await stage.finish()
    job = int(stage.trainings.started[-1].command.output.name)
    late = f"training:{{}}:{job}"
    await stage.click("Use it")
    discarded = await press(stage.admin, stage.channel, stage.env, late.format("discard"))
    assert told(discarded) == "mine is in use. Roll back first, or delete it with /models."
    await elsewhere(stage, "mine", "Roll back")
    rolled = await press(stage.admin, stage.channel, stage.env, late.format("rollback"))
    assert told(rolled) == "mine is not in use. /models shows which model is."
    await elsewhere(stage, "mine", "Delete", "Delete for good")
    used = await press(stage.admin, stage.channel, stage.env, late.format("use"))
    assert told(used).startswith("This server has no such model.")


async def test_no_new_message_shows_a_model_whose_message_was_deleted(stage: Stage):
    await stage.finish()
    await stage.admin.delete(stage.message)
    before = len(stage.channel.history())
    await elsewhere(stage, "mine", "Use it")
    await stage.wait(60)
    assert len(stage.channel.history()) == before


async def test_an_old_message_is_edited_where_it_is(stage: Stage):
    await stage.finish()
    shown = stage.message.id
    stage.env.backend.clock._epoch += timedelta(hours=3)
    await elsewhere(stage, "mine", "Use it")
    await stage.wait()
    assert stage.message.id == shown
    assert stage.buttons == IN_USE
