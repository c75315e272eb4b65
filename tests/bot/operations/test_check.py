"""What `python -m bot --check` finds."""

import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from bot.operations import check
from bot.operations.check import Finding, findings
from bot.settings import Settings
from bot.storage.database import Database
from charrnn import store
from tests.bot.processes import ROOT
from tests.discord_payloads import APPLICATION_ID, TOKEN
from tests.discord_server import DiscordServer

MESSAGE_CONTENT_LIMITED = 1 << 19


async def find(what: str, state: Path, **settings: object) -> list[Finding]:
    found = findings(Settings(state=state, **settings))
    return [finding async for finding in found if finding.what == what]


@pytest.mark.usefixtures("api")
async def test_before_the_first_start_all_is_fine_and_nothing_is_created(
    discord: DiscordServer, tmp_path: Path
):
    state = tmp_path / "state"
    found = [finding async for finding in findings(Settings(token=TOKEN, state=state))]
    assert [finding.what for finding in found if not finding.fine] == []
    printed = "\n".join(map(str, found))
    assert "person1000" in printed
    assert f"client_id={APPLICATION_ID}" in printed and "Embed Links" in printed
    assert "registry.db will be created" in printed
    assert TOKEN not in printed
    assert len(found) <= 15  # one screen
    assert not state.exists()
    assert {request.method for request in discord.requests} == {"GET"}


@pytest.mark.usefixtures("api")
async def test_a_refused_token_is_wrong(discord: DiscordServer, tmp_path: Path):
    discord.refuses_token = True
    [token] = await find("token", tmp_path, token=TOKEN)
    assert str(token).startswith("wrong  token     Discord refuses DISCORD_TOKEN. Reset it")
    assert TOKEN not in str(token)


async def test_a_missing_token_is_wrong_and_the_rest_is_checked(tmp_path: Path):
    found = [finding async for finding in findings(Settings(state=tmp_path))]
    assert [finding.what for finding in found if not finding.fine] == ["token"]
    assert len(found) > 5


async def test_a_discord_that_cannot_be_reached_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("discord.http.Route.BASE", "http://127.0.0.1:9/api/v10")
    [discord] = await find("discord", tmp_path, token=TOKEN)
    assert "http://127.0.0.1:9/api/v10 cannot be reached" in discord.sentence


async def test_the_list_of_words_is_read(tmp_path: Path):
    file = tmp_path / "words.txt"
    file.write_text("fool\n# mine\nknave\n")
    [words] = await find("words", tmp_path, words_file=file)
    assert str(words) == f"fine   words     I never say what {file} lists: 2 words."
    file.write_text("fool\n...\n")
    [words] = await find("words", tmp_path, words_file=file)
    assert not words.fine
    assert f"line 2 of {file} is wrong" in words.sentence


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(("flags", "fine"), [(0, False), (MESSAGE_CONTENT_LIMITED, True)])
async def test_training_on_channels_needs_message_content(
    discord: DiscordServer, tmp_path: Path, flags: int, fine: bool
):
    discord.application = {"flags": flags}
    [intents] = await find("intents", tmp_path, token=TOKEN, train_on_channels=True)
    assert intents.fine is fine


@pytest.mark.usefixtures("api")
async def test_an_endpoint_that_takes_the_commands_away_is_wrong(
    discord: DiscordServer, tmp_path: Path
):
    discord.application = {"interactions_endpoint_url": "https://example.org"}
    [commands] = await find("commands", tmp_path, token=TOKEN)
    assert not commands.fine and "Clear that field" in commands.sentence


async def test_a_missing_model_is_wrong_and_the_others_are_fine(tmp_path: Path):
    missing, *shipped = await find("model", tmp_path, model="nosuch")
    assert not missing.fine and "There is no model 'nosuch'" in missing.sentence
    assert [finding.fine for finding in shipped] == [True, True]


async def test_a_damaged_model_is_wrong(tmp_path: Path):
    model = tmp_path / "model"
    shutil.copytree(ROOT / "weights" / "chat", model)
    (model / store.ONNX).unlink()
    (model / store.ONNX).write_bytes(b"damaged")
    damaged, *_ = await find("model", tmp_path, model=str(model))
    assert not damaged.fine and str(model / store.ONNX) in damaged.sentence


async def test_a_damaged_registry_is_wrong_and_left_as_it_is(tmp_path: Path):
    registry = tmp_path / "registry.db"
    registry.write_bytes(b"no registry at all" * 100)
    [state] = await find("state", tmp_path)
    assert not state.fine and "is damaged" in state.sentence
    assert registry.read_bytes() == b"no registry at all" * 100


async def test_a_registry_of_a_newer_bot_is_wrong(tmp_path: Path):
    Database(tmp_path / "registry.db").close()
    with sqlite3.connect(tmp_path / "registry.db") as newer:
        newer.execute("PRAGMA user_version = 999")
    newer.close()
    [state] = await find("state", tmp_path)
    assert not state.fine and "Update the bot" in state.sentence


@pytest.mark.parametrize("state", ["file", "file/state"])
async def test_a_state_folder_that_is_a_file_is_wrong(tmp_path: Path, state: str):
    (tmp_path / "file").touch()
    [found] = await find("state", tmp_path / state)
    assert not found.fine and "Set STATE to a folder" in found.sentence


async def test_a_registry_in_use_is_intact(tmp_path: Path):
    database = Database(tmp_path / "registry.db")
    [state] = await find("state", tmp_path)
    database.close()
    assert state.fine and "is intact" in state.sentence


async def test_the_packages_for_health_are_checked_only_if_it_is_wanted(tmp_path: Path):
    assert not await find("health", tmp_path)
    [health] = await find("health", tmp_path, health_port=9090)
    assert health.fine


async def test_a_scheduler_that_cannot_be_reached_is_wrong(tmp_path: Path):
    [executor] = await find("executor", tmp_path, dask_scheduler="127.0.0.1:9")
    assert not executor.fine and "dask scheduler" in executor.sentence


async def test_a_full_disk_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    [disk] = await find("disk", tmp_path)
    assert not disk.fine and "Free some space" in disk.sentence


async def test_too_little_memory_is_wrong(tmp_path: Path):
    [memory] = await find("memory", tmp_path, max_trainings=10**6)
    assert not memory.fine and "MAX_TRAININGS" in memory.sentence
