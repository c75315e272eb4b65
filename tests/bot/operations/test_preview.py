"""The preview as a process, and in a real browser."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from bot.client import Bot
from bot.errors import SettingsError
from bot.interactions.markup import MESSAGE_LIMIT
from bot.operations import preview
from bot.settings import Settings
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.training.jobs import running
from tests.bot.trainings import FakeExecutor, FakeTrainings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MS = 60_000


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A preview with the shipped model."""
    environment = {name: value for name, value in os.environ.items() if name != "DISCORD_TOKEN"}
    settings = {
        "PREVIEW_PORT": "0",
        "COOLDOWN_S": "0",
        "LOG_LEVEL": "ERROR",
        "PREVIEW_BROWSER": "no",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "bot"],
        cwd=tmp_path,
        env=environment | settings,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        yield process
        process.kill()


def address(process: subprocess.Popen[str]) -> str:
    """Where the page is, once it is served."""
    assert process.stdout
    return next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))


@pytest.fixture
def page(process: subprocess.Popen[str]) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address(process))
        yield page
        browser.close()


def wait_until_idle(page: Page) -> None:
    """Wait until the page takes the next action."""
    page.wait_for_function(
        "() => window.simcordPreview?.ready && !(window.simcordPreview.awaitingRevision"
        " > window.simcordPreview.publishedRevision)"
    )


def test_shakespeare_answers_in_the_browser_and_rerolls(page: Page):
    wait_until_idle(page)
    box = page.get_by_placeholder("Message #general")
    box.fill("/shakespeare")
    page.locator(".command-entry").first.wait_for()
    box.press("Enter")
    option = page.locator('input.command-option-input[data-option="seed"]')
    option.fill("To be, or not to be.")
    option.press("Enter")
    content = page.locator("article.channel-message .message-content")
    expect(content).to_have_count(1, timeout=PATIENCE_MS)
    wait_until_idle(page)
    answer = content.inner_text()
    assert content.locator("strong").inner_text().strip("\u200b") == "To be, or not to be."
    assert "shakespeare · temperature 0.7 · random seed" in content.locator("small").inner_text()
    written = answer.removeprefix("To be, or not to be.\u200b").rpartition("\n")[0]
    assert 480 <= len(written) <= 500 < MESSAGE_LIMIT
    page.get_by_role("button", name="Reroll").click()
    expect(content).not_to_have_text(answer, use_inner_text=True, timeout=PATIENCE_MS)
    assert content.inner_text().startswith("To be, or not to be.")


def test_a_mention_is_answered_in_the_browser(page: Page):
    wait_until_idle(page)
    box = page.get_by_placeholder("Message #general")
    box.fill("@shakespeare To be, or not to be.")
    box.press("Enter")
    content = page.locator("article.channel-message .message-content")
    expect(content).to_have_count(2, timeout=PATIENCE_MS)
    wait_until_idle(page)
    assert content.first.locator(".mention").inner_text() == "@Shakespeare"
    assert content.last.locator("strong").inner_text().strip("\u200b") == "To be, or not to be."


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to a process")
def test_ctrl_c_ends_the_preview_with_0(process: subprocess.Popen[str]):
    address(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_MS / 1000) == 0


@pytest.fixture
def bot(stateful: Model, tmp_path: Path) -> Bot:
    return bot_with(stateful, tmp_path)


async def test_the_preview_opens_in_a_browser(bot: Bot):
    opened: asyncio.Queue[str] = asyncio.Queue()
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def browser(url: str) -> None:
        loop.call_soon_threadsafe(opened.put_nowait, url)

    serving = asyncio.create_task(preview.serve(bot, Settings(preview_port=0), stop, browser))
    async with asyncio.timeout(PATIENCE_MS / 1000):
        url = await opened.get()
    assert url.startswith("http://127.0.0.1:")
    stop.set()
    await serving


async def test_a_port_that_is_taken_is_named(bot: Bot):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(preview_port=taken.getsockname()[1])
        with pytest.raises(SettingsError, match=rf"PREVIEW_PORT {settings.preview_port} is taken"):
            await preview.serve(bot, settings, asyncio.Event())


async def test_messages_that_cannot_be_read_are_named(bot: Bot, tmp_path: Path):
    settings = Settings(preview_port=0, preview_messages=tmp_path / "missing.jsonl")
    with pytest.raises(SettingsError, match=r"PREVIEW_MESSAGES: .*missing\.jsonl"):
        await preview.serve(bot, settings, asyncio.Event())


async def test_no_training_outlives_the_preview(stateful: Model, tmp_path: Path):
    trainings = FakeTrainings()
    bot = bot_with(stateful, tmp_path, executor=FakeExecutor(), trainings=trainings)

    class DuringTraining(asyncio.Event):
        async def wait(self) -> Literal[True]:
            await running(bot.services.training, trainings)
            return True

    await preview.serve(bot, Settings(preview_port=0), DuringTraining())
    [process] = trainings.started
    assert process.asked_to_stop
    assert process.killed
