"""What those who watch over the bot get to see, of a process beside a Discord on 127.0.0.1."""

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.__main__ import _health
from bot.client import Bot
from bot.errors import SettingsError
from bot.inference.executor import LocalExecutor
from bot.models.cache import LoadedModels
from bot.operations.health import Health
from bot.settings import Settings
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.processes import PATIENCE_S, Processes, Start
from tests.discord_server import DiscordServer

READY = (200, "Ready.\n")
DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana.json"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Watcher:
    """Asks a bot's endpoint."""

    def __init__(self, session: aiohttp.ClientSession, port: int):
        self._session = session
        self._address = f"http://127.0.0.1:{port}"

    async def get(self, path: str) -> tuple[int, str]:
        async with self._session.get(f"{self._address}{path}") as response:
            return response.status, await response.text()

    async def families(self) -> set[str]:
        """The names of all metrics, of those too that have no value yet."""
        text = (await self.get("/metrics"))[1]
        return {found.name for found in text_string_to_metric_families(text)}

    async def samples(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """What /metrics shows, by name."""
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families((await self.get("/metrics"))[1]):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    async def until(self, path: str, answer: tuple[int, str]) -> None:
        while await self.get(path) != answer:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)

    async def until_counted(self, what: str, number: int) -> None:
        while True:
            counted = (await self.samples()).get(f"charrnn_{what}_total", [])
            if sum(n for _, n in counted) == number:
                return
            await asyncio.sleep(0.05)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def watcher(port: int) -> AsyncIterator[Watcher]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield Watcher(session, port)


@pytest.fixture
def bot(stateful: Model, tmp_path: Path) -> Iterator[Bot]:
    bot = bot_with(stateful, tmp_path)
    yield bot
    bot.services.registry.close()


async def test_a_bot_that_is_not_connected_lives_and_is_not_ready(
    bot: Bot, watcher: Watcher, port: int
):
    async with Health(bot, "127.0.0.1", port):
        assert await watcher.get("/live") == (200, "The event loop turns.\n")
        assert await watcher.get("/ready") == (503, "Discord is not connected yet.\n")
        await bot.services.inference.finish(0.1)
        assert await watcher.get("/ready") == (503, "The bot is stopping.\n")


async def test_without_a_model_there_is_nothing_to_write_with(stateful: Model):
    models = LoadedModels(0)
    executor = LocalExecutor(1, models)
    assert executor.trouble() == "No model is loaded."
    models.get(stateful.folder)
    assert (executor.trouble(), executor.models) == (None, 1)


async def test_a_port_that_is_taken_is_named(bot: Bot, port: int):
    async with Health(bot, "127.0.0.1", port):
        with pytest.raises(SettingsError, match=f"HEALTH_PORT {port} on HEALTH_HOST 127.0.0.1"):
            await Health(bot, "127.0.0.1", port).__aenter__()


