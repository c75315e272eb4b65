"""The message command "Continue this", in a simulated Discord."""

from typing import Any

import discord
import pytest
import simcord

from bot.interactions.rate_limits import Cooldown
from bot.interactions.reply import Reply
from tests.bot.guilds import Clock
from tests.bot.servers import Server, labels, told
from tests.bot.trainings import FakeExecutor

pytestmark = pytest.mark.simcord(shard_count=1)

NO_TEXT = "That message has no text to go on from. Choose one with words in it."


@pytest.fixture
def service_options() -> dict[str, Any]:
    return {"executor": FakeExecutor()}


async def pick(server: Server, message: Any) -> simcord.InteractionResult:
    return await server.member.context_menu(server.channel, "Continue this", message)


async def seed_of(server: Server, content: str) -> str:
    """The seed with which a message goes on."""
    picked = await pick(server, await server.admin.send(server.channel, content))
    return Reply.parse(told(picked)).seed


async def test_it_goes_on_with_the_model_in_use(globe: Server):
    model = await globe.make("mine")
    await globe.registry.use(globe.guild.id, model.id)
    message = await globe.admin.send(globe.channel, "So be it")
    picked = await pick(globe, message)
    reply = Reply.parse(told(picked))
    assert (reply.seed, reply.model, reply.temperature) == ("So be it", "mine", 0.7)
    assert "mine says so" in reply.text
    assert not picked.ephemeral
    assert labels(picked.response) == ["Reroll", "Continue", "Hotter", "Colder"]


async def test_it_reads_what_people_see(globe: Server):
    who = globe.admin
    content = f"**So** <@{who.id}> in <#{globe.channel.id}>\n> be `it` <:no:123> ||all||"
    assert await seed_of(globe, content) == (
        f"**So** @{who.name} in #{globe.channel.name}\nbe it :no: all"
    )


async def test_it_goes_on_from_the_end_of_a_long_message(globe: Server):
    content = " ".join(f"word{n}" for n in range(200))
    seed = await seed_of(globe, content)
    assert content.endswith(seed)
    assert seed.startswith("word")
    assert 100 <= len(seed) < 110


async def test_it_continues_the_text_of_a_reply_and_not_its_footer(globe: Server):
    asked = await globe.member.slash(globe.channel, "write", seed="So be it")
    before = Reply.parse(told(asked))
    after = Reply.parse(told(await pick(globe, asked.response)))
    assert (before.seed + before.text).rstrip().endswith(after.seed)


async def test_it_reads_a_forwarded_message(globe: Server):
    message = await globe.admin.send(globe.channel, "So be it")
    forwarded = await globe.admin.forward(message, globe.channel)
    assert Reply.parse(told(await pick(globe, forwarded))).seed == "So be it"


async def test_a_message_without_text_gets_a_sentence(globe: Server, simcord_env: simcord.Env):
    picture = await globe.admin.send(globe.channel, attachments=[("a.png", b"\x89PNG")])
    channel = simcord_env.bot.get_channel(globe.channel.id)
    embed = await channel.send(embed=discord.Embed(title="So be it"))
    invisible = await globe.admin.send(globe.channel, "\u200b\u202e")
    for message in (picture, embed, invisible):
        refused = await pick(globe, message)
        assert refused.ephemeral
        assert told(refused) == NO_TEXT


class TestCooldown:
    @pytest.fixture
    def service_options(self, clock: Clock) -> dict[str, Any]:
        cooldown = Cooldown(10, clock)
        return {"executor": FakeExecutor(), "cooldown": cooldown}

    async def test_it_shares_the_cooldown_of_the_commands(self, globe: Server, clock: Clock):
        message = await globe.admin.send(globe.channel, "So be it")
        await globe.member.slash(globe.channel, "write", seed="So be it")
        clock.now += 7.5
        refused = await pick(globe, message)
        assert "try again in 2.5 seconds" in told(refused)
        assert refused.ephemeral
        clock.now += 2.5
        assert not (await pick(globe, message)).ephemeral
