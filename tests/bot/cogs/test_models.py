"""/models: what admins see of their server's models, and what they can do with them."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import discord
import pytest
import simcord

import charrnn
from bot.client import Bot, Services
from bot.interactions.answering import Answered
from bot.models.archive import packed
from charrnn import store
from charrnn.errors import ModelError
from charrnn.store import Model
from tests.bot.conftest import bot_with, services
from tests.bot.theatres import Theatre, labels, press, told

pytestmark = pytest.mark.simcord(shard_count=1)

GONE = "This server has no such model. /models shows the models that it has."
WHOLE = {store.CARD, store.KERAS, store.ONNX}


@pytest.fixture
def has(stateful: Model, tmp_path: Path) -> Services:
    return services(stateful, tmp_path)


@pytest.fixture
def simcord_bot(has: Services) -> Bot:
    return Bot(has)


async def model(theatre: Theatre, name: str) -> simcord.ResponseMessage:
    """What /models shows an admin of a model."""
    result = await theatre.admin.slash(theatre.channel, "models", name=name)
    assert result.response
    return result.response


async def model_list(theatre: Theatre) -> str:
    result = await theatre.admin.slash(theatre.channel, "models")
    return str(result.response.embeds[0].description)


async def test_without_models_it_names_retrain(globe: Theatre):
    result = await globe.admin.slash(globe.channel, "models")
    assert result.ephemeral
    assert "/retrain" in str(result.response.embeds[0].description)


async def test_the_list_says_of_each_model_what_is_known_and_which_is_in_use(globe: Theatre):
    old, new = globe.make("old"), globe.make("new_one")
    listed = await model_list(globe)
    assert listed.startswith(rf"**new\_one** · <t:{new.created_at}:d>")
    assert listed.count("2.52 → 2.16 bits per character · 50,000 characters learnt from") == 2
    assert listed.count("from chat · 14.0 MB") == 2
    assert "None of them is in use: /write writes with chat." in listed
    globe.has.registry.use(globe.guild.id, old.id)
    listed = await model_list(globe)
    assert f"**old** · <t:{old.created_at}:d> · **in use**" in listed
    assert "None" not in listed


async def test_a_long_list_fits_and_says_how_many_it_leaves_out(globe: Theatre):
    for number in range(20):
        globe.make("_" * 30 + f"{number:02}")
    embed = (await globe.admin.slash(globe.channel, "models")).response.embeds[0]
    assert len(embed.description) <= 4096
    assert embed.footer.text.startswith("And 8 older.")


async def test_typing_offers_the_servers_own_models_only(globe: Theatre, rose: Theatre):
    globe.make("ours")
    rose.make("theirs")
    for typed, offered in (("", ["ours"]), ("OUR", ["ours"]), ("their", []), ("chat", [])):
        choices = await globe.admin.autocomplete(globe.channel, "models", "name", typed)
        assert [choice["value"] for choice in choices] == offered


async def test_a_model_is_put_to_use_and_rolled_back(globe: Theatre):
    globe.make("mine")
    shown = await model(globe, "mine")
    assert labels(shown) == ["Use it", "Rename", "Download", "Delete"]
    await globe.admin.click(shown, label="Use it")
    assert globe.in_use() == "mine"
    assert labels(shown) == ["Roll back", "Rename", "Download", "Delete"]
    rolled = await globe.admin.click(shown, label="Roll back")
    assert globe.in_use() is None
    assert told(rolled) == "tiny is in use again."
    assert labels(shown)[0] == "Use it"


@pytest.mark.parametrize("name", [store.CARD, store.ONNX])
async def test_who_writes_with_a_damaged_model_is_told_of_models_which_rolls_it_back(
    globe: Theatre, caplog: pytest.LogCaptureFixture, name: str
):
    mine = globe.make("mine")
    globe.has.registry.use(globe.guild.id, mine.id)
    damaged = globe.state / mine.folder / name
    damaged.write_bytes(b"{")
    result = await globe.member.slash(globe.channel, "write", seed="So be it")
    assert told(result).startswith(
        "mine is damaged and cannot be used. An admin of this server can"
    )
    assert "with /models" in told(result)
    assert str(damaged) in caplog.text
    await globe.admin.click(await model(globe, "mine"), label="Roll back")
    assert globe.in_use() is None


async def test_a_damaged_model_that_every_server_has_is_the_operators_matter(
    globe: Theatre, model_folder: Path
):
    broken = replace(globe.has.shakespeare, folder=model_folder)
    (model_folder / store.ONNX).write_bytes(b"{")
    with pytest.raises(ModelError), globe.has.models.explaining(broken.name, broken.folder):
        await globe.has.executor.write(broken, [charrnn.Prompt("So be it", 50)])


async def test_a_model_gets_another_name_or_a_sentence_why_not(globe: Theatre):
    globe.make("mine")
    globe.make("taken")
    shown = await model(globe, "mine")
    asked = await globe.admin.click(shown, label="Rename")
    await globe.admin.submit_modal(asked, {"name": "better"})
    assert globe.names() == ["better", "taken"]
    assert shown.embeds[0].title == "better"
    asked = await globe.admin.click(shown, label="Rename")
    refused = await globe.admin.submit_modal(asked, {"name": "Taken"})
    assert "Choose another name." in told(refused)
    assert globe.names() == ["better", "taken"]


async def test_two_admins_may_rename_a_model_at_once_and_are_counted_as_they_are_offered_it(
    globe: Theatre, simcord_env: simcord.Env
):
    mine = globe.make("mine")
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
    assert globe.names() == ["better"]
    await other.submit_modal(asked[1], {"name": "best"})
    assert globe.names() == ["best"]
    assert counted == ["model:rename"] * 4
    assert "model:rename" in bot.offered()


async def test_a_model_is_deleted_once_that_is_confirmed(globe: Theatre):
    mine = globe.make("mine")
    asked = await globe.admin.click(await model(globe, "mine"), label="Delete")
    assert asked.ephemeral
    assert asked.response.content == "Delete mine? It cannot be brought back."
    assert globe.names() == ["mine"]
    await globe.admin.click(asked.response, label="Delete for good")
    assert asked.response.content == "mine is deleted."
    assert labels(asked.response) == []
    assert globe.names() == []
    assert not (globe.state / mine.folder).exists()


async def test_who_deletes_the_model_in_use_is_told_what_follows(globe: Theatre):
    globe.has.registry.use(globe.guild.id, globe.make("mine").id)
    asked = await globe.admin.click(await model(globe, "mine"), label="Delete")
    assert "what was in use before" in asked.response.content


async def test_a_model_can_be_taken_away_whole(globe: Theatre):
    globe.make("mine")
    result = await globe.admin.click(await model(globe, "mine"), label="Download")
    assert result.ephemeral
    [file] = result.response.attachments
    assert file.filename == "mine.zip"
    with ZipFile(BytesIO(await file.read())) as archive:
        assert set(archive.namelist()) == WHOLE
        assert archive.read(store.ONNX) == (globe.has.shakespeare.folder / store.ONNX).read_bytes()


async def test_what_is_too_large_goes_without_the_file_that_training_starts_from(globe: Theatre):
    folder = globe.state / globe.make("mine").folder
    (folder / store.GUARD).write_bytes(b"guard")
    keras = (folder / store.KERAS).stat().st_size
    whole = sum(file.stat().st_size for file in folder.iterdir()) + 1024
    async with packed(folder, whole) as package:
        assert (package.complete, set(package.names)) == (True, WHOLE | {store.GUARD})
        assert package.file.stat().st_size <= whole
    async with packed(folder, whole - 1) as package:
        assert (package.complete, set(package.names)) == (
            False,
            WHOLE - {store.KERAS} | {store.GUARD},
        )
        assert package.file.stat().st_size <= whole - keras
    assert not package.file.exists()


async def test_what_is_handed_over_in_part_writes_as_the_whole_does(
    globe: Theatre, stateful: Model, tmp_path: Path
):
    mine = globe.make("mine")
    with (globe.state / mine.folder / store.KERAS).open("ab") as file:
        file.truncate(20_000_000)
    result = await globe.admin.click(await model(globe, "mine"), label="Download")
    assert told(result).startswith("All that mine needs to write: card.json, model.onnx.")
    assert f"copy it from {mine.folder} in the state folder" in told(result)
    [archive] = result.response.attachments
    ZipFile(BytesIO(await archive.read())).extractall(tmp_path / "taken")
    taken = charrnn.load(tmp_path / "taken", only_to_write=True)
    prompt = charrnn.Prompt("So be it", 50, rng_seed=1)
    assert charrnn.generate(taken, [prompt]) == charrnn.generate(stateful, [prompt])


async def test_what_discord_takes_in_no_way_is_left_to_the_operator(globe: Theatre):
    mine = globe.make("mine")
    with (globe.state / mine.folder / store.ONNX).open("r+b") as file:
        file.truncate(20_000_000)
    result = await globe.admin.click(await model(globe, "mine"), label="Download")
    assert "files of up to 10.5 MB here, and this model has 20.0 MB" in told(result)
    assert f"in the state folder it is {mine.folder}." in told(result)


async def test_the_buttons_go_on_working_after_a_restart(
    globe: Theatre, simcord_env: simcord.Env, stateful: Model
):
    globe.make("mine")
    shown = await model(globe, "mine")
    await simcord_env.restart_bot(bot_with(stateful, globe.state))
    await globe.admin.click(shown, label="Use it")
    assert labels(shown)[0] == "Roll back"


async def test_who_may_not_manage_the_server_is_told_so(globe: Theatre, simcord_env: simcord.Env):
    mine = globe.make("mine")
    refused = await press(globe.member, globe.channel, simcord_env, f"model:use:{mine.id}")
    assert "Manage Server" in told(refused)
    assert globe.in_use() is None


@pytest.mark.parametrize(
    ("command", "options"),
    [("models", {"name": "theirs"}), ("write", {"model": "theirs", "seed": "So be it"})],
)
async def test_another_servers_model_is_not_there(
    globe: Theatre, rose: Theatre, command: str, options: dict[str, str]
):
    rose.make("theirs")
    assert told(await globe.admin.slash(globe.channel, command, **options)) == GONE


@pytest.mark.parametrize("action", ["use", "rollback", "rename", "delete", "confirm", "download"])
async def test_a_button_reaches_no_model_of_another_server(
    globe: Theatre, rose: Theatre, simcord_env: simcord.Env, action: str
):
    theirs = rose.make("theirs")
    rose.has.registry.use(rose.guild.id, theirs.id)
    result = await press(globe.admin, globe.channel, simcord_env, f"model:{action}:{theirs.id}")
    if action == "rename":
        result = await globe.admin.submit_modal(result, {"name": "ours"})
    assert told(result) == GONE
    assert (rose.names(), rose.in_use(), globe.in_use()) == (["theirs"], "theirs", None)
