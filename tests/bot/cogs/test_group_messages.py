"""Commands in a group message, over a socket: the bot is not in it, and has no rights there."""

from pathlib import Path
from typing import Any

import pytest

from bot.client import Bot
from bot.interactions.reply import Reply
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.online import answer, online
from tests.bot.processes import until
from tests.bot.trainings import FakeExecutor
from tests.discord_server import Asked, DiscordServer

pytestmark = pytest.mark.usefixtures("api")

STRANGE_SERVER = 777  # the bot is not in it


@pytest.fixture
def bot(stateful: Model, tmp_path: Path) -> Bot:
    return bot_with(stateful, tmp_path, executor=FakeExecutor())


def button(asked: Asked, label: str) -> str:
    """The id of a button under an answer."""
    [row] = asked.components
    return next(each["custom_id"] for each in row["components"] if each["label"] == label)


@pytest.mark.parametrize("guild", [None, STRANGE_SERVER])
async def test_all_that_people_can_use_works_there(
    bot: Bot, discord: DiscordServer, guild: int | None
):
    place: Any = {"guild": guild}
    async with online(bot):
        asked_before = len(discord.requests)
        for command in ("shakespeare", "write"):
            written = await answer(await discord.slash(command, {"seed": "O"}, **place))
            assert Reply.parse(written.content).model == "tiny"
        for label in ("Reroll", "Continue", "Hotter", "Colder"):
            again = await discord.press(button(written, label), written, **place)
            assert Reply.parse((await answer(again)).content).model == "tiny"
        picked = await answer(await discord.pick("Continue this", "So be it", **place))
        assert Reply.parse(picked.content).seed == "So be it"
        for command in ("help", "privacy"):
            shown = await answer(await discord.slash(command, {}, **place))
            assert shown.private
        used = {request.path.split("/")[0] for request in discord.requests[asked_before:]}
    assert not used & {"channels", "guilds"}  # nothing with the bot's own rights
    assert discord.unknown == discord.errors == []


@pytest.mark.parametrize("guild", [None, STRANGE_SERVER])
async def test_a_private_answer_is_shown_to_the_group_on_request(
    bot: Bot, discord: DiscordServer, guild: int | None
):
    place: Any = {"guild": guild}
    async with online(bot):
        private = {"seed": "O", "private": True}
        written = await answer(await discord.slash("write", private, **place))
        assert written.private
        assert written.overheard == []
        shared = await discord.press(button(written, "Show everyone"), written, **place)
        await until(lambda: bool(shared.told))
        assert shared.told == shared.overheard[-1:] == [written.content]
    assert discord.unknown == discord.errors == []
