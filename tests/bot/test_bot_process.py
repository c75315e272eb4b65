"""`python -m bot` as a process beside a stand-in for Discord, from its start to its end."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bot.interactions.reply import Reply
from bot.storage.files import StateFolder
from bot.storage.records import JobState, TrainingJob
from bot.storage.registry import Registry
from tests.bot.guilds import queue
from tests.bot.online import answer
from tests.bot.operations.prometheus import samples
from tests.bot.processes import PATIENCE_S, Processes, Start, ended, stops, trainings, until
from tests.discord_payloads import GUILD_ID, TOKEN
from tests.discord_server import Asked, DiscordServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops the bot with signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
MESSAGE_ID = 1 << 62  # made in 2049, so that it counts as new


@dataclass
class Life:
    """What a bot did while somebody used /shakespeare twice, and was stopped."""

    discord: DiscordServer
    told: list[str] = field(default_factory=list)  # to systemd
    asked: list[Asked] = field(default_factory=list)
    metrics: dict[str, list[tuple[dict[str, str], float]]] = field(default_factory=dict)
    log: str = ""
    code: int | None = None

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def life(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Life]:
    folder = tmp_path_factory.mktemp("life")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.setblocking(False)
        async with DiscordServer() as discord, Processes(discord.api, folder / "state") as bots:
            life = Life(discord)
            bot = await bots.start(
                LOG_FORMAT="json",
                LOG_LEVEL="DEBUG",
                COOLDOWN_S="60",
                HEALTH_PORT=port,
                NOTIFY_SOCKET=str(folder / "notify"),
                WATCHDOG_USEC="100000",
            )

            async def hear(word: str) -> None:
                loop = asyncio.get_running_loop()
                while not (life.told and word in life.told[-1]):
                    life.told.append((await loop.sock_recv(systemd, 4096)).decode())

            async with asyncio.timeout(4 * PATIENCE_S):
                await hear("READY=1")
                for _ in range(2):
                    asked = await discord.slash("shakespeare", {"seed": "My own words"})
                    life.asked.append(await answer(asked))
                address = f"http://127.0.0.1:{port}"
                async with aiohttp.ClientSession() as http, http.get(f"{address}/metrics") as got:
                    life.metrics = samples(await got.text())
                await hear("WATCHDOG=1")
                bot.terminate()
                await hear("STOPPING=1")
                life.code, life.log = await ended(bot)
        yield life


async def test_it_answers_and_refuses_during_the_cooldown(life: Life):
    first, second = life.asked
    assert Reply.parse(first.content).seed == "My own words"
    assert second.told[0].startswith("One at a time, please")
    assert life.discord.unknown == life.discord.errors == []
    assert {sent.authorization for sent in life.discord.requests} == {f"Bot {TOKEN}", None}


async def test_it_ends_with_0_when_it_is_asked_to_stop(life: Life):
    assert life.code == 0


async def test_it_tells_systemd_that_it_is_ready_that_it_lives_and_that_it_stops(life: Life):
    assert [notice for notice in life.told if "READY=1" in notice] == [
        "READY=1\nSTATUS=Connected as person1000, in 1 servers."
    ]
    assert "WATCHDOG=1" in life.told
    assert life.told[-1] == f"STOPPING=1\nEXTEND_TIMEOUT_USEC={50_000_000}"


async def test_its_log_has_a_line_for_each_command(life: Life):
    answered = {
        line["outcome"]: line for line in life.lines() if line["logger"].endswith("answering")
    }
    assert sorted(answered) == ["ok", "refused: cooldown"]
    assert answered["ok"]["command"] == "/shakespeare"
    assert answered["ok"]["guild"] == str(GUILD_ID)
    assert answered["ok"]["interaction"].isdecimal()
    assert answered["ok"]["duration_ms"] > 0


async def test_its_log_contains_neither_the_token_nor_what_people_write(life: Life):
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in life.lines())
    assert "My own words" not in life.log
    assert TOKEN not in life.log


async def test_its_metrics_count_what_it_does(life: Life):
    metrics, command = life.metrics, {"command": "/shakespeare"}
    assert [(labels, n) for labels, n in metrics["charrnn_commands_total"] if n] == [
        (command | {"outcome": "ok"}, 1),
        (command | {"outcome": "refused"}, 1),
    ]
    assert metrics["charrnn_errors_total"] == [({"kind": "cooldown"}, 1)]
    assert metrics["charrnn_command_seconds_count"] == [(command, 2)]
    assert metrics["charrnn_texts_total"] == [({}, 1)]
    assert metrics["charrnn_batch_requests_sum"] == [({}, 1)]
    assert metrics["charrnn_writing_seconds_count"] == [({}, 1)]
    assert metrics["charrnn_models_in_memory"] == [({}, 1)]
    assert metrics["charrnn_servers"] == [({}, 1)]
    assert metrics["charrnn_ready"] == [({}, 1)]


async def test_a_second_signal_ends_it_at_once(discord: DiscordServer, start: Start):
    bot = await start(SHUTDOWN_GRACE_S="600")
    await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
    discord.delivers.clear()
    asked = await discord.slash("shakespeare", {"seed": "To be"})
    await asyncio.wait_for(asked.acknowledged, PATIENCE_S)
    bot.terminate()
    await asyncio.wait_for(stops(bot), PATIENCE_S)
    bot.terminate()
    assert (await ended(bot))[0] == -signal.SIGTERM
    discord.delivers.set()


async def queue_training(registry: Registry, files: StateFolder) -> TrainingJob:
    """Queue a job, which the bot trains when it starts."""
    job = await queue(registry, GUILD_ID)
    await registry.show_in(GUILD_ID, job.id, job.channel_id, MESSAGE_ID)
    registry.close()
    write_file(files.text(job), "so be it, said the king to the queen\n" * 9000)
    return job


def write_file(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)


def trainings_of(bot: asyncio.subprocess.Process) -> list[int]:
    children = Path(f"/proc/{bot.pid}/task/{bot.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if pid in trainings()]


def shown(discord: DiscordServer, words: str) -> bool:
    """Whether the message that shows a job has said so."""
    edits = (
        request.json
        for request in discord.requests
        if request.method == "PATCH" and request.path.startswith("channels/")
    )
    return any(words in edit["embeds"][0]["description"] for edit in edits)


@linux
async def test_a_training_ends_with_a_killed_bot_and_continues_with_the_next_one(
    discord: DiscordServer, start: Start, tmp_path: Path
):
    state = tmp_path / "state"
    files = StateFolder(state)
    files.claim()  # creates the folder
    files.release()
    job = await queue_training(Registry(files.registry), files)
    killed = await start()
    await until(lambda: trainings_of(killed))
    [training] = trainings_of(killed)
    killed.kill()
    await until(lambda: training not in trainings())
    stopped = await start()
    await until(lambda: shown(discord, "Epoch 1 of"), 4 * PATIENCE_S)
    stopped.terminate()
    assert (await ended(stopped))[0] == 0
    assert shown(discord, "I am being restarted.")
    registry = Registry(files.registry)
    assert (await registry.job(GUILD_ID, job.id)).state is JobState.TRAINING
    registry.close()
    assert list((state / f"{job.folder}.training").glob("*.weights.h5"))
