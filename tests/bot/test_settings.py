import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.errors import SettingsError
from bot.settings import SETTINGS, Settings, on_desktop
from tests.conftest import TEXTS
from tests.discord_payloads import TOKEN

NOWHERE = Path("/nonexistent/.env")


def test_without_any_setting_the_defaults_hold():
    assert Settings.load({}, NOWHERE) == Settings()
    assert Settings.load(dict.fromkeys(SETTINGS, ""), NOWHERE) == Settings()


def test_the_example_file_lists_every_setting_with_its_default():
    text = Path(__file__).parents[2].joinpath(".env.example").read_text("utf-8")
    listed = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert list(listed) == list(SETTINGS)
    for name, setting in SETTINGS.items():
        shown = setting.metadata["parse"](listed[name]) if listed[name] else None
        assert shown == setting.default
    assert re.findall(r"^\w+=.*", text, re.MULTILINE) == ["DISCORD_TOKEN="]


def test_the_environment_wins_over_the_file(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text(f"COOLDOWN_S=7\nTHREADS=2\nDISCORD_TOKEN={TOKEN}\n")
    settings = Settings.load({"THREADS": "3"}, file)
    assert (settings.cooldown_s, settings.threads, settings.token) == (7.0, 3, TOKEN)


def test_an_empty_variable_does_not_hide_the_file(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("MODEL=othello\n")
    assert Settings.load({"MODEL": ""}, file).model == "othello"


SSH = {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22"}
X11 = {"DISPLAY": ":0"}


@pytest.mark.parametrize(
    ("platform", "environment", "desktop"),
    [
        ("linux", X11, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", X11 | SSH, False),
        ("win32", {}, True),
        ("darwin", {}, True),
        ("darwin", SSH, False),
    ],
)
def test_a_desktop_has_a_display_and_is_not_reached_over_ssh(
    platform: str, environment: dict[str, str], desktop: bool
):
    assert on_desktop(environment, platform) is desktop


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("DISCORD_TOKN", "DISCORD_TOKEN"),
        ("TRAIN_ON_CHANELS", "TRAIN_ON_CHANNELS"),
        ("THREAD", "THREADS"),
        ("discord_token", "DISCORD_TOKEN"),
    ],
)
def test_a_mistyped_name_is_reported(tmp_path: Path, mistyped: str, meant: str):
    file = tmp_path / ".env"
    file.write_text(f"{mistyped}=1\n")
    with pytest.raises(SettingsError, match=rf"{mistyped} in .* Did you mean {meant}\?"):
        Settings.load({}, file)


@pytest.mark.parametrize("line", [TOKEN, f"DISCORD_TOKEN: {TOKEN}", "DISCORD TOKEN", "THREADS"])
def test_a_malformed_line_is_reported_by_its_number_only(tmp_path: Path, line: str):
    file = tmp_path / ".env"
    file.write_text(f"# mine\n\n{line}\nMODEL=chat\n")
    with pytest.raises(SettingsError, match=r"^Line 3 of .*\.env is not NAME=VALUE") as refusal:
        Settings.load({}, file)
    assert TOKEN not in str(refusal.value)


def test_variables_of_other_programs_are_ignored(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("POSTGRES_PASSWORD=x\nCOMPOSE_PROJECT_NAME=bots\nDISCORD_GUILD_ID=5\n")
    assert Settings.load({}, file) == Settings()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_that_a_windows_shell_wrote_is_read(tmp_path: Path, encoding: str):
    file = tmp_path / ".env"
    file.write_bytes(f"DISCORD_TOKEN={TOKEN} \r\nMODEL=othello\r\n".encode(encoding))
    settings = Settings.load({}, file)
    assert (settings.token, settings.model) == (TOKEN, "othello")


def test_a_file_in_another_encoding_is_reported(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("MODEL=mein Größtes", encoding="latin-1")
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
        ("DISCORD_API", "discord.example"),
        ("KEEP_TEXTS", "maybe"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_reported(name: str, value: str):
    with pytest.raises(SettingsError) as refusal:
        Settings.load({name: value}, NOWHERE)
    assert refusal.value.problems[0].startswith(f"{name} must be")


@pytest.mark.parametrize("address", ["scheduler.example:8786", "10.0.0.7:1", "[fd00::7]:8786"])
def test_a_scheduler_is_a_host_and_a_port(address: str):
    assert Settings.load({"EXECUTOR": f"dask://{address}"}, NOWHERE).dask_scheduler == address


def test_words_may_be_in_any_case():
    settings = Settings.load({"KEEP_TEXTS": "Yes", "LOG_LEVEL": "debug"}, NOWHERE)
    assert (settings.keep_texts, settings.log_level) == (True, "DEBUG")


def test_all_wrong_values_are_reported_at_once():
    with pytest.raises(SettingsError) as refusal:
        Settings.load({"THREADS": "x", "LOG_LEVEL": "y", "DISCORD_TOKEN": "z"}, NOWHERE)
    assert len(refusal.value.problems) == 3


@pytest.mark.parametrize("token", ["hunter2", TOKEN + "\nX=1", TOKEN[:30]])
def test_a_wrong_token_is_not_shown(token: str):
    with pytest.raises(SettingsError, match="DISCORD_TOKEN is not a bot token") as refusal:
        Settings.load({"DISCORD_TOKEN": token}, NOWHERE)
    assert token not in str(refusal.value)


def test_the_token_is_not_in_the_repr():
    assert TOKEN not in repr(Settings(token=TOKEN))


VALUES = st.from_regex(r"[-+]?[0-9_.eE]{1,8}|dask://.{0,12}|https?://.{0,12}") | TEXTS


@given(st.dictionaries(st.sampled_from(list(SETTINGS)), VALUES, max_size=4), st.booleans())
@example({"DISCORD_API": "http://["}, False)
@example({"DISCORD_API": "http://a:99999"}, False)
@example({"STATE": "a\0b"}, False)
@example(dict.fromkeys(SETTINGS, "x"), True)
def test_any_values_are_read_or_refused_without_a_token(values: dict[str, str], pasted: bool):
    values = {name: value + TOKEN if pasted else value for name, value in values.items()}
    try:
        Settings.load(values, NOWHERE)
    except SettingsError as error:
        assert error.problems
        for problem in error.problems:
            assert re.match(r"[A-Z_]+ (?:must|is) .*\.$", problem, re.DOTALL)
            assert TOKEN not in problem
