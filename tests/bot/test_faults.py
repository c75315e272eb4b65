"""What Discord, the disk and the machine do to a bot that runs, and what people get of it."""

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import pytest_asyncio

from bot.interactions.reply import Reply
from tests.bot import faulty
from tests.bot.processes import PATIENCE_S, Processes, until
from tests.discord_payloads import CHOICES
from tests.discord_server import HANGS, TOKEN, Asked, DiscordServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLBACKS, EDITS = ("POST", "interactions/*"), ("PATCH", "webhooks/*")
NO_RECORDS = "I cannot get at my records just now"
EXIT_CONFIGURATION = 78
AUTOCOMPLETE = 4


class Running:
    """A bot with its Discord, which answers whoever asks."""

    def __init__(self, discord: DiscordServer, process: asyncio.subprocess.Process, state: Path):
        self.discord = discord
        self.process = process
        self.state = state
        self.people = 0

    async def ask(self, name: str = "shakespeare", **options: object) -> Asked:
        """Somebody who has not asked before."""
        self.people += 1
        options = options or ({} if name == "privacy" else {"seed": "To be"})
        return await self.discord.slash(name, options, asker=self.people)

    async def answer(self, asked: Asked) -> Asked:
        await asyncio.wait_for(asyncio.shield(asked.answered), PATIENCE_S)
        return asked

    def sent(self, asked: Asked) -> list[str]:
        """How the bot has addressed somebody: POST to acknowledge or to tell, PATCH to answer."""
        token = asked.event["token"]
        return [sent.method for sent in self.discord.requests if token in sent.path]

    async def is_well(self) -> None:
        """Whoever asks now gets a text, and nothing has been done wrong."""
        asked = await self.answer(await self.ask())
        assert Reply.parse(asked.content).seed == "To be"
        assert self.process.returncode is None
        assert self.discord.errors == self.discord.unknown == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    state = tmp_path_factory.mktemp("state")
    async with DiscordServer() as discord, Processes(discord.api, state) as processes:
        process = await processes.start(LOG_LEVEL="WARNING", QUEUE_LIMIT="20")
        reading = asyncio.create_task(process.stderr.read())
        await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
        yield Running(discord, process, state)
        process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE_S)
        log = (await reading).decode()
        assert process.returncode == 0
        assert TOKEN not in log
        assert "Task exception was never retrieved" not in log


@pytest.mark.parametrize("code", [None, 1000, 1001, 4000])
async def test_a_gateway_that_closes_is_resumed_and_what_was_missed_is_answered(
    bot: Running, code: int | None
):
    before, identifies = bot.discord.resumes, bot.discord.identifies
    await bot.discord.cut(code)
    missed = await bot.ask()
    await bot.answer(missed)
    assert Reply.parse(missed.content).seed == "To be"
    assert (bot.discord.resumes, bot.discord.identifies) == (before + 1, identifies)
    await bot.is_well()


async def test_ten_lost_connections_are_ten_resumes(bot: Running):
    before, identifies = bot.discord.resumes, bot.discord.identifies
    for n in range(10):
        await bot.discord.cut()
        await until(lambda n=n: bot.discord.resumes == before + n + 1)
        await bot.is_well()
    assert bot.discord.identifies == identifies


async def test_a_session_that_may_be_resumed_is(bot: Running):
    before, identifies = bot.discord.resumes, bot.discord.identifies
    await bot.discord.invalidate(resumable=True)
    await bot.is_well()
    assert (bot.discord.resumes, bot.discord.identifies) == (before + 1, identifies)


async def test_a_session_that_is_over_is_begun_anew(bot: Running):
    identifies = bot.discord.identifies
    await bot.discord.invalidate(resumable=False)
    await until(lambda: bot.discord.identifies == identifies + 1)
    await bot.is_well()


@pytest.mark.parametrize("request_to", [CALLBACKS, EDITS])
@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_what_discord_could_not_do_is_tried_again(
    bot: Running, request_to: tuple[str, str], status: int
):
    bot.discord.fail(*request_to, status)
    asked = await bot.answer(await bot.ask())
    assert Reply.parse(asked.content).seed == "To be"
    assert asked.told == []
    await bot.is_well()


@pytest.mark.parametrize("request_to", [CALLBACKS, EDITS])
async def test_what_discord_did_and_called_a_failure_is_taken_as_done(
    bot: Running, request_to: tuple[str, str]
):
    bot.discord.fail(*request_to, 502, lands=True)
    asked = await bot.answer(await bot.ask())
    await until(lambda: asked.content)
    assert asked.told == []
    await bot.is_well()


async def test_an_acknowledgement_that_discord_lets_hang_is_sent_again(bot: Running):
    bot.discord.fail(*CALLBACKS, HANGS)
    asked = await bot.answer(await bot.ask())
    assert Reply.parse(asked.content).seed == "To be"
    await bot.is_well()


