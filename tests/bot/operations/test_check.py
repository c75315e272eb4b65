"""`python -m bot --check` as an operator runs it, and what each line is about."""

import os
import shutil
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bot.operations import check
from bot.settings import Settings
from bot.storage.database import Database
from charrnn import store
from tests.bot.processes import ROOT, Start, ended
from tests.discord_server import APPLICATION_ID, TOKEN, DiscordServer

MESSAGE_CONTENT_LIMITED = 1 << 19


def lines(output: str) -> dict[str, str]:
    """What was printed, by the thing looked at; of several, the last."""
    return {line.split()[1]: line for line in output.splitlines()}


async def test_before_the_first_start_all_is_fine_and_nothing_is_made(
    discord: DiscordServer, start: Start, tmp_path: Path
):
    code, output = await ended(await start("--check"))
    assert code == 0, output
    found = lines(output)
    assert [line.split()[0] for line in found.values()] == ["fine"] * len(found)
    assert "person1000" in found["token"]
    assert f"client_id={APPLICATION_ID}" in found["invite"] and "Embed Links" in found["invite"]
    assert "None is registered yet" in found["commands"]
    assert "will be made" in found["state"]
    assert not (tmp_path / "state").exists()
    asked = [(request.method, request.path) for request in discord.requests]
    assert asked == [
        ("GET", "users/@me"),
        ("GET", "oauth2/applications/@me"),
        ("GET", f"applications/{APPLICATION_ID}/commands"),
    ]
    assert TOKEN not in output


async def test_a_refused_token_is_wrong_and_not_printed(discord: DiscordServer, start: Start):
    discord.refuses_token = True
    code, output = await ended(await start("--check"))
    assert code == 78
    assert lines(output)["token"].startswith("wrong  token     DISCORD_TOKEN is refused. Reset it")
    assert TOKEN not in output


async def test_without_a_token_the_rest_is_looked_at(discord: DiscordServer, start: Start):
    code, output = await ended(await start("--check", DISCORD_TOKEN=" "))  # noqa: S106
    assert code == 78
    found = lines(output)
    assert found["token"].startswith("wrong") and "Copy it from the Bot page" in found["token"]
    assert found["weights"].startswith("fine")
    assert not discord.requests


async def test_a_wrong_setting_is_named(start: Start):
    code, output = await ended(await start("--check", THREADS="many"))
    assert code == 78
    assert output.startswith("wrong  settings  THREADS must be a whole number")


async def test_a_discord_out_of_reach_is_wrong(start: Start):
    code, output = await ended(await start("--check", DISCORD_API="http://127.0.0.1:9/api/v10"))
    assert code == 78
    assert "It cannot be asked at http://127.0.0.1:9/api/v10" in lines(output)["discord"]


async def test_learning_from_channels_takes_message_content(discord: DiscordServer, start: Start):
    lacking = await ended(await start("--check", TRAIN_ON_CHANNELS="yes"))
    discord.application = {"flags": MESSAGE_CONTENT_LIMITED}
    granted = await ended(await start("--check", TRAIN_ON_CHANNELS="yes"))
    assert (lacking[0], granted[0]) == (78, 0)
    assert "Switch it on" in lines(lacking[1])["intents"]
    assert lines(granted[1])["intents"].startswith("fine")


async def test_commands_are_in_step_after_a_start_until_they_change(
    discord: DiscordServer, start: Start
):
    bot = await start()
    await discord.identified.wait()
    bot.terminate()
    await ended(bot)
    code, output = await ended(await start("--check"))
    assert code == 0
    assert "are registered as they are here" in lines(output)["commands"]
    assert "is whole" in lines(output)["state"]
    discord.commands[0]["description"] = "Another poet writes on."
    del discord.commands[1]
    code, output = await ended(await start("--check"))
    assert code == 78
    assert "/shakespeare, /write are registered otherwise than here." in lines(output)["commands"]


async def test_an_endpoint_that_takes_the_commands_away_is_wrong(
    discord: DiscordServer, start: Start
):
    discord.application = {"interactions_endpoint_url": "https://example.org"}
    code, output = await ended(await start("--check"))
    assert code == 78
    assert "Clear it" in lines(output)["commands"]


async def found(settings: Settings, what: str) -> list[check.Finding]:
    return [finding async for finding in check.findings(settings) if finding.what == what]


