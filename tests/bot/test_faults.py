"""What people get when Discord, the registry or the executor fails."""

import asyncio
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from discord import File
from discord.http import handle_message_parameters
from discord.webhook.async_ import async_context
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from bot.__main__ import connect
from bot.errors import SettingsError
from bot.interactions.reply import Reply
from bot.interactions.retries import RetryingAdapter
from bot.models.reference import ModelReference
from charrnn.generation import Generated, Prompt
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.online import answer, online
from tests.bot.processes import PATIENCE_S, until
from tests.bot.trainings import FakeExecutor
from tests.discord_payloads import APPLICATION_ID, CHOICES, TOKEN
from tests.discord_server import BREAKS, BREAKS_OFF, Asked, DiscordServer, Request

pytestmark = pytest.mark.usefixtures("api")

CALLBACKS, EDITS = ("POST", "interactions/*"), ("PATCH", "webhooks/*")
AUTOCOMPLETE = 4


class Pauses:
    """The pauses between attempts: they end when a test says that time has passed."""

    def __init__(self) -> None:
        self._now = 0.0
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def __len__(self) -> int:
        return sum(not ends.done() for _, ends in self._waiting)

    def clock(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        ends: asyncio.Future[None] = asyncio.Future()
        self._waiting.append((self._now + seconds, ends))
        await ends

    def advance(self, seconds: float) -> None:
        self._now += seconds
        for at, ends in self._waiting:
            if at <= self._now and not ends.done():
                ends.set_result(None)

    def install(self) -> None:
        async_context.set(RetryingAdapter(self.clock, self.sleep))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    pauses = Pauses()
    monkeypatch.setattr("bot.interactions.retries.install", pauses.install)
    monkeypatch.setattr("bot.client.PAUSE_S", 0)  # between two IDENTIFYs
    return pauses


class FailingExecutor(FakeExecutor):
    """Fails as a seed says."""

    texts = 0  # asked for

    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        self.texts += len(prompts)
        seeds = {prompt.seed for prompt in prompts}
        if "out of memory" in seeds:
            raise MemoryError
        if "broken" in seeds:
            raise Fail("Non-zero status code returned while running Gemm node.")
        return await super().write(model, prompts)


@pytest.fixture
async def bot(
    stateful: Model, tmp_path: Path, discord: DiscordServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DiscordServer]:
    """Discord, with the bot connected to it."""
    monkeypatch.setattr("bot.client.PAUSE_S", 0)  # between two IDENTIFYs
    async with online(bot_with(stateful, tmp_path, executor=FailingExecutor())):
        yield discord
        await check_well(discord)


async def check_well(discord: DiscordServer) -> None:
    """The bot answers, and has done nothing wrong."""
    asked = await answer(await discord.slash("shakespeare", {"seed": "To be"}, asker=99))
    assert Reply.parse(asked.content).seed == "To be"
    assert discord.errors == discord.unknown == []


def sent(discord: DiscordServer, asked: Asked) -> list[str]:
    """The methods of the bot's requests for this interaction, in order."""
    return [request.method for request in requests(discord, asked)]


def requests(discord: DiscordServer, asked: Asked) -> list[Request]:
    return [request for request in discord.requests if asked.event["token"] in request.path]


async def shakespeare(discord: DiscordServer, seed: str = "To be") -> Asked:
    return await discord.slash("shakespeare", {"seed": seed})


@pytest.mark.parametrize("code", [None, 1000, 1001, 4000])
async def test_a_closed_gateway_is_resumed_and_missed_commands_are_answered(
    bot: DiscordServer, code: int | None
):
    await bot.cut(code)
    missed = await answer(await shakespeare(bot))
    assert Reply.parse(missed.content).seed == "To be"
    assert (bot.resumes, bot.identifies) == (1, 1)


async def test_a_resumable_session_is_resumed(bot: DiscordServer):
    await bot.invalidate(resumable=True)
    await answer(await shakespeare(bot))
    assert (bot.resumes, bot.identifies) == (1, 1)


async def test_a_session_that_is_over_is_replaced_by_a_new_one(bot: DiscordServer):
    await bot.invalidate(resumable=False)
    await until(lambda: bot.identifies == 2)


async def test_a_gateway_that_is_closed_for_good_ends_the_bot_with_the_reason(
    stateful: Model, tmp_path: Path, discord: DiscordServer
):
    bot = bot_with(stateful, tmp_path, executor=FakeExecutor())
    running = asyncio.create_task(connect(bot, TOKEN, asyncio.Event()))
    await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
    await discord.cut(4004)
    with pytest.raises(SettingsError, match="Discord refuses DISCORD_TOKEN"):
        await asyncio.wait_for(running, PATIENCE_S)


@pytest.mark.parametrize("request_", [CALLBACKS, EDITS])
async def test_requests_that_discord_cannot_handle_are_sent_again(
    bot: DiscordServer, request_: tuple[str, str]
):
    everybody = []
    for status in (429, 500, 502, 503):
        bot.fail(*request_, status)
        everybody.append(await shakespeare(bot))
    for asked in everybody:
        await answer(asked)
        assert Reply.parse(asked.content).seed == "To be"
        assert asked.told == []


async def test_what_discord_did_and_called_a_failure_is_not_done_twice(bot: DiscordServer):
    bot.fail(*CALLBACKS, 502, lands=True)
    bot.fail(*EDITS, 502, lands=True)
    asked = await answer(await shakespeare(bot))
    await until(lambda: sent(bot, asked) == ["POST", "POST", "PATCH", "PATCH"])
    assert Reply.parse(asked.content).seed == "To be"
    assert asked.told == []


@pytest.mark.parametrize("break_s", [3, 60])
async def test_a_network_break_costs_nobody_their_answer(
    stateful: Model, tmp_path: Path, discord: DiscordServer, pauses: Pauses, break_s: int
):
    people = 32
    async with online(bot_with(stateful, tmp_path, executor=FakeExecutor(), queue_limit=people)):
        discord.delivers.clear()
        everybody = [
            await discord.slash("shakespeare", {"seed": "To be"}, asker=n) for n in range(people)
        ]
        await until(lambda: sum("PATCH" in sent(discord, asked) for asked in everybody) == people)
        await discord.disconnect()
        for _ in range(0, break_s, 20):
            await until(lambda: len(pauses) == people)
            pauses.advance(min(break_s, 20))
        await until(lambda: len(pauses) == people)
        assert not any(asked.answered.done() for asked in everybody)
        discord.delivers.set()
        await discord.connect()
        pauses.advance(10)
        for asked in everybody:
            await answer(asked)
        # discord.py leaks a thread if it is stopped before.
        await until(lambda: discord.resumes + discord.identifies > 1)
    assert all(Reply.parse(asked.content).seed == "To be" for asked in everybody)
    assert all(asked.told == [] and len(set(asked.overheard)) == 1 for asked in everybody)


@pytest.mark.parametrize("lands", [False, True])
@pytest.mark.parametrize("failure", [BREAKS, BREAKS_OFF])
@pytest.mark.parametrize("request_", [CALLBACKS, EDITS])
async def test_a_request_that_breaks_is_sent_again(
    bot: DiscordServer, request_: tuple[str, str], failure: int, lands: bool
):
    bot.fail(*request_, failure, lands=lands)
    asked = await answer(await shakespeare(bot))
    await until(lambda: sent(bot, asked).count(request_[0]) == 2)
    assert Reply.parse(asked.content).seed == "To be"
    assert asked.told == []


async def test_a_refusal_is_not_posted_twice(bot: DiscordServer):
    bot.fail("POST", "webhooks/*", BREAKS, lands=True)
    asked = await answer(await shakespeare(bot, "broken"))
    await check_well(bot)
    assert sent(bot, asked) == ["POST", "PATCH", "DELETE", "POST"]
    assert len(asked.told) == 1


async def test_nothing_is_written_for_somebody_whose_interaction_is_lost(
    stateful: Model,
    tmp_path: Path,
    discord: DiscordServer,
    pauses: Pauses,
    caplog: pytest.LogCaptureFixture,
):
    executor = FailingExecutor()
    async with online(bot_with(stateful, tmp_path, executor=executor)):
        discord.fail(*CALLBACKS, BREAKS)
        discord.fail(*CALLBACKS, 404, 10062)  # too late
        asked = await shakespeare(discord)
        await until(lambda: len(pauses))
        pauses.advance(60)
        await until(lambda: ": lost, " in caplog.text)
    assert sent(discord, asked) == ["POST", "POST"]
    assert executor.texts == 0


async def test_a_file_arrives_whole_after_a_break(bot: DiscordServer):
    asked = await answer(await shakespeare(bot))
    model = os.urandom(3 * 2**20)
    retrying = RetryingAdapter()
    for failure in (BREAKS, BREAKS_OFF):
        bot.fail(*EDITS, failure)
        file = File(BytesIO(model), "model.zip")
        async with aiohttp.ClientSession() as session:
            with handle_message_parameters(attachments=[file]) as parameters:
                await retrying.edit_original_interaction_response(
                    APPLICATION_ID,
                    asked.event["token"],
                    session=session,
                    multipart=parameters.multipart,
                    files=parameters.files,
                )
        assert asked.files == {"model.zip": model}


@pytest.mark.parametrize("code", [50001, 50013])
async def test_a_missing_permission_is_named(bot: DiscordServer, code: int):
    bot.fail(*EDITS, 403, code)
    asked = await answer(await shakespeare(bot))
    assert "Ask an admin of this server" in asked.told[0]


@pytest.mark.parametrize("code", [10008, 10062])
async def test_an_answer_that_has_no_place_any_more_is_dropped(bot: DiscordServer, code: int):
    bot.fail(*EDITS, 404, code)
    asked = await shakespeare(bot)
    await until(lambda: "PATCH" in sent(bot, asked))
    assert asked.told == []


async def test_an_interaction_that_arrives_twice_is_answered_once(bot: DiscordServer):
    asked = await shakespeare(bot)
    await bot.repeat(asked)
    await answer(asked)
    button = asked.components[0]["components"][1]["custom_id"]
    pressed = await bot.press(button, asked, asker=2)
    await bot.repeat(pressed)
    await answer(pressed)
    await check_well(bot)
    assert len(pressed.told) == 1  # it is somebody else's button
    assert sent(bot, asked) == ["POST", "PATCH"]


@pytest.mark.parametrize(
    ("name", "options"), [("nosuch", {"a": "b"}), ("shakespeare", {"private": True})]
)
async def test_a_command_or_an_option_that_is_gone_is_refused(
    bot: DiscordServer, name: str, options: dict[str, object]
):
    asked = await answer(await bot.slash(name, options))
    assert asked.told == ["This command has changed. Restart Discord, then use it again."]


async def test_a_command_that_is_gone_offers_no_choices(bot: DiscordServer):
    typing = await bot.slash("nosuch", {"model": "a"}, kind=AUTOCOMPLETE)
    await asyncio.wait_for(typing.acknowledged, PATIENCE_S)
    [response] = requests(bot, typing)
    assert response.json == {"type": CHOICES, "data": {"choices": []}}


async def test_of_a_hundred_people_at_once_each_is_answered_or_refused_once(
    stateful: Model, tmp_path: Path, discord: DiscordServer
):
    async with online(bot_with(stateful, tmp_path, queue_limit=20)):
        everybody = [
            await discord.slash("shakespeare", {"seed": "To be"}, asker=n) for n in range(100)
        ]
        for asked in everybody:
            await answer(asked)
    said = ["".join(asked.told) or asked.content for asked in everybody]
    outcomes = Counter("random seed" in sentence for sentence in said)
    assert outcomes[True] and outcomes[False]
    refused = [sentence for sentence in said if "random seed" not in sentence]
    assert all(sentence.startswith("Too many people are asking at once") for sentence in refused)
    assert all(len(asked.told) <= 1 for asked in everybody)


@pytest.mark.parametrize("seed", ["out of memory", "broken"])
async def test_a_text_that_cannot_be_written_is_reported_with_a_number(
    bot: DiscordServer, seed: str
):
    asked = await answer(await shakespeare(bot, seed))
    assert "Something went wrong on my side" in asked.told[0]
    assert asked.event["id"] in asked.told[0]


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_refusal_after_a_public_thinking_is_seen_by_nobody_else(
    bot: DiscordServer, deleted: bool
):
    bot.delivers.clear()
    asked = await shakespeare(bot, "broken")
    await asyncio.wait_for(asked.acknowledged, PATIENCE_S)
    if deleted:  # by somebody
        asked.delete()
    bot.delivers.set()
    await answer(asked)
    [sentence] = asked.told
    assert "Something went wrong on my side" in sentence
    assert sentence not in asked.overheard
    assert asked.deleted


async def test_a_refusal_after_a_private_thinking_takes_its_place(bot: DiscordServer):
    asked = await bot.slash("shakespeare", {"seed": "broken", "private": True})
    await answer(asked)
    assert "Something went wrong on my side" in asked.content
    assert asked.told == asked.overheard == []


async def test_a_public_thinking_ends_even_if_the_refusal_cannot_be_sent(bot: DiscordServer):
    bot.fail("POST", "webhooks/*", BREAKS)
    asked = await shakespeare(bot, "broken")
    await until(lambda: sent(bot, asked) == ["POST", "PATCH", "DELETE", "POST"])
    assert asked.deleted
    assert not asked.thinking


async def test_a_damaged_registry_affects_only_the_commands_that_need_it(
    bot: DiscordServer, tmp_path: Path
):
    registry = tmp_path / "registry.db"
    with closing(sqlite3.connect(registry, isolation_level=None)) as other:
        other.execute("PRAGMA user_version = 1")  # makes the bot read the file again
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await asyncio.to_thread(registry.write_bytes, os.urandom(registry.stat().st_size))
    for command, options in (("privacy", {}), ("write", {"seed": "To be"})):
        asked = await answer(await bot.slash(command, options))
        assert "I cannot read or write my records" in (asked.told or [asked.content])[0]
