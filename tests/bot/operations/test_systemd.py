"""The bot as a service: how it is started, told to stop, and what its exit code says."""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest

from bot.operations.systemd import Supervisor
from bot.settings import Supervision
from bot.storage.files import StateFolder
from bot.storage.records import JobState
from bot.storage.registry import Registry
from tests.bot.guilds import prepare
from tests.bot.processes import BOT, PATIENCE_S, Start, ended, stops, trainings, until
from tests.discord_server import GUILD_ID, TOKEN, DiscordServer

linux = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("setpriv") is None, reason="needs setpriv and /proc"
)
MESSAGE_ID = 1 << 62  # made in 2049, so that it counts as new


def logged(log: str, level: str) -> list[str]:
    return re.findall(rf" {level} +\S+  (.*)", log)


async def test_a_refused_token_ends_with_78_and_says_where_to_reset_it(
    discord: DiscordServer, start: Start
):
    discord.refuses_token = True
    code, log = await ended(await start())
    assert code == 78
    assert logged(log, "CRITICAL") == [
        "DISCORD_TOKEN is refused by Discord. Reset it on the Bot page and try again."
    ]
    assert "Traceback" not in log and TOKEN not in log


@pytest.mark.parametrize(
    ("close_code", "sentence"),
    [
        (4004, "DISCORD_TOKEN is refused"),
        (4011, "Raise SHARD_COUNT"),
        (4014, "Switch it on at the Bot page"),
    ],
)
async def test_what_discord_refuses_for_good_ends_with_78_and_what_to_do(
    discord: DiscordServer, start: Start, close_code: int, sentence: str
):
    discord.close_code = close_code
    code, log = await ended(await start())
    assert code == 78
    assert [sentence in line for line in logged(log, "CRITICAL")] == [True]
    assert "Traceback" not in log


async def test_a_state_folder_that_cannot_be_made_ends_with_78_and_what_to_do(start: Start):
    code, log = await ended(await start(STATE="/proc/charrnn"))
    assert code == 78
    [line] = logged(log, "CRITICAL")
    assert line.startswith("STATE: The state folder /proc/charrnn cannot be used: ")
    assert "sudo chown" in line and "set STATE" in line


@linux
async def test_a_state_folder_of_another_user_ends_with_78_and_the_command_that_mends_it(
    start: Start,
):
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    program = [*(nobody if os.getuid() == 0 else ()), *BOT]
    code, log = await ended(await start(program=program, STATE="/usr"))
    if code in (126, 127) or "No module named" in log:
        pytest.skip("nobody may run this Python, or read this clone")
    assert code == 78
    [line] = logged(log, "CRITICAL")
    assert line.startswith("STATE: The state folder /usr cannot be used: Permission denied. Create")
    assert re.search(r"sudo chown -R \d+:\d+ /usr", line)


async def test_who_was_started_too_often_waits_until_discord_lets_it_begin_a_session(
    discord: DiscordServer, start: Start, tmp_path: Path
):
    discord.starts_left = {"remaining": 0, "reset_after": 1500}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        bot = await start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        await until(lambda: "gateway/bot" in {request.path for request in discord.requests})
        assert not discord.identified.is_set()
        await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
        bot.terminate()
        code, log = await ended(bot)
        heard = systemd.recv(1000).decode()
    assert code == 0
    [line] = logged(log, "CRITICAL")
    assert "started so often" in line
    assert heard == f"EXTEND_TIMEOUT_USEC={901_500_000}\nSTATUS={line}"


async def test_a_discord_out_of_reach_ends_with_1_and_a_line(start: Start):
    code, log = await ended(await start(DISCORD_API="http://127.0.0.1:9/api/v10"))
    assert code == 1
    assert [line.split(":")[0] for line in logged(log, "CRITICAL")] == ["Discord cannot be reached"]
    assert "Traceback" not in log


async def test_a_crash_ends_with_1_a_line_and_the_traceback(start: Start):
    crash = "import bot.__main__ as main; main.create_bot = lambda _: 1 / 0; main.main()"
    code, log = await ended(await start(program=[sys.executable, "-c", crash]))
    assert code == 1
    [line] = logged(log, "CRITICAL")
    assert line.startswith("The bot has crashed: ZeroDivisionError")
    assert log.count("Traceback") == 1


