"""When the commands must be registered again, and when not."""

import copy
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from bot.interactions import command_sync
from tests.discord_payloads import APPLICATION_ID, command


@app_commands.command(description="Writes on.")
@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
async def write(
    interaction: discord.Interaction,
    seed: str,
    temperature: app_commands.Range[float, 0.0, 2.0] = 0.7,
    private: bool = False,
) -> None: ...


class RegisteredHttp:
    """Discord's REST API with these commands registered."""

    def __init__(self, registered: list[dict[str, Any]]):
        self._registered = registered

    async def get_global_commands(self, application_id: int) -> list[dict[str, Any]]:
        assert application_id == APPLICATION_ID
        return self._registered


def bot_with(*defined: app_commands.Command) -> commands.AutoShardedBot:
    bot = commands.AutoShardedBot("!", intents=discord.Intents.none())
    bot._connection.application_id = APPLICATION_ID
    for one in defined:
        bot.tree.add_command(one)
    return bot


@pytest.fixture
def registered() -> list[dict[str, Any]]:
    """`write` as Discord returns it."""
    return [command(1, write.to_dict(bot_with().tree))]


async def are_registered(bot: commands.AutoShardedBot, registered: list[dict[str, Any]]) -> bool:
    bot.http = RegisteredHttp(registered)
    return await command_sync.are_registered(bot)


async def test_a_command_as_discord_returns_it_is_unchanged(registered: list[Any]):
    assert registered[0] != write.to_dict(bot_with().tree)
    assert await are_registered(bot_with(write), registered)


async def test_an_added_or_removed_command_is_a_change(registered: list[Any]):
    assert not await are_registered(bot_with(write), [])
    assert not await are_registered(bot_with(), registered)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["description"], "Writes."),
        (["default_member_permissions"], "8"),
        (["contexts"], None),
        (["nsfw"], True),
        (["integration_types"], [0, 1]),
        (["options", 0, "required"], False),
        (["options", 1, "min_value"], None),
        (["options", 1, "max_value"], 1.0),
        (["options", 2, "type"], 3),
    ],
)
async def test_a_changed_definition_is_a_change(
    registered: list[Any], path: list[Any], value: object
):
    changed = copy.deepcopy(registered)
    place = changed[0]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not await are_registered(bot_with(write), changed)