@pytest.mark.parametrize("code", [50001, 50013])
async def test_who_may_not_be_answered_is_told_what_is_missing(bot: Running, code: int):
    bot.discord.fail(*EDITS, 403, code)
    asked = await bot.answer(await bot.ask())
    assert "Ask an admin of this server" in asked.content
    await bot.is_well()


@pytest.mark.parametrize("code", [10008, 10062])
async def test_an_answer_whose_place_is_gone_troubles_nobody(bot: Running, code: int):
    bot.discord.fail(*EDITS, 404, code)
    asked = await bot.ask()
    await until(lambda: "PATCH" in bot.sent(asked))
    await bot.is_well()
    assert asked.told == []


async def test_an_interaction_that_comes_twice_is_answered_once(bot: Running):
    asked = await bot.ask()
    await bot.discord.repeat(asked)
    await bot.answer(asked)
    button = await bot.discord.press(
        asked.components[0]["components"][1]["custom_id"], asked, asker=bot.people + 1
    )
    await bot.discord.repeat(button)  # somebody else's, so that it is refused, once
    await bot.answer(button)
    await bot.is_well()
    assert asked.told == []
    assert len(button.told) == 1
    assert bot.sent(asked) == ["POST", "PATCH"]


async def test_a_command_or_an_option_that_is_gone_is_answered(bot: Running):
    for name, options in (("nosuch", {"a": "b"}), ("shakespeare", {"private": True})):
        asked = await bot.answer(await bot.ask(name, **options))
        assert asked.told == ["This command has changed. Restart Discord, then use it again."]
    typing = await bot.discord.slash("nosuch", {"model": "a"}, kind=AUTOCOMPLETE)
    await asyncio.wait_for(typing.acknowledged, PATIENCE_S)
    assert bot.discord.requests[-1].json == {"type": CHOICES, "data": {"choices": []}}
    await bot.is_well()


async def test_of_a_hundred_who_ask_at_once_each_is_answered_or_told(bot: Running):
    everybody = [await bot.ask() for _ in range(100)]
    await asyncio.wait([asked.answered for asked in everybody], timeout=PATIENCE_S)
    assert all(asked.answered.done() for asked in everybody)
    outcomes = Counter(len(asked.told) or bool(asked.content) for asked in everybody)
    assert outcomes == {1: 100}
    said = ["".join(asked.told) or asked.content for asked in everybody]
    refused = [sentence for sentence in said if "random seed" not in sentence]
    assert {sentence[:34] for sentence in refused} == {"Too many people are asking at once"}
    assert len(refused) < 100
    await bot.is_well()


async def test_a_locked_registry_is_waited_for(bot: Running):
    with closing(sqlite3.connect(bot.state / "registry.db", isolation_level=None)) as other:
        shown = await bot.answer(await bot.ask("privacy"))
        other.execute("BEGIN EXCLUSIVE")
        pressed = await _opt_out(bot, shown)
        await bot.is_well()
    await bot.answer(pressed)
    assert pressed.content.startswith("You have opted out")


async def test_a_registry_that_stays_locked_is_said_to_be(bot: Running):
    with closing(sqlite3.connect(bot.state / "registry.db", isolation_level=None)) as other:
        shown = await bot.answer(await bot.ask("privacy"))
        other.execute("BEGIN EXCLUSIVE")
        pressed = await bot.answer(await _opt_out(bot, shown))
    assert NO_RECORDS in pressed.told[0]
    pressed = await bot.answer(await _opt_out(bot, shown))
    assert pressed.content.startswith("You have opted out")
    await bot.is_well()


async def test_a_disk_that_takes_no_more_is_said_to(bot: Running):
    shown = await bot.answer(await bot.ask("privacy"))
    unlimited = resource.RLIM_INFINITY, resource.RLIM_INFINITY
    resource.prlimit(bot.process.pid, resource.RLIMIT_FSIZE, (0, unlimited[1]))
    pressed = await bot.answer(await _opt_out(bot, shown))
    await bot.is_well()
    resource.prlimit(bot.process.pid, resource.RLIMIT_FSIZE, unlimited)
    assert NO_RECORDS in pressed.told[0]
    pressed = await bot.answer(await _opt_out(bot, shown))
    assert pressed.content.startswith("You have opted out")
    await bot.is_well()


async def test_a_registry_that_is_damaged_costs_its_commands_alone(bot: Running):
    registry = bot.state / "registry.db"
    with closing(sqlite3.connect(registry, isolation_level=None)) as other:
        other.execute("PRAGMA user_version = 1")  # so that the bot reads it anew
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with registry.open("r+b") as file:
        file.write(os.urandom(registry.stat().st_size))
    for command in ("privacy", "write"):
        asked = await bot.answer(await bot.ask(command))
        assert NO_RECORDS in asked.content
    await bot.is_well()


