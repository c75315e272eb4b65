"""`python -m bot` as a process: the preview in a real browser, and how it ends."""

import asyncio
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import discord
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from bot.__main__ import connect
from bot.client import Bot
from bot.errors import RegistryError, SettingsError
from bot.interactions.markup import MESSAGE_LIMIT
from bot.storage.files import StateFolder
from charrnn.store import Model
from tests import discord_server
from tests.bot.conftest import services
from tests.bot.trainings import FakeExecutor

TOKEN = "a-token"  # noqa: S105
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if k != "DISCORD_TOKEN"}
    return subprocess.Popen(
        [sys.executable, "-m", "bot"],
        cwd=folder,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"THREADS": "many"}, "THREADS must be a whole number"),
        ({"DISCORD_TOKEN": "hunter2"}, "DISCORD_TOKEN is not a bot token"),
        ({"MODEL": "nosuch"}, "MODEL: There is no model 'nosuch'"),
    ],
)
def test_a_wrong_setting_ends_with_78_and_a_sentence(
    tmp_path: Path, environment: dict[str, str], sentence: str
):
    process = start(tmp_path, **environment)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 78
    assert sentence in log
    assert "hunter2" not in log
    assert "Traceback" not in log


def test_two_bots_cannot_have_one_state_folder(tmp_path: Path):
    first = StateFolder(tmp_path)
    first.claim()
    second = start(tmp_path, DISCORD_TOKEN=discord_server.TOKEN, STATE=str(tmp_path))
    _, log = second.communicate(timeout=30)
    first.release()
    assert second.returncode == 78
    assert f"STATE: {tmp_path} is another bot's" in log


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    process = start(
        tmp_path, DISCORD_TOKEN=discord_server.TOKEN, STATE=str(tmp_path / "file" / "state")
    )
    _, log = process.communicate(timeout=30)
    assert process.returncode == 78
    assert "STATE: " in log and "is a file, or lies in one. Set STATE to a folder." in log


class OnlineBot(Bot):
    """A bot that finds Discord up, or its token refused."""

    def __init__(self, *services: Any):
        super().__init__(*services)
        self.closing = asyncio.Event()

    @property
    def application_id(self) -> int:
        return 1234

    async def start(self, token: str, *, reconnect: bool = True) -> None:
        del reconnect
        if token != TOKEN:
            raise discord.LoginFailure("Improper token has been passed.")
        self.dispatch("ready")
        await self.closing.wait()

    async def close(self) -> None:
        await super().close()
        self.closing.set()


def online_bot(model: Model, state: Path) -> OnlineBot:
    return OnlineBot(services(model, state))


async def test_once_connected_the_log_has_an_invite_link_and_a_signal_ends_it(
    stateful: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    bot, stop = online_bot(stateful, tmp_path), asyncio.Event()
    running = asyncio.create_task(connect(bot, TOKEN, stop))
    for _ in range(20):
        await asyncio.sleep(0)
    assert bot.invite_link() in caplog.text
    assert TOKEN not in caplog.text
    stop.set()
    await running
    assert bot.is_closed()


async def test_a_refused_token_is_a_matter_of_the_settings(stateful: Model, tmp_path: Path):
    with pytest.raises(SettingsError, match="DISCORD_TOKEN is refused"):
        await connect(online_bot(stateful, tmp_path), "another", asyncio.Event())


class StuckExecutor(FakeExecutor):
    async def close(self) -> None:
        raise RuntimeError("It does not let go.")


async def test_a_stop_that_fails_closes_discord_the_registry_and_the_state_folder(
    stateful: Model, tmp_path: Path
):
    has = services(stateful, tmp_path, executor=StuckExecutor())
    has.files.claim()
    bot = Bot(has)
    with pytest.raises(RuntimeError):
        async with bot:
            await bot.close()
    assert bot.is_closed()
    with pytest.raises(RegistryError):
        await has.registry.unfinished()
    next_one = StateFolder(tmp_path)
    next_one.claim()
    next_one.release()


@pytest.fixture
def preview(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running preview with the shipped model, and its address."""
    process = start(tmp_path, PREVIEW_PORT="0", COOLDOWN_S="0", LOG_LEVEL="ERROR")
    assert process.stdout is not None
    url = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
    yield process, url
    process.kill()
    process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_preview_with_0(
    preview: tuple[subprocess.Popen[str], str], signum: signal.Signals
):
    process, _ = preview
    process.send_signal(signum)
    assert process.wait(timeout=30) == 0


def test_a_port_that_is_taken_is_named(preview: tuple[subprocess.Popen[str], str], tmp_path: Path):
    port = preview[1].split(":")[2].partition("/")[0]
    second = start(tmp_path, PREVIEW_PORT=port)
    _, log = second.communicate(timeout=30)
    assert second.returncode == 78
    assert f"PREVIEW_PORT {port} is taken" in log


@pytest.fixture
def page(preview: tuple[subprocess.Popen[str], str]) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(preview[1])
        yield page
        browser.close()


def at_rest(page: Page) -> None:
    """Wait until the page takes the next action."""
    page.wait_for_function(
        "() => window.simcordPreview?.ready && !(window.simcordPreview.awaitingRevision"
        " > window.simcordPreview.publishedRevision)"
    )


def shakespeare(page: Page, seed: str) -> Locator:
    """Type the command; the content of the answer."""
    at_rest(page)
    box = page.get_by_placeholder("Message #general")
    box.fill("/shakespeare")
    page.locator(".command-entry").first.wait_for()
    box.press("Enter")
    option = page.locator('input.command-option-input[data-option="seed"]')
    option.fill(seed)
    option.press("Enter")
    content = page.locator("article.channel-message .message-content")
    expect(content).to_have_count(1, timeout=30_000)
    at_rest(page)
    return content


def test_shakespeare_answers_in_the_browser_and_rerolls(page: Page):
    content = shakespeare(page, "To be, or not to be.")
    answer = content.inner_text()
    assert content.locator("strong").inner_text().strip("\u200b") == "To be, or not to be."
    assert "shakespeare · temperature 0.7 · random seed" in content.locator("small").inner_text()
    written = answer.removeprefix("To be, or not to be.\u200b").rpartition("\n")[0]
    assert 480 <= len(written) <= 500 < MESSAGE_LIMIT
    page.get_by_role("button", name="Reroll").click()
    expect(content).not_to_have_text(answer, use_inner_text=True, timeout=30_000)
    assert content.inner_text().startswith("To be, or not to be.")
