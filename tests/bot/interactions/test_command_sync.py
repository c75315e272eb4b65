"""When the commands must be registered again, and when not."""

import copy
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands
from discord.http import Route

from bot.interactions.command_sync import definitions, differing, register
from bot.interactions.command_tree import Tree, everywhere
from tests.discord_payloads import APPLICATION_ID, ENTRY_POINT, command

# As Discord makes it for an application that has an Activity.
LAUNCH = {
    **command(7, {"type": ENTRY_POINT, "name": "launch", "contexts": [0, 1, 2]}, [0, 1]),
    **{"handler": 2, "name_localizations": {"de": "starten"}},
}


@app_commands.command(description="Writes on.")
@everywhere
async def write(
    interaction: discord.Interaction,
    seed: app_commands.Range[str, 1, 100],
    temperature: app_commands.Range[float, 0.0, 2.0] = 0.7,
    private: bool = False,
    channel: discord.TextChannel | discord.VoiceChannel | None = None,
) -> None: ...


@app_commands.command(description="Trains.")
@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
@app_commands.choices(kind=[app_commands.Choice(name="small", value=0)])
async def train(interaction: discord.Interaction, kind: int) -> None: ...


@app_commands.context_menu(name="Write on")
@everywhere
async def write_on(interaction: discord.Interaction, message: discord.Message) -> None: ...


class RegisteredHttp:
    """Discord's REST API with these commands registered."""

    def __init__(self, registered: list[dict[str, Any]]):
        self._registered = registered
        self.sent: list[dict[str, Any]] | None = None  # the registration, if there was one

    async def request(self, route: Route, params: dict[str, str]) -> list[dict[str, Any]]:
        assert route.url.endswith(f"/applications/{APPLICATION_ID}/commands")
        assert params == {"with_localizations": "true"}
        return self._registered

    async def bulk_upsert_global_commands(self, number: int, payload: list[Any]) -> None:
        assert number == APPLICATION_ID
        self.sent = payload


@pytest.fixture
def bot() -> commands.AutoShardedBot:
    bot = commands.AutoShardedBot("!", intents=discord.Intents(guilds=True), tree_cls=Tree)
    bot._connection.application_id = APPLICATION_ID
    for one in (write, train, write_on):
        bot.tree.add_command(one)
    return bot


@pytest.fixture
def ours(bot: commands.AutoShardedBot) -> list[dict[str, Any]]:
    """The commands as they are sent."""
    return definitions(bot, user_install=True)


@pytest.fixture
def registered(ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same commands as Discord returns them."""
    return [command(number, each, [0, 1]) for number, each in enumerate(ours)]


async def sent(
    bot: commands.AutoShardedBot, registered: list[Any], *, user_install: bool = True
) -> Any:
    """What the bot registers when Discord has `registered`; None if nothing."""
    bot.http = http = RegisteredHttp(registered)
    assert await register(bot, user_install=user_install) == (http.sent is not None)
    return http.sent


async def test_commands_as_discord_returns_them_are_unchanged(
    bot: commands.AutoShardedBot, ours: list[Any], registered: list[Any]
):
    assert registered != ours
    assert await sent(bot, registered) is None


def test_a_command_is_for_servers_that_invited_the_bot_unless_it_says_more(ours: list[Any]):
    places = {each["name"]: (each["integration_types"], each["contexts"]) for each in ours}
    anywhere = ([0, 1], [0, 1, 2])
    assert places == {"write": anywhere, "train": ([0], [0]), "Write on": anywhere}


async def test_where_people_cannot_install_the_bot_all_commands_are_for_servers(
    bot: commands.AutoShardedBot, registered: list[Any]
):
    anew = await sent(bot, registered, user_install=False)
    assert [each["integration_types"] for each in anew] == [[0]] * 3


async def test_the_order_of_places_and_of_commands_means_nothing(
    bot: commands.AutoShardedBot, registered: list[Any]
):
    registered[0]["contexts"].reverse()
    registered[0]["integration_types"].reverse()
    registered[0]["options"][3]["channel_types"].reverse()
    assert await sent(bot, registered[::-1]) is None


async def test_what_discord_may_add_one_day_means_nothing(
    bot: commands.AutoShardedBot, registered: list[Any]
):
    registered[0] |= {"global_popularity_rank": 1, "handler": None}
    registered[0]["options"][0]["description_localized"] = "Schreib."
    assert await sent(bot, registered) is None


async def test_an_added_or_removed_command_is_a_change(
    bot: commands.AutoShardedBot, ours: list[Any], registered: list[Any]
):
    assert await sent(bot, registered[1:]) == ours
    assert await sent(bot, [*registered, command(9, {"name": "old"}, [0])]) == ours


async def test_the_command_that_launches_an_activity_is_no_change_and_stays(
    bot: commands.AutoShardedBot, ours: list[Any], registered: list[Any]
):
    assert await sent(bot, [LAUNCH, *registered]) is None
    [*anew, launch] = await sent(bot, [LAUNCH])
    assert anew == ours
    assert launch == {
        name: value for name, value in LAUNCH.items() if name not in ("application_id", "version")
    }


CHANGES: list[tuple[list[Any], object]] = [
    ([0, "description"], "Writes."),
    ([0, "name_localizations"], {"de": "schreiben"}),
    ([0, "contexts"], None),
    ([0, "contexts"], [0]),
    ([0, "nsfw"], True),
    ([0, "integration_types"], [0]),
    ([0, "options", 0, "required"], False),
    ([0, "options", 0, "min_length"], None),
    ([0, "options", 0, "max_length"], 99),
    ([0, "options", 0, "name_localizations"], {"de": "anfang"}),
    ([0, "options", 1, "min_value"], None),
    ([0, "options", 1, "max_value"], 1.0),
    ([0, "options", 2, "type"], 3),
    ([0, "options", 2, "autocomplete"], True),
    ([0, "options", 3, "channel_types"], [0]),
    ([1, "default_member_permissions"], "8"),
    ([1, "default_member_permissions"], None),
    ([1, "options", 0, "choices", 0, "value"], 1),
    ([1, "options", 0, "choices", 0, "name_localizations"], {"de": "klein"}),
    ([2, "type"], 2),
    ([2, "integration_types"], [1]),
]


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_a_changed_definition_is_a_change(
    ours: list[Any], registered: list[Any], path: list[Any], value: object
):
    changed: Any = copy.deepcopy(registered)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert set(differing(changed, ours)) == {registered[path[0]]["name"]}


def test_the_order_of_options_is_what_people_see(ours: list[Any], registered: list[Any]):
    registered[0]["options"].reverse()
    assert differing(registered, ours) == ["write"]