async def test_a_model_that_cannot_be_read_is_wrong_and_the_others_fine(tmp_path: Path):
    missing, *shipped = await found(Settings(model="nosuch", state=tmp_path), "weights")
    assert not missing.fine and "There is no model 'nosuch'" in missing.sentence
    assert [finding.fine for finding in shipped] == [True, True]


@pytest.mark.parametrize("damaged", [f"chat/{store.CARD}", f"shakespeare/{store.ONNX}"])
async def test_a_shipped_model_that_is_damaged_is_wrong_and_the_rest_is_looked_at(
    discord: DiscordServer, start: Start, tmp_path: Path, damaged: str
):
    weights = tmp_path / "weights"  # beside the code, as in a clone
    shutil.copytree(ROOT / "weights", weights, copy_function=os.symlink)
    (weights / damaged).unlink()
    (weights / damaged).write_bytes(b"damaged")
    for package in ("bot", "charrnn"):
        (tmp_path / package).symlink_to(ROOT / package)
    discord.commands = [{"type": 1, "name": "write"}]
    here = [sys.executable, "-P", "-m", "bot"]
    code, output = await ended(await start("--check", program=here, PYTHONPATH=str(tmp_path)))
    assert code == 78
    wrong = f"wrong  weights   {weights / damaged} is "
    assert [line for line in output.splitlines() if line.startswith(wrong)]
    assert set(lines(output)) >= {"weights", "token", "commands", "state", "memory", "executor"}
    assert "Traceback" not in output


async def test_a_damaged_registry_is_wrong_and_left_as_it_is(tmp_path: Path):
    registry = tmp_path / "registry.db"
    registry.write_bytes(b"no registry at all" * 100)
    [state] = await found(Settings(state=tmp_path), "state")
    assert not state.fine and "is damaged" in state.sentence
    assert registry.read_bytes() == b"no registry at all" * 100


async def test_a_registry_of_a_newer_bot_is_wrong(tmp_path: Path):
    Database(tmp_path / "registry.db").close()
    with sqlite3.connect(tmp_path / "registry.db") as newer:
        newer.execute("PRAGMA user_version = 999")
    newer.close()
    [state] = await found(Settings(state=tmp_path), "state")
    assert not state.fine and "Update the bot" in state.sentence


async def test_a_state_folder_that_is_a_file_is_wrong(tmp_path: Path):
    (tmp_path / "file").touch()
    for state in (tmp_path / "file", tmp_path / "file" / "state"):
        [found_wrong] = await found(Settings(state=state), "state")
        assert not found_wrong.fine and "Set STATE to a folder" in found_wrong.sentence


async def test_a_registry_in_use_is_whole(tmp_path: Path):
    database = Database(tmp_path / "registry.db")
    [state] = await found(Settings(state=tmp_path), "state")
    database.close()
    assert state.fine and "is whole" in state.sentence


async def test_what_serves_health_is_looked_for_where_it_is_wanted(tmp_path: Path):
    assert not await found(Settings(state=tmp_path), "health")
    [health] = await found(Settings(state=tmp_path, health_port=9090), "health")
    assert health.fine


async def test_a_scheduler_out_of_reach_is_wrong(tmp_path: Path):
    [executor] = await found(Settings(state=tmp_path, dask_scheduler="127.0.0.1:9"), "executor")
    assert not executor.fine and "dask scheduler" in executor.sentence


async def test_a_full_disk_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    [disk] = await found(Settings(state=tmp_path), "disk")
    assert not disk.fine and "Make room" in disk.sentence


async def test_too_little_memory_is_wrong(tmp_path: Path):
    [memory] = await found(Settings(state=tmp_path, max_trainings=10**6), "memory")
    assert not memory.fine and "MAX_TRAININGS" in memory.sentence


@pytest.mark.parametrize(("most", "fine"), [("max", True), (str(512 << 20), False)])
async def test_what_a_container_may_take_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str, fine: bool
):
    monkeypatch.setattr(check, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(check, "CGROUP", tmp_path)
    (tmp_path / "meminfo").write_text("MemAvailable: 99999999 kB\n")
    (tmp_path / "memory.max").write_text(f"{most}\n")
    (tmp_path / "memory.current").write_text(f"{100 << 20}\n")
    [memory] = await found(Settings(state=tmp_path), "memory")
    assert memory.fine is fine
    assert fine or memory.sentence.startswith("412 MB are available")
