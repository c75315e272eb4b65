"""Answers to messages that mention the bot, over the network."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.client import Bot
from bot.interactions.reply import Reply
from charrnn.store import Model
from tests.bot.conftest import services
from tests.bot.inference.gate import Gate
from tests.bot.online import answer, online
from tests.bot.processes import until
from tests.bot.trainings import FakeExecutor
from tests.discord_payloads import APPLICATION_ID, CHANNEL_ID, GUILD_ID
from tests.discord_server import BREAKS, DiscordServer

ME = f"<@{APPLICATION_ID}>"
MESSAGES = f"channels/{CHANNEL_ID}/messages"


class GatedExecutor(Gate, FakeExecutor):
    """Writes once it is open."""


@pytest.fixture
def gate() -> Gate:
    gate = GatedExecutor()
    gate.open.set()
    return gate


@pytest.fixture
async def stop(
    stateful: Model, tmp_path: Path, discord: DiscordServer, api: str, gate: Gate
) -> AsyncIterator[asyncio.Event]:
    """The event that stops a connected bot, which answers mentions."""
    del api
    has = services(stateful, tmp_path, mentions_allowed=True, executor=gate)
    await has.registry.answer_mentions(GUILD_ID, None, True)
    async with online(Bot(has)) as stop:
        yield stop
    assert discord.unknown == discord.errors == []


def seeds(discord: DiscordServer) -> dict[str, str]:
    """By the ids of the messages that they answer."""
    return {nonce: Reply.parse(shown["content"]).seed for nonce, shown in discord.posted.items()}


def sent(discord: DiscordServer) -> list[str]:
    return [request.path for request in discord.requests if request.method == "POST"]


@pytest.mark.usefixtures("stop")
async def test_a_mention_and_a_direct_message_are_answered(discord: DiscordServer):
    mention = await discord.say(f"{ME} So be it", APPLICATION_ID)
    await until(lambda: discord.posted)
    direct = await discord.say("And yet", guild=None)
    await until(lambda: len(discord.posted) == 2)
    assert seeds(discord) == {mention: "So be it", direct: "And yet"}


@pytest.mark.usefixtures("stop")
async def test_messages_without_a_mention_are_ignored(discord: DiscordServer):
    await discord.say("")
    await discord.say("", 7)
    await answer(await discord.slash("shakespeare", {"seed": "To be"}))
    assert MESSAGES not in sent(discord)


@pytest.mark.usefixtures("stop")
@pytest.mark.parametrize("lands", [False, True])
async def test_an_answer_is_sent_again_after_a_broken_connection_and_shown_once(
    discord: DiscordServer, lands: bool
):
    discord.fail("POST", MESSAGES, BREAKS, times=2, lands=lands)
    asked = await discord.say(f"{ME} So be it", APPLICATION_ID)
    await until(lambda: sent(discord) == [MESSAGES] * 3)
    await until(lambda: discord.posted)
    assert seeds(discord) == {asked: "So be it"}


@pytest.mark.usefixtures("stop")
async def test_while_one_is_answered_the_next_waits_and_the_others_are_dropped(
    discord: DiscordServer, gate: Gate
):
    gate.open.clear()
    first = await discord.say(f"{ME} one", APPLICATION_ID, author=1)
    await until(lambda: gate.batches)
    second = await discord.say(f"{ME} two", APPLICATION_ID, author=2)
    await discord.say(f"{ME} three", APPLICATION_ID, author=3)
    await answer(await discord.slash("privacy", {}))  # so the bot has read both
    gate.open.set()
    await until(lambda: len(discord.posted) == 2)
    assert seeds(discord) == {first: "one", second: "two"}
    assert gate.batches == [["one"], ["two"]]


@pytest.mark.usefixtures("stop")
async def test_typing_is_shown_while_a_text_takes_long(
    discord: DiscordServer, gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    typing = f"channels/{CHANNEL_ID}/typing"
    await discord.say(f"{ME} one", APPLICATION_ID)
    await until(lambda: discord.posted)
    assert typing not in sent(discord)
    monkeypatch.setattr("bot.cogs.mentions.TYPING_AFTER_S", 0)
    gate.open.clear()
    await discord.say(f"{ME} two", APPLICATION_ID)
    await until(lambda: typing in sent(discord))
    gate.open.set()
    await until(lambda: len(discord.posted) == 2)


async def test_a_stop_lets_the_answer_under_way_arrive(
    discord: DiscordServer, gate: Gate, stop: asyncio.Event
):
    gate.open.clear()
    asked = await discord.say(f"{ME} one", APPLICATION_ID)
    await until(lambda: gate.batches)
    stop.set()
    gate.open.set()
    await until(lambda: discord.posted)
    assert seeds(discord) == {asked: "one"}
