"""How the application's settings say that people can install it, at a stand-in for Discord."""

import logging
from pathlib import Path
from typing import Any

import pytest

from bot.client import Bot
from bot.interactions.permissions import NEEDED
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.online import online
from tests.bot.trainings import FakeExecutor
from tests.discord_payloads import APPLICATION_ID
from tests.discord_server import DiscordServer

pytestmark = pytest.mark.usefixtures("api")

PAGE = f"https://discord.com/oauth2/authorize?client_id={APPLICATION_ID}"
SERVER = {"scopes": ["applications.commands", "bot"], "permissions": str(NEEDED.value)}
ONESELF = {"scopes": ["applications.commands"], "permissions": "0"}
BOTH = {"0": {"oauth2_install_params": SERVER}, "1": {"oauth2_install_params": ONESELF}}


@pytest.fixture
def bot(stateful: Model, tmp_path: Path) -> Bot:
    return bot_with(stateful, tmp_path, executor=FakeExecutor())


def changes(discord: DiscordServer) -> list[Any]:
    """What the bot has set."""
    return [
        request.json["integration_types_config"]
        for request in discord.requests
        if (request.method, request.path) == ("PATCH", "applications/@me")
    ]


def installed(discord: DiscordServer) -> dict[str, list[int]]:
    """By command, how people must have installed the bot to use it."""
    return {command["name"]: command["integration_types"] for command in discord.commands}


async def test_the_page_offers_both_ways_and_is_set_once(
    bot: Bot, stateful: Model, tmp_path: Path, discord: DiscordServer
):
    async with online(bot):
        assert bot.install_links() == f"Add me to a server or to your account: {PAGE}"
    async with online(bot_with(stateful, tmp_path, executor=FakeExecutor())):
        assert changes(discord) == [BOTH]
    assert discord.unknown == discord.errors == []
    everywhere = {name for name, kinds in installed(discord).items() if kinds == [0, 1]}
    assert everywhere == {"shakespeare", "write", "privacy", "help", "Continue this"}
    assert installed(discord)["retrain"] == installed(discord)["models"] == [0]


async def test_what_the_operator_asks_for_stays(bot: Bot, discord: DiscordServer):
    own = {"scopes": ["bot", "applications.commands"], "permissions": "8"}
    discord.application["integration_types_config"] = {"0": {"oauth2_install_params": own}}
    async with online(bot):
        [config] = changes(discord)
    assert config["0"]["oauth2_install_params"] == {
        "scopes": ["bot", "applications.commands"],
        "permissions": str(NEEDED.value | 8),
    }


@pytest.mark.parametrize(
    "setting", [{"bot_public": False}, {"custom_install_url": "https://example.com"}]
)
async def test_without_discords_page_there_are_two_links(
    bot: Bot, discord: DiscordServer, setting: dict[str, Any]
):
    discord.application |= setting | {"integration_types_config": {"0": {}}}
    async with online(bot):
        server, account = bot.install_links().splitlines()
    assert changes(discord) == [{"0": {}, "1": {}}]
    assert server.startswith(f"Add me to a server: {PAGE}&scope=bot+applications.commands&")
    assert account == (
        f"Add me to your account: {PAGE}&scope=applications.commands&integration_type=1"
    )
    assert discord.errors == []


async def test_a_refusal_says_what_to_tick_and_leaves_a_bot_for_servers(
    bot: Bot, discord: DiscordServer, caplog: pytest.LogCaptureFixture
):
    discord.fail("PATCH", "applications/@me", 403, 20012)
    caplog.set_level(logging.WARNING)
    async with online(bot):
        assert bot.install_links().startswith("Add me to a server: ")
    assert "Tick User Install on the Installation page of the application" in caplog.text
    assert set(map(tuple, installed(discord).values())) == {(0,)}
    assert discord.errors == []