async def test_a_stop_lets_the_answer_under_way_arrive_and_turns_newcomers_away(
    discord: DiscordServer, start: Start
):
    bot = await start()
    await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
    discord.delivers.clear()
    first = await discord.slash("shakespeare", {"seed": "To be"})
    await asyncio.wait_for(first.acknowledged, PATIENCE_S)
    bot.terminate()
    await asyncio.wait_for(stops(bot), PATIENCE_S)
    second = await discord.slash("shakespeare", {"seed": "And yet"}, asker=2)
    await asyncio.wait_for(second.answered, PATIENCE_S)
    assert second.told == ["I am being restarted. Try again in a minute."]
    assert not first.answered.done()
    discord.delivers.set()
    await asyncio.wait_for(first.answered, PATIENCE_S)
    assert first.content.startswith("**To be")
    assert (await ended(bot))[0] == 0


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_ends_it_at_once(
    discord: DiscordServer, start: Start, signum: signal.Signals
):
    bot = await start(SHUTDOWN_GRACE_S="600")
    await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
    discord.delivers.clear()
    asked = await discord.slash("shakespeare", {"seed": "To be"})
    await asyncio.wait_for(asked.acknowledged, PATIENCE_S)
    bot.send_signal(signum)
    await asyncio.wait_for(stops(bot), PATIENCE_S)
    bot.send_signal(signum)
    assert (await ended(bot))[0] == -signum
    discord.delivers.set()


async def queue_training(state: Path) -> int:
    """A training that the bot starts when it is started; its id."""
    state.mkdir()  # noqa: ASYNC240 - a test may wait
    registry = Registry(StateFolder(state).registry)
    job = await prepare(registry, GUILD_ID)
    await registry.show_in(GUILD_ID, job.id, job.channel_id, MESSAGE_ID)
    await registry.enqueue(GUILD_ID, job.id)
    registry.close()
    (state / "texts").mkdir()
    (state / "texts" / f"{job.id}.txt").write_text("so be it, said the king to the queen\n" * 9000)
    return job.id


def trainings_of(bot: asyncio.subprocess.Process) -> list[int]:
    children = Path(f"/proc/{bot.pid}/task/{bot.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if pid in trainings()]


def told(discord: DiscordServer, words: str) -> bool:
    """Whether a training's message has been made to say so."""
    edits = (request.json for request in discord.requests if request.method == "PATCH")
    return any(words in edit["embeds"][0]["description"] for edit in edits)


@linux
async def test_a_stop_keeps_a_training_tells_its_admins_and_it_goes_on_after_the_restart(
    discord: DiscordServer, start: Start, tmp_path: Path
):
    job_id = await queue_training(tmp_path / "state")
    bot = await start()
    await until(lambda: told(discord, "Epoch 1 of"), 4 * PATIENCE_S)
    bot.terminate()
    assert (await ended(bot))[0] == 0
    assert told(discord, "I am being restarted. The training goes on by itself when I am back.")
    registry = Registry(StateFolder(tmp_path / "state").registry)
    job = await registry.job(GUILD_ID, job_id)
    registry.close()
    assert job.state is JobState.TRAINING
    checkpoints = tmp_path / "state" / f"{job.folder}.training"
    assert list(checkpoints.glob("*.weights.h5"))
    discord.requests.clear()
    again = await start()
    await until(lambda: told(discord, "Epoch 1 of"), 4 * PATIENCE_S)
    again.kill()


@linux
async def test_trainings_die_with_a_bot_that_is_signalled_twice(start: Start, tmp_path: Path):
    await queue_training(tmp_path / "state")
    bot = await start(SHUTDOWN_GRACE_S="600")
    await until(lambda: trainings_of(bot))
    [training] = trainings_of(bot)
    os.kill(training, signal.SIGSTOP)  # it does not hear that it is to stop
    bot.terminate()
    await asyncio.wait_for(stops(bot), PATIENCE_S)
    bot.terminate()
    assert (await ended(bot))[0] == -signal.SIGTERM
    await until(lambda: training not in trainings())


@linux
async def test_a_bot_that_is_killed_takes_its_training_along_and_the_next_one_goes_on(
    start: Start, tmp_path: Path
):
    await queue_training(tmp_path / "state")
    bot = await start()
    await until(lambda: trainings_of(bot))
    [training] = trainings_of(bot)
    bot.kill()
    await until(lambda: training not in trainings())
    again = await start()
    await until(lambda: trainings_of(again))


@pytest.mark.parametrize("abstract", [False, True])
def test_a_supervisor_is_told_at_its_address(tmp_path: Path, abstract: bool):
    if abstract and sys.platform != "linux":
        pytest.skip("abstract addresses are Linux's")
    name = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0", 1))
        Supervisor(Supervision(name)).tell("READY=1", "STATUS=Here.")
        assert systemd.recv(1000) == b"READY=1\nSTATUS=Here."


def test_a_supervisor_that_is_gone_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    Supervisor(Supervision(str(tmp_path / "nobody"))).tell("READY=1")
    assert "NOTIFY_SOCKET" in caplog.text


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_a_watchdog_is_for_the_process_it_names(
    environment: dict[str, str], interval_s: float | None
):
    assert Supervision.load(environment).watchdog_s == interval_s
