"""/help, in a simulated Discord."""

from typing import Any

import pytest
import simcord

from bot.cogs.mentions import NOWHERE
from tests.bot.servers import Server

pytestmark = pytest.mark.simcord(shard_count=1)


@pytest.fixture
def service_options() -> dict[str, Any]:
    return {"channels_allowed": True, "mentions_allowed": True}


async def help_for(server: Server, who: simcord.MemberActor) -> dict[str, str]:
    """By title, what /help shows. Only the person who asked sees it."""
    shown = await who.slash(server.channel, "help")
    assert shown.ephemeral
    [embed] = shown.response.embeds
    fields = {str(field.name): str(field.value) for field in embed.fields}
    return {str(embed.title): str(embed.description)} | fields


async def test_it_lists_the_commands_that_everybody_has(globe: Server):
    shown = await help_for(globe, globe.member)
    assert list(shown) == ["What I can do", "In this server"]
    for command in ("/shakespeare", "/write", "/privacy", "/help"):
        assert f"`{command}`: " in shown["What I can do"]
    assert "**Continue this**: right-click a message" in shown["What I can do"]
    assert "retrain" not in shown["What I can do"]


async def test_admins_see_theirs_too(globe: Server):
    shown = await help_for(globe, globe.admin)
    for command in ("/retrain", "/models", "/mentions", "/words add"):
        assert f"`{command}`: " in shown["For its admins, such as you"]


async def test_it_says_what_is_switched_on_in_the_server(globe: Server):
    assert (await help_for(globe, globe.member))["In this server"] == (
        "`/write` writes with **chat**.\n"
        f"{NOWHERE}\n"
        "This server's list of what I never say has 0 words.\n"
        "Its admins may let me learn from channels and files."
    )
    model = await globe.make("mine")
    await globe.registry.use(globe.guild.id, model.id)
    await globe.registry.answer_mentions(globe.guild.id, globe.channel.id, True)
    await globe.services.never_said.add(globe.guild.id, ["fool"])
    write, mentions, words, _ = (await help_for(globe, globe.member))["In this server"].splitlines()
    assert write == "`/write` writes with **mine**."
    assert mentions.startswith(f"I answer mentions in <#{globe.channel.id}>. Mention me with")
    assert words == "This server's list of what I never say has 1 word."


async def test_a_direct_message_tells_how_to_invite_the_bot(globe: Server):
    shown = await globe.admin.user.slash("help")
    [embed] = shown.response.embeds
    [field] = embed.fields
    assert field.name == "Here"
    assert str(field.value).startswith("`/write` writes with **chat**. A server that invites me")
    assert "https://discord.com/oauth2/authorize?client_id=" in str(field.value)


async def test_it_fits_one_screen(globe: Server):
    shown = await help_for(globe, globe.admin)
    assert sum(len(text.splitlines()) for text in shown.values()) < 25


class TestWhatTheOperatorHasNotAllowed:
    @pytest.fixture
    def service_options(self) -> dict[str, Any]:
        return {}

    async def test_is_not_offered(self, globe: Server):
        shown = await help_for(globe, globe.admin)
        assert shown["In this server"].splitlines()[1::2] == [
            "I do not answer mentions: my operator has not switched that on.",
            "Its admins may let me learn from files, but not from channels.",
        ]
        assert "/mentions" not in shown["For its admins, such as you"]