async def test_a_bot_whose_registry_is_damaged_does_not_start_and_says_why(tmp_path: Path):
    (tmp_path / "registry.db").write_bytes(os.urandom(8192))
    async with DiscordServer() as discord, Processes(discord.api, tmp_path) as processes:
        bot = await processes.start()
        _, log = await asyncio.wait_for(bot.communicate(), PATIENCE_S)
    assert bot.returncode == EXIT_CONFIGURATION
    assert b"is damaged, or no registry at all" in log
    assert discord.requests == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a full disk")
@pytest.mark.parametrize(("options", "code"), [("size=16k", 1), ("ro", EXIT_CONFIGURATION)])
async def test_a_bot_whose_disk_is_full_or_read_only_does_not_start_and_says_why(
    tmp_path: Path, options: str, code: int
):
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(tmp_path)]
    if await asyncio.to_thread(subprocess.call, mount, stderr=subprocess.DEVNULL):
        pytest.skip("nothing can be mounted here")
    try:
        async with DiscordServer() as discord, Processes(discord.api, tmp_path) as processes:
            bot = await processes.start()
            _, log = await asyncio.wait_for(bot.communicate(), PATIENCE_S)
    finally:
        await asyncio.to_thread(subprocess.check_call, ["umount", str(tmp_path)])
    assert bot.returncode == code  # the disk may have room again by itself
    assert b"Is the disk full" in log or b"cannot be used" in log


async def test_a_bot_whose_registry_is_in_use_does_not_start_and_is_started_again(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "registry.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with DiscordServer() as discord, Processes(discord.api, tmp_path) as processes:
            bot = await processes.start()
            _, log = await asyncio.wait_for(bot.communicate(), PATIENCE_S)
    assert bot.returncode == 1
    assert b"is in use by another program" in log


@pytest.mark.parametrize(("code", "why"), [(4004, "DISCORD_TOKEN"), (4011, "SHARD_COUNT")])
async def test_a_gateway_closed_for_good_ends_the_bot_which_says_why(
    tmp_path: Path, code: int, why: str
):
    async with DiscordServer() as discord, Processes(discord.api, tmp_path) as processes:
        bot = await processes.start()
        await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
        await Running(discord, bot, tmp_path).is_well()
        await discord.cut(code)
        _, log = await asyncio.wait_for(bot.communicate(), PATIENCE_S)
    assert bot.returncode == EXIT_CONFIGURATION
    assert why in log.decode()


async def test_a_writer_that_fails_fails_one_text_and_no_clock_lengthens_a_cooldown(tmp_path: Path):
    async with failing(tmp_path, COOLDOWN_S="0.1", LOG_LEVEL="ERROR") as bot:
        for seed in (faulty.OUT_OF_MEMORY, faulty.BROKEN):
            asked = await bot.answer(await bot.ask(seed=seed))
            assert "Something went wrong on my side" in asked.content
            await bot.is_well()
        for years in (-1, 1):
            before = await bot.answer(await bot.ask())
            clock_of(tmp_path).write_text(str(years * 365 * 86_400))
            await asyncio.sleep(0.1)
            after = await bot.discord.slash("shakespeare", {"seed": "To be"}, asker=bot.people)
            await bot.answer(after)
            assert before.told == after.told == []
        bot.process.terminate()
        await asyncio.wait_for(bot.process.communicate(), PATIENCE_S)
    assert bot.process.returncode == 0


async def test_a_bot_with_a_writer_that_hangs_can_be_stopped(tmp_path: Path):
    async with failing(tmp_path, THREADS="2", SHUTDOWN_GRACE_S="1") as bot:
        asked = await bot.answer(await bot.ask(seed=faulty.HANGING))
        assert "takes far too long" in asked.content
        bot.process.terminate()
        await asyncio.wait_for(bot.process.communicate(), PATIENCE_S)
    assert bot.process.returncode == 0


def clock_of(state: Path) -> Path:
    """Holds how far the clock of a failing bot is off, in seconds."""
    return state / "clock"


@asynccontextmanager
async def failing(state: Path, **settings: str) -> AsyncIterator[Running]:
    """A bot whose writers and clock can be made to fail."""
    clock_of(state).write_text("0")
    async with DiscordServer() as discord, Processes(discord.api, state) as processes:
        program = (sys.executable, "-m", faulty.__name__, str(clock_of(state)))
        process = await processes.start(program=program, **settings)
        await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
        yield Running(discord, process, state)


async def _opt_out(bot: Running, shown: Asked) -> Asked:
    button = shown.components[0]["components"][0]["custom_id"]
    return await bot.discord.press(button, shown, asker=int(button.rpartition(":")[2]))
