"""The bot beside a stand-in for Discord, in this process."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.client import Bot, create_bot
from bot.errors import RegistryError, SettingsError
from bot.inference.queue import Inference
from bot.inference.writer import Writer
from bot.interactions.reply import Reply
from bot.settings import Settings
from bot.storage.files import StateFolder
from charrnn.store import Model
from tests.bot.conftest import bot_with, services
from tests.bot.guilds import ADMIN, CHANNEL, GLOBE, SOURCE
from tests.bot.inference.gate import Gate
from tests.bot.online import answer, online
from tests.bot.processes import until
from tests.bot.trainings import FakeExecutor
from tests.discord_payloads import APPLICATION_ID
from tests.discord_server import BREAKS, DiscordServer

pytestmark = pytest.mark.usefixtures("api")


@pytest.fixture
def bot(stateful: Model, tmp_path: Path) -> Bot:
    return bot_with(stateful, tmp_path, executor=FakeExecutor())


def registrations(discord: DiscordServer) -> list[str]:
    return [request.path for request in discord.requests if request.method == "PUT"]


async def test_it_acknowledges_a_command_before_it_answers(bot: Bot, discord: DiscordServer):
    async with online(bot):
        asked = await answer(await discord.slash("shakespeare", {"seed": "To be"}))
    assert Reply.parse(asked.content).seed == "To be"
    assert asked.acknowledged.result() < asked.answered.result()
    assert discord.unknown == discord.errors == []


async def test_it_registers_its_commands_only_if_they_differ(
    stateful: Model, tmp_path: Path, discord: DiscordServer
):
    for forget, count in ((False, 1), (False, 1), (True, 2)):
        if forget:
            del discord.commands[1:]
        async with online(bot_with(stateful, tmp_path)):
            assert registrations(discord) == [f"applications/{APPLICATION_ID}/commands"] * count


async def test_a_stop_lets_the_answer_under_way_arrive_and_refuses_new_requests(
    bot: Bot, discord: DiscordServer
):
    async with online(bot) as stop:
        discord.delivers.clear()
        first = await discord.slash("shakespeare", {"seed": "To be"})
        await first.acknowledged
        stop.set()
        await until(lambda: bot.services.inference.closed)
        second = await answer(await discord.slash("shakespeare", {"seed": "And yet"}, asker=2))
        assert second.told == ["I am being restarted. Try again in a minute."]
        assert not first.answered.done()
        discord.delivers.set()
    assert first.content.startswith("**To be")


async def test_a_stop_does_not_wait_for_a_network_that_is_away(
    stateful: Model,
    tmp_path: Path,
    discord: DiscordServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr("bot.client.LAST_ANSWERS_S", 0.1)
    options: Any = {"executor": FakeExecutor(), "shutdown_grace_s": 0.1}
    async with online(bot_with(stateful, tmp_path, **options)) as stop:
        discord.fail("PATCH", "webhooks/*", BREAKS, times=1000)
        asked = await discord.slash("shakespeare", {"seed": "To be"})
        await until(lambda: "the answer is sent again" in caplog.text)
        stop.set()
    assert not asked.answered.done()
    await until(lambda: ": lost, " in caplog.text)


async def test_a_lost_connection_is_trouble_until_it_is_back(bot: Bot, discord: DiscordServer):
    async with online(bot):
        assert bot.trouble() is None
        discord.accepts = False
        await discord.cut(1000)
        await until(lambda: bot.trouble() == "The connection to Discord is lost: shard 0.")
        discord.accepts = True
        await until(lambda: bot.trouble() is None)
    assert bot.trouble() == "The bot is stopping."


async def test_a_bot_that_was_started_too_often_waits_before_it_connects(
    bot: Bot, discord: DiscordServer, caplog: pytest.LogCaptureFixture
):
    discord.starts_left = {"remaining": 0, "reset_after": 300}
    delays: list[float] = []

    async def note(seconds: float, _: str) -> None:
        assert not discord.identified.is_set()
        delays.append(seconds)

    bot.add_listener(note, "on_held_up")
    async with online(bot):
        assert delays == [0.3]
    assert "I was started so often today" in caplog.text


async def test_once_connected_it_logs_its_invite_link(bot: Bot, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with online(bot):
        link = f"https://discord.com/oauth2/authorize?client_id={APPLICATION_ID}\n"
        await until(lambda: link in caplog.text)


class StuckExecutor(FakeExecutor):
    async def close(self) -> None:
        raise RuntimeError("It does not close.")


async def test_a_stop_that_fails_closes_discord_the_registry_and_the_state_folder(
    stateful: Model, tmp_path: Path
):
    has = services(stateful, tmp_path, executor=StuckExecutor())
    has.files.claim()
    bot = Bot(has)
    with pytest.raises(RuntimeError):
        async with bot:
            await bot.close()
    assert bot.is_closed()
    with pytest.raises(RegistryError):
        await has.registry.unfinished()
    following = StateFolder(tmp_path)
    following.claim()
    following.release()


async def test_a_batch_that_takes_far_too_long_is_trouble_and_its_asker_is_told(
    stateful: Model, tmp_path: Path, discord: DiscordServer
):
    gate = Gate()
    inference = Inference(gate, batch_limit=8, queue_limit=16, patience_s=0)
    has = services(stateful, tmp_path, executor=FakeExecutor())
    writer = Writer(inference, has.models, has.never_said)
    bot = Bot(replace(has, inference=inference, writer=writer))
    async with online(bot):
        asked = await answer(await discord.slash("shakespeare", {"seed": "To be"}))
        assert "takes far too long" in asked.told[0]
        assert bot.trouble() == "A batch of texts is taking far too long."
        gate.open.set()
        await until(lambda: bot.trouble() is None)


def test_a_wrong_list_of_words_stops_the_start_before_anything_is_created(tmp_path: Path):
    words = tmp_path / "words.txt"
    words.write_text("fool\n...\n")
    with pytest.raises(SettingsError, match=rf"WORDS_FILE: line 2 of {words} is wrong"):
        create_bot(Settings(words_file=words, state=tmp_path / "state"))
    assert not (tmp_path / "state").exists()


async def test_a_new_model_gets_another_name_than_the_operators_model(
    stateful: Model, tmp_path: Path
):
    folder = tmp_path / "models" / "general"
    shutil.copytree(stateful.folder, folder)
    async with create_bot(Settings(model=folder, state=tmp_path / "state")) as bot:
        job = await bot.services.training.create(
            GLOBE, ADMIN, CHANNEL, name=None, base="chat", source=SOURCE
        )
    assert (SOURCE.name, job.row.name) == ("#general", "general-2")
