"""/models: what admins see of their server's models, and what they can do with them."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import discord
import pytest
import simcord

import charrnn
from bot.errors import not_found
from bot.interactions.answering import Answered
from bot.interactions.markup import EMBED_LIMIT
from bot.models.embeds import model_list
from bot.storage.records import Source
from charrnn import store
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.servers import Server, labels, press, told

pytestmark = pytest.mark.simcord(shard_count=1)

GONE = str(not_found("model"))


async def shown(server: Server, name: str) -> simcord.ResponseMessage:
    """What /models shows an admin of a model."""
    result = await server.admin.slash(server.channel, "models", name=name)
    assert result.response
    return result.response


async def shown_list(server: Server) -> str:
    result = await server.admin.slash(server.channel, "models")
    assert result.ephemeral
    return str(result.response.embeds[0].description)


async def test_without_models_the_list_names_retrain(globe: Server):
    assert "/retrain" in await shown_list(globe)


async def test_the_list_describes_each_model_and_says_which_is_in_use(globe: Server):
    old, new = await globe.make("old"), await globe.make("new_one")
    listed = await shown_list(globe)
    assert listed.startswith(rf"**new\_one** · <t:{new.created_at}:d>")
    described = (
        "Sounds like #general: 71 % ± 12 % · 2.52 → 2.16 bits per character · 50,000 characters"
    )
    assert listed.count(f"\n-# {described} · from chat") == 2
    assert listed.count("14.0 MB") == 2
    assert "None of them is in use: /write writes with chat." in listed
    await globe.registry.use(globe.guild.id, old.id)
    listed = await shown_list(globe)
    assert f"**old** · <t:{old.created_at}:d> · **in use**" in listed
    assert "None" not in listed


async def test_a_long_list_fits_and_says_how_many_it_leaves_out(globe: Server):
    *_, model = [await globe.make("_" * 30 + f"{number:02}") for number in range(20)]
    embed = (await globe.admin.slash(globe.channel, "models")).response.embeds[0]
    longest = replace(model, source=Source("_" * 250 + ".txt"), base=model.name)
    for longer in (embed, model_list([longest] * 20, "chat")):
        assert len(longer.description) <= EMBED_LIMIT
    assert embed.footer.text.startswith("And 8 older.")


async def test_typing_offers_only_the_servers_own_models(globe: Server, rose: Server):
    await globe.make("ours")
    await rose.make("theirs")
    for typed, offered in (("", ["ours"]), ("OUR", ["ours"]), ("their", []), ("chat", [])):
        choices = await globe.admin.autocomplete(globe.channel, "models", "name", typed)
        assert [choice["value"] for choice in choices] == offered


async def test_a_model_is_used_and_rolled_back(globe: Server):
    await globe.make("mine")
    message = await shown(globe, "mine")
    assert labels(message) == ["Use it", "Rename", "Download", "Delete"]
    await globe.admin.click(message, label="Use it")
    assert await globe.in_use() == "mine"
    assert labels(message) == ["Roll back", "Rename", "Download", "Delete"]
    rolled = await globe.admin.click(message, label="Roll back")
    assert await globe.in_use() is None
    assert told(rolled) == "tiny is in use again."
    assert labels(message)[0] == "Use it"


@pytest.mark.parametrize("name", [store.CARD, store.ONNX])
async def test_a_damaged_model_is_explained_to_members_and_rolled_back_by_admins(
    globe: Server, caplog: pytest.LogCaptureFixture, name: str
):
    mine = await globe.make("mine")
    await globe.registry.use(globe.guild.id, mine.id)
    damaged = globe.state / mine.folder / name
    damaged.write_bytes(b"{")
    result = await globe.member.slash(globe.channel, "write", seed="So be it")
    assert told(result).startswith("mine is damaged and cannot be used. An admin of this server")
    assert str(damaged) in caplog.text
    await globe.admin.click(await shown(globe, "mine"), label="Roll back")
    assert await globe.in_use() is None


async def test_a_model_gets_another_name_or_a_sentence_why_not(globe: Server):
    await globe.make("mine")
    await globe.make("taken")
    message = await shown(globe, "mine")
    asked = await globe.admin.click(message, label="Rename")
    await globe.admin.submit_modal(asked, {"name": "better"})
    assert await globe.names() == ["better", "taken"]
    assert message.embeds[0].title == "better"
    asked = await globe.admin.click(message, label="Rename")
    refused = await globe.admin.submit_modal(asked, {"name": "Taken"})
    assert "Choose another name." in told(refused)
    assert await globe.names() == ["better", "taken"]


async def test_two_admins_rename_a_model_at_once_and_are_counted_under_its_button(
    globe: Server, simcord_env: simcord.Env
):
    mine = await globe.make("mine")
    bot, counted = simcord_env.bot, list[str]()

    async def count(answered: Answered) -> None:
        counted.append(answered.command)

    bot.add_listener(count, "on_answered")
    role = globe.guild.create_role("more", permissions=discord.Permissions(manage_guild=True))
    other = globe.guild.add_member(simcord_env.create_user("another admin"), roles=[role])
    asked = [
        await press(who, globe.channel, simcord_env, f"model:rename:{mine.id}")
        for who in (globe.admin, other)
    ]
    await globe.admin.submit_modal(asked[0], {"name": "better"})
    assert await globe.names() == ["better"]
    await other.submit_modal(asked[1], {"name": "best"})
    assert await globe.names() == ["best"]
    assert counted == ["model:rename"] * 4
    assert "model:rename" in bot.offered()


async def test_a_model_is_deleted_after_confirmation(globe: Server):
    mine = await globe.make("mine")
    asked = await globe.admin.click(await shown(globe, "mine"), label="Delete")
    assert asked.ephemeral
    assert asked.response.content == "Delete mine? This cannot be undone."
    assert await globe.names() == ["mine"]
    await globe.admin.click(asked.response, label="Delete for good")
    assert asked.response.content == "mine is deleted."
    assert labels(asked.response) == []
    assert await globe.names() == []
    assert not (globe.state / mine.folder).exists()


async def test_the_question_says_what_deleting_the_model_in_use_leads_to(globe: Server):
    await globe.registry.use(globe.guild.id, (await globe.make("mine")).id)
    asked = await globe.admin.click(await shown(globe, "mine"), label="Delete")
    assert "/write will use the model that was in use before" in asked.response.content


async def test_a_model_is_downloaded_whole(globe: Server):
    await globe.make("mine")
    result = await globe.admin.click(await shown(globe, "mine"), label="Download")
    assert result.ephemeral
    [file] = result.response.attachments
    assert file.filename == "mine.zip"
    with ZipFile(BytesIO(await file.read())) as archive:
        assert set(archive.namelist()) == {store.CARD, store.KERAS, store.ONNX}


async def test_a_model_that_is_downloaded_in_part_writes_as_the_whole_does(
    globe: Server, stateful: Model, tmp_path: Path
):
    mine = await globe.make("mine")
    with (globe.state / mine.folder / store.KERAS).open("ab") as file:
        file.truncate(30_000_000)
    result = await globe.admin.click(await shown(globe, "mine"), label="Download")
    assert told(result).startswith("The files that mine needs to write: card.json, model.onnx.")
    assert "model.keras does not fit: Discord takes up to 26.2 MB here." in told(result)
    assert f"copy it from {mine.folder} in the state folder" in told(result)
    [archive] = result.response.attachments
    ZipFile(BytesIO(await archive.read())).extractall(tmp_path / "taken")
    taken = charrnn.load(tmp_path / "taken")
    prompt = charrnn.Prompt("So be it", 50, rng_seed=1)
    assert charrnn.generate(taken, [prompt]) == charrnn.generate(stateful, [prompt])


async def test_a_download_is_as_large_as_discord_allows_here(globe: Server):
    mine = await globe.make("mine")
    with (globe.state / mine.folder / store.KERAS).open("ab") as file:
        file.truncate(20_000_000)  # too large for a server without boosts
    result = await globe.admin.click(await shown(globe, "mine"), label="Download")
    assert told(result).startswith("The whole of mine.")


async def test_a_model_that_is_too_large_is_left_to_the_operator(globe: Server):
    mine = await globe.make("mine")
    with (globe.state / mine.folder / store.ONNX).open("r+b") as file:
        file.truncate(30_000_000)
    result = await globe.admin.click(await shown(globe, "mine"), label="Download")
    assert "files of up to 26.2 MB here, and this model has 30.0 MB" in told(result)
    assert f"can copy it from {mine.folder} in the state folder." in told(result)


async def test_buttons_work_after_a_restart(
    globe: Server, simcord_env: simcord.Env, stateful: Model
):
    await globe.make("mine")
    message = await shown(globe, "mine")
    await simcord_env.restart_bot(bot_with(stateful, globe.state))
    await globe.admin.click(message, label="Use it")
    assert labels(message)[0] == "Roll back"


async def test_members_may_not_change_models(globe: Server, simcord_env: simcord.Env):
    mine = await globe.make("mine")
    refused = await press(globe.member, globe.channel, simcord_env, f"model:use:{mine.id}")
    assert "Manage Server" in told(refused)
    assert await globe.in_use() is None


@pytest.mark.parametrize(
    ("command", "options"),
    [("models", {"name": "theirs"}), ("write", {"model": "theirs", "seed": "So be it"})],
)
async def test_a_command_finds_no_model_of_another_server(
    globe: Server, rose: Server, command: str, options: dict[str, str]
):
    await rose.make("theirs")
    assert told(await globe.admin.slash(globe.channel, command, **options)) == GONE


@pytest.mark.parametrize("action", ["use", "rollback", "rename", "delete", "confirm", "download"])
async def test_a_button_finds_no_model_of_another_server(
    globe: Server, rose: Server, simcord_env: simcord.Env, action: str
):
    theirs = await rose.make("theirs")
    await rose.registry.use(rose.guild.id, theirs.id)
    result = await press(globe.admin, globe.channel, simcord_env, f"model:{action}:{theirs.id}")
    if action == "rename":
        result = await globe.admin.submit_modal(result, {"name": "ours"})
    assert told(result) == GONE
    assert (await rose.names(), await rose.in_use()) == (["theirs"], "theirs")
    assert await globe.in_use() is None
