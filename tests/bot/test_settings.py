import re
from dataclasses import fields
from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.settings import _READERS, Settings
from tests.discord_server import TOKEN

NOWHERE = Path("/nonexistent/.env")


def test_nothing_set_gives_the_defaults():
    assert Settings.load({}, NOWHERE) == Settings()
    assert Settings.load(dict.fromkeys(_READERS, ""), NOWHERE) == Settings()


def test_the_example_file_lists_every_setting_with_its_default():
    text = Path(__file__).parents[2].joinpath(".env.example").read_text()
    listed = dict(re.findall(r"^#([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert list(listed) == list(_READERS)
    assert len(_READERS) == len(fields(Settings))
    assert Settings.load(listed, NOWHERE) == Settings()
    for name, (attribute, parse) in _READERS.items():
        if listed[name]:
            assert parse(listed[name]) == getattr(Settings(), attribute)


def test_the_environment_wins_over_the_file(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text(f"COOLDOWN_S=7\nTHREADS=2\nDISCORD_TOKEN={TOKEN}\n")
    settings = Settings.load({"THREADS": "3"}, file)
    assert (settings.cooldown_s, settings.threads, settings.token) == (7.0, 3, TOKEN)


def test_an_empty_variable_does_not_hide_the_file(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("MODEL=othello\n")
    assert Settings.load({"MODEL": ""}, file).model == "othello"


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("DISCORD_TOKN", "DISCORD_TOKEN"),
        ("TRAIN_ON_CHANELS", "TRAIN_ON_CHANNELS"),
        ("THREAD", "THREADS"),
        ("discord_token", "DISCORD_TOKEN"),
    ],
)
def test_a_mistyped_name_is_not_passed_over(tmp_path: Path, mistyped: str, meant: str):
    file = tmp_path / ".env"
    file.write_text(f"{mistyped}=\n")
    with pytest.raises(SettingsError, match=f"{mistyped} in .* is no setting. .* {meant}?"):
        Settings.load({}, file)


@pytest.mark.parametrize("line", [TOKEN, f"DISCORD_TOKEN: {TOKEN}", "DISCORD TOKEN", "THREADS"])
def test_a_line_that_sets_nothing_is_named_by_its_number_alone(tmp_path: Path, line: str):
    file = tmp_path / ".env"
    file.write_text(f"# mine\n\n{line}\nMODEL=chat\n")
    with pytest.raises(SettingsError, match=r"^Line 3 of .*\.env is no NAME=VALUE") as refusal:
        Settings.load({}, file)
    assert TOKEN not in str(refusal.value)


def test_what_other_programs_keep_in_the_file_is_theirs(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("POSTGRES_PASSWORD=x\nCOMPOSE_PROJECT_NAME=bots\nDISCORD_GUILD_ID=5\n")
    assert Settings.load({}, file) == Settings()


def test_a_file_in_another_encoding_is_named(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("MODEL=othello", encoding="utf-16")
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8"):
        Settings.load({}, file)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COOLDOWN_S", "soon"),
        ("COOLDOWN_S", "-1"),
        ("COOLDOWN_S", "nan"),
        ("BATCH_LIMIT", "1.5"),
        ("QUEUE_LIMIT", "0"),
        ("THREADS", "1e9"),
        ("PREVIEW_PORT", "70000"),
        ("EXECUTOR", "local"),
        ("EXECUTOR", "dask://scheduler"),
        ("EXECUTOR", "tcp://scheduler:8786"),
        ("EXECUTOR", "dask://scheduler:99999"),
        ("SHARD_IDS", "first"),
        ("SHARD_IDS", "3-1"),
        ("SHARD_IDS", "0,"),
        ("SHARD_COUNT", "0"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str):
    with pytest.raises(SettingsError) as refusal:
        Settings.load({name: value}, NOWHERE)
    assert refusal.value.problems[0].startswith(f"{name} must be")


@pytest.mark.parametrize("address", ["scheduler.example:8786", "10.0.0.7:1", "[fd00::7]:8786"])
def test_a_scheduler_is_a_host_and_a_port(address: str):
    assert Settings.load({"EXECUTOR": f"dask://{address}"}, NOWHERE).dask_scheduler == address


@pytest.mark.parametrize(
    ("text", "ids"), [("0-3", (0, 1, 2, 3)), ("2, 0,1", (0, 1, 2)), ("4", (4,)), ("1-2,2", (1, 2))]
)
def test_shards_are_named_one_by_one_or_from_to(text: str, ids: tuple[int, ...]):
    settings = Settings.load({"SHARD_IDS": text, "SHARD_COUNT": "5"}, NOWHERE)
    assert (settings.shard_ids, settings.shard_count) == (ids, 5)


@pytest.mark.parametrize(
    ("ids", "count", "sentence"),
    [
        ("0", "", "SHARD_COUNT must be set with SHARD_IDS"),
        ("", "2", "SHARD_IDS must be set with SHARD_COUNT"),
        ("0-2", "2", "SHARD_IDS must be below SHARD_COUNT, which is 2: there is no 2"),
    ],
)
def test_shards_that_do_not_go_together_are_named(ids: str, count: str, sentence: str):
    with pytest.raises(SettingsError, match=sentence):
        Settings.load({"SHARD_IDS": ids, "SHARD_COUNT": count}, NOWHERE)


def test_every_wrong_setting_is_named_at_once():
    with pytest.raises(SettingsError) as refusal:
        Settings.load({"THREADS": "x", "LOG_LEVEL": "y", "DISCORD_TOKEN": "z"}, NOWHERE)
    assert len(refusal.value.problems) == 3


@pytest.mark.parametrize("token", ["hunter2", TOKEN + "\nX=1", TOKEN[:30]])
def test_a_token_is_never_shown(token: str):
    with pytest.raises(SettingsError) as refusal:
        Settings.load({"DISCORD_TOKEN": token}, NOWHERE)
    assert "DISCORD_TOKEN is not a bot token" in str(refusal.value)
    assert token not in str(refusal.value)
    assert TOKEN not in repr(Settings(token=TOKEN))