async def test_without_the_extra_it_is_named(bot: Bot, monkeypatch: pytest.MonkeyPatch):
    for module in ("bot.operations.health", "bot.operations.metrics"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(SettingsError, match=r"HEALTH_PORT needs prometheus_client.*'\.\[metrics\]"):
        _health(bot, Settings(health_port=1))


async def test_a_running_bot_is_ready_and_counts_what_it_does(
    discord: DiscordServer, start: Start, watcher: Watcher, port: int
):
    running = await start(HEALTH_PORT=str(port), COOLDOWN_S="60")
    await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
    await asyncio.wait_for(watcher.until("/ready", READY), PATIENCE_S)
    for _ in range(2):
        asked = await discord.slash("shakespeare", {"seed": "To be"})
        await asyncio.wait_for(asked.acknowledged, PATIENCE_S)
    await asyncio.wait_for(watcher.until_counted("commands", 2), PATIENCE_S)
    shown = await watcher.samples()
    command = {"command": "/shakespeare"}
    assert [(labels, n) for labels, n in shown["charrnn_commands_total"] if n] == [
        (command | {"outcome": "ok"}, 1),
        (command | {"outcome": "refused"}, 1),
    ]
    assert shown["charrnn_errors_total"] == [({"kind": "cooldown"}, 1)]
    assert shown["charrnn_command_seconds_count"] == [(command, 2)]
    assert shown["charrnn_texts_total"] == [({}, 1)]
    assert shown["charrnn_batch_requests_sum"] == [({}, 1)]
    assert shown["charrnn_writing_seconds_count"] == [({}, 1)]
    assert shown["charrnn_queue_requests"] == [({}, 0)]
    assert shown["charrnn_models_in_memory"] == [({}, 1)]
    assert shown["charrnn_servers"] == [({}, 1)]
    assert shown["charrnn_ready"] == [({}, 1)]
    assert ({"session": "new"}, 1) in shown["charrnn_gateway_connects_total"]
    assert ({"state": "training"}, 0) in shown["charrnn_trainings"]
    exported, drawn = await watcher.families(), {family(name) for name in names_in_the_dashboard()}
    assert drawn <= exported
    assert {name for name in exported if name.startswith("charrnn_")} <= drawn
    running.terminate()
    await asyncio.wait_for(running.communicate(), PATIENCE_S)
    assert running.returncode == 0
    assert discord.unknown == []


async def test_what_has_not_happened_yet_is_counted_as_none(
    discord: DiscordServer, start: Start, watcher: Watcher, port: int
):
    # So that Prometheus sees the first of its kind as growth.
    await start(HEALTH_PORT=str(port))
    await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
    await asyncio.wait_for(watcher.until("/ready", READY), PATIENCE_S)
    shown = await watcher.samples()
    outcomes = {"ok", "refused", "failed", "lost"}
    for command in ("/retrain", "reply:reroll"):
        counted = [
            (c["outcome"], n) for c, n in shown["charrnn_commands_total"] if c["command"] == command
        ]
        assert sorted(counted) == [(outcome, 0) for outcome in sorted(outcomes)]
    assert ({"session": "resumed"}, 0) in shown["charrnn_gateway_connects_total"]


async def test_a_lost_connection_is_told_until_there_is_one_again(
    watcher: Watcher, port: int, tmp_path: Path
):
    async with AsyncExitStack() as ends:
        discord = await ends.enter_async_context(DiscordServer())
        processes = await ends.enter_async_context(Processes(discord.api, tmp_path))
        running = await processes.start(HEALTH_PORT=str(port))
        await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
        await asyncio.wait_for(watcher.until("/ready", READY), PATIENCE_S)
        await discord.cut(1000)
        await asyncio.wait_for(watcher.until_counted("gateway_connects", 2), PATIENCE_S)
        assert (await watcher.samples())["charrnn_gateway_connects_total"] == [
            ({"session": "new"}, 1),
            ({"session": "resumed"}, 1),
        ]
        discord_port = int(discord.api.split(":")[2].partition("/")[0])
        await discord.__aexit__()
        lost = (503, "The connection to Discord is lost: shard 0.\n")
        await asyncio.wait_for(watcher.until("/ready", lost), PATIENCE_S)
        async with DiscordServer(discord_port):
            await asyncio.wait_for(watcher.until("/ready", READY), PATIENCE_S)
            running.terminate()
            await asyncio.wait_for(running.communicate(), PATIENCE_S)
        assert running.returncode == 0


def expressions(panel: Any) -> Iterator[str]:
    if isinstance(panel, dict):
        if "expr" in panel:
            yield panel["expr"]
        panel = list(panel.values())
    if isinstance(panel, list):
        for part in panel:
            yield from expressions(part)


def names_in_the_dashboard() -> set[str]:
    found = expressions(json.loads(DASHBOARD.read_text()))
    return {name for expr in found for name in re.findall(r"\b(?:charrnn|process)_\w+", expr)}


def family(name: str) -> str:
    return re.sub(r"_(total|bucket|sum|count)$", "", name)
