"""Commands in a server that the bot is not in: only the person who asks has installed it."""

from typing import Any

import discord
import pytest
import simcord

from bot.interactions.reply import Reply
from tests.bot.servers import Server, told
from tests.bot.trainings import FakeExecutor

pytestmark = pytest.mark.simcord(shard_count=1)

INVITE = "https://discord.com/oauth2/authorize?client_id="


@pytest.fixture
def service_options() -> dict[str, Any]:
    return {"executor": FakeExecutor(), "channels_allowed": True}


async def remove_bot(server: Server, env: simcord.Env) -> None:
    bot, backend = env.bot.user, env.backend
    backend.emit("GUILD_DELETE", {"id": str(server.guild.id)})
    await env.settle()
    del backend.get_guild(server.guild.id).members[bot.id]
    assert env.bot.get_guild(server.guild.id) is None
    permissions = backend.compute_permissions

    def of_the_person(guild_id: int, user_id: int, channel_id: int | None = None) -> int:
        """Discord lets the app do what the person may do who has installed it."""
        user_id = server.member.id if user_id == bot.id else user_id
        return permissions(guild_id, user_id, channel_id)

    backend.compute_permissions = of_the_person


def forbid(server: Server, **permissions: bool) -> None:
    """Take permissions from everybody in the server."""
    everyone = server.guild._guild.everyone_role
    everyone.permissions &= ~discord.Permissions(**permissions).value


def refuses(result: simcord.InteractionResult) -> bool:
    assert result.ephemeral
    assert told(result).startswith("That works only in a server that has invited me. An admin of")
    return INVITE in told(result)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("retrain", {}),
        ("retrain", {"file": ("a.txt", b"so be it\n" * 1000)}),
        ("models", {}),
        ("models", {"name": "mine"}),
    ],
)
async def test_what_needs_a_server_says_so_at_once(
    globe: Server, simcord_env: simcord.Env, command: str, options: dict[str, Any]
):
    await remove_bot(globe, simcord_env)
    assert refuses(await globe.admin.slash(globe.channel, command, **options))


@pytest.mark.parametrize("button", ["training:train", "training:again", "model:use"])
async def test_so_do_buttons(globe: Server, simcord_env: simcord.Env, button: str):
    custom_id = f"{button}:{(await globe.make('mine')).id}"
    view = discord.ui.View().add_item(discord.ui.Button(label="press", custom_id=custom_id))
    message = await simcord_env.bot.get_channel(globe.channel.id).send(view=view)
    await remove_bot(globe, simcord_env)
    assert refuses(await globe.admin.click(message, label="press"))


async def test_so_does_a_private_conversation(globe: Server, simcord_env: simcord.Env):
    """Older registrations of the commands are offered there."""
    for name in ("retrain", "models"):
        command = simcord_env.backend.find_command(name, None)
        assert command
        command.pop("dm_permission", None)
        command.pop("contexts", None)
        assert refuses(await globe.admin.user.slash(name))


async def test_writing_goes_on_with_the_shipped_models(globe: Server, simcord_env: simcord.Env):
    model = await globe.make("mine")
    await globe.registry.use(globe.guild.id, model.id)
    written = await globe.member.slash(globe.channel, "write", seed="O")
    assert "mine says so" in told(written)
    await remove_bot(globe, simcord_env)
    for command in ("write", "shakespeare"):
        written = await globe.member.slash(globe.channel, command, seed="O")
        assert "tiny says so" in told(written)
    again = await globe.member.click(written.response, label="Reroll")
    assert "tiny says so" in told(again)
    refused = await globe.member.slash(globe.channel, "write", seed="O", model="mine")
    assert told(refused).startswith("This server has no such model.")
    offered = await globe.member.autocomplete(globe.channel, "write", "model", "")
    assert [choice["name"] for choice in offered] == ["chat"]


async def test_a_picked_message_goes_on_with_the_shipped_model(
    globe: Server, simcord_env: simcord.Env
):
    model = await globe.make("mine")
    await globe.registry.use(globe.guild.id, model.id)
    message = await globe.admin.send(globe.channel, f"So be it, <@{globe.admin.id}>")
    await remove_bot(globe, simcord_env)
    picked = await globe.member.context_menu(globe.channel, "Continue this", message)
    reply = Reply.parse(told(picked))
    assert (reply.seed, reply.model) == (f"So be it, @{globe.admin.name}", "tiny")


async def test_a_private_answer_can_be_shown_to_everyone(globe: Server, simcord_env: simcord.Env):
    await remove_bot(globe, simcord_env)
    mark = len(simcord_env.http_requests)
    written = await globe.member.slash(globe.channel, "write", seed="O", private=True)
    await globe.member.click(written.response, label="Show everyone")
    [public] = globe.channel.history(viewer=globe.admin)
    for label in ("Hotter", "Reroll", "Continue"):
        await globe.member.click(public, label=label)
    used = {request.path.split("/")[1] for request in simcord_env.http_requests[mark:]}
    assert used == {"interactions", "webhooks"}  # nothing with the bot's own rights


async def test_help_says_how_to_invite_the_bot(globe: Server, simcord_env: simcord.Env):
    await remove_bot(globe, simcord_env)
    shown = await globe.admin.slash(globe.channel, "help")
    [field] = shown.response.embeds[0].fields
    assert INVITE in str(field.value)


@pytest.mark.parametrize("command", ["help", "privacy"])
async def test_where_no_embed_may_be_sent_there_is_text(
    globe: Server, simcord_env: simcord.Env, command: str
):
    await remove_bot(globe, simcord_env)
    forbid(globe, embed_links=True)
    shown = await globe.member.slash(globe.channel, command)
    assert shown.response.embeds == []
    assert told(shown).startswith("**What I ")


async def test_where_no_file_may_be_sent_a_long_list_is_shown_elsewhere(
    globe: Server, simcord_env: simcord.Env
):
    for n in range(80):
        await globe.make(f"{n:02}" + "x" * 30, globe.member.id)
    await remove_bot(globe, simcord_env)
    shown = await globe.member.slash(globe.channel, "privacy")
    assert [file.filename for file in shown.response.attachments] == ["kept.txt"]
    forbid(globe, attach_files=True, embed_links=True)
    shown = await globe.member.slash(globe.channel, "privacy")
    assert shown.response.attachments == []
    assert "Use /privacy in a direct message to me." in told(shown)
    shown = await globe.member.user.slash("privacy")
    assert [file.filename for file in shown.response.attachments] == ["kept.txt"]


async def test_privacy_goes_on(globe: Server, simcord_env: simcord.Env):
    await remove_bot(globe, simcord_env)
    shown = await globe.member.slash(globe.channel, "privacy")
    assert shown.response.embeds[0].title == "What I keep about you"
    await globe.member.click(shown.response, label="Opt out")
    assert await globe.registry.opted_out() == {globe.member.id}
