"""`python -m bot`: how it ends, and what it says then."""

import asyncio
import gc
import logging
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.__main__ import connect, main
from bot.errors import SettingsError
from bot.storage.files import StateFolder
from charrnn import __version__
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.trainings import FakeExecutor
from tests.discord_payloads import TOKEN
from tests.discord_server import DiscordServer

CONFIGURATION = 78
NOWHERE = "http://127.0.0.1:9/api/v10"
Run = Callable[..., tuple[object, str]]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs the bot with arguments and variables; returns its exit code and what it printed."""
    root, excepthook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environment: str) -> tuple[object, str]:
        for name, value in {"DISCORD_TOKEN": TOKEN, "STATE": str(tmp_path), **environment}.items():
            monkeypatch.setenv(name, value)
        try:
            main(arguments)
        except SystemExit as end:
            return end.code, "".join(capsys.readouterr())
        raise AssertionError("unreachable: nothing stops the bot")

    yield run
    with warnings.catch_warnings():
        # A bot that cannot start leaves its files open, since its process ends.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    logging.captureWarnings(False)
    logging.disable(logging.NOTSET)
    root.handlers[:], sys.excepthook = handlers, excepthook
    root.setLevel(level)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"THREADS": "many"}, "THREADS must be a whole number"),
        ({"DISCORD_TOKEN": "hunter2"}, "DISCORD_TOKEN is not a bot token"),
        ({"MODEL": "nosuch"}, "MODEL: There is no model 'nosuch'"),
        ({"STATE": "a" * 300}, "STATE: The state folder aaa"),
    ],
)
def test_a_wrong_setting_ends_with_78_and_a_sentence(
    run: Run, environment: dict[str, str], sentence: str
):
    code, log = run(**environment)
    assert code == CONFIGURATION
    assert sentence in log
    assert "hunter2" not in log and "Traceback" not in log


def test_the_version_is_printed(run: Run):
    assert run("--version") == (0, f"charrnn {__version__}\n")


def test_a_check_that_finds_something_wrong_ends_with_78(run: Run):
    code, printed = run("--check", THREADS="many")
    assert code == CONFIGURATION
    assert printed.startswith("wrong  settings  THREADS must be a whole number")


def test_a_damaged_registry_ends_with_78(run: Run, tmp_path: Path):
    (tmp_path / "registry.db").write_bytes(b"no registry at all" * 100)
    code, log = run()
    assert code == CONFIGURATION
    assert "STATE: " in log and "is damaged" in log


def test_two_bots_cannot_share_a_state_folder(run: Run, tmp_path: Path):
    first = StateFolder(tmp_path)
    first.claim()
    code, log = run()
    first.release()
    assert code == CONFIGURATION
    assert f"Another bot is running with the state folder {tmp_path}" in log


def test_a_lock_that_is_no_lock_is_named(run: Run, tmp_path: Path):
    (tmp_path / "lock").write_text("So be it, said the king to his queen. " * 100)
    code, log = run()
    assert code == CONFIGURATION
    assert f"{tmp_path / 'lock'} cannot be locked: file is not a database. Delete it." in log


def test_a_registry_that_another_program_has_locked_ends_with_1(run: Run, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "registry.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, log = run()
    assert code == 1  # a restart may help
    assert "is in use by another program" in log


def test_a_discord_that_cannot_be_reached_ends_with_1(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("discord.http.Route.BASE", "restored in the end")
    code, log = run(DISCORD_API=NOWHERE)
    assert code == 1
    assert "Discord cannot be reached" in log and "Traceback" not in log


async def start(model: Model, state: Path) -> None:
    await connect(bot_with(model, state, executor=FakeExecutor()), TOKEN, asyncio.Event())


@pytest.mark.usefixtures("api")
async def test_a_refused_token_is_wrong_configuration(
    stateful: Model, tmp_path: Path, discord: DiscordServer
):
    discord.refuses_token = True
    with pytest.raises(SettingsError, match="Discord refuses DISCORD_TOKEN"):
        await start(stateful, tmp_path)


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("close_code", "sentence"),
    [(4004, "Discord refuses DISCORD_TOKEN"), (4014, "Switch it on, on the Bot page")],
)
async def test_a_bot_that_discord_turns_away_for_good_is_wrongly_configured(
    stateful: Model,
    tmp_path: Path,
    discord: DiscordServer,
    close_code: int,
    sentence: str,
):
    discord.close_code = close_code
    with pytest.raises(SettingsError, match=sentence):
        await start(stateful, tmp_path)
