"""The endpoints for monitoring, and the dashboard."""

import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
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
from bot.operations.metrics import Metrics
from bot.settings import Settings
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.online import online
from tests.bot.operations.prometheus import samples
from tests.bot.trainings import FakeExecutor

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana.json"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def bot(stateful: Model, tmp_path: Path) -> Bot:
    return bot_with(stateful, tmp_path, executor=FakeExecutor())


async def test_a_bot_that_is_not_connected_is_alive_but_not_ready(
    bot: Bot, http: aiohttp.ClientSession, port: int
):
    async def get(path: str) -> tuple[int, str]:
        async with http.get(f"http://127.0.0.1:{port}{path}") as response:
            return response.status, await response.text()

    async with Health(bot, "127.0.0.1", port):
        assert await get("/live") == (200, "The event loop runs.\n")
        assert await get("/ready") == (503, "Discord is not connected yet.\n")
        await bot.services.inference.finish(0.1)
        assert await get("/ready") == (503, "The bot is stopping.\n")
        assert "charrnn_ready 0.0" in (await get("/metrics"))[1]


@pytest.mark.usefixtures("api")
async def test_a_connected_bot_is_ready(bot: Bot, http: aiohttp.ClientSession, port: int):
    address = f"http://127.0.0.1:{port}/ready"
    async with online(bot), Health(bot, "127.0.0.1", port), http.get(address) as response:
        assert (response.status, await response.text()) == (200, "Ready.\n")


async def test_without_a_loaded_model_the_executor_is_in_trouble(stateful: Model):
    models = LoadedModels(0)
    executor = LocalExecutor(1, models)
    assert executor.trouble() == "No model is loaded."
    models.get(stateful.folder)
    assert (executor.trouble(), executor.models) == (None, 1)


async def test_a_port_that_is_taken_is_named(bot: Bot, port: int):
    async with Health(bot, "127.0.0.1", port):
        with pytest.raises(SettingsError, match=f"HEALTH_PORT {port} on HEALTH_HOST 127.0.0.1"):
            await Health(bot, "127.0.0.1", port).__aenter__()


async def test_a_missing_extra_is_named(bot: Bot, monkeypatch: pytest.MonkeyPatch):
    for module in ("bot.operations.health", "bot.operations.metrics"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(SettingsError, match="HEALTH_PORT needs prometheus_client, part"):
        _health(bot, Settings(health_port=1))


@pytest.mark.usefixtures("api")
async def test_every_counter_starts_at_zero_so_that_the_first_event_is_growth(bot: Bot):
    metrics = Metrics(bot)
    async with online(bot):
        shown = samples((await metrics.text()).decode())
    for command in ("/retrain", "reply:reroll"):
        counted = {
            labels["outcome"]: value
            for labels, value in shown["charrnn_commands_total"]
            if labels["command"] == command
        }
        assert counted == {"ok": 0, "refused": 0, "failed": 0, "lost": 0}
    sessions = {labels["session"]: n for labels, n in shown["charrnn_gateway_connects_total"]}
    assert sessions == {"new": 1, "resumed": 0}


async def test_the_dashboard_draws_every_metric_and_no_other(bot: Bot):
    families = text_string_to_metric_families((await Metrics(bot).text()).decode())
    exported = {family.name for family in families}
    drawn = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in names_in_the_dashboard()}
    assert drawn <= exported
    assert {name for name in exported if name.startswith("charrnn_")} <= drawn


def names_in_the_dashboard() -> set[str]:
    found = expressions(json.loads(DASHBOARD.read_text("utf-8")))
    return {name for expr in found for name in re.findall(r"\b(?:charrnn|process)_\w+", expr)}


def expressions(panel: Any) -> Iterator[str]:
    if isinstance(panel, dict):
        if "expr" in panel:
            yield panel["expr"]
        panel = list(panel.values())
    if isinstance(panel, list):
        for part in panel:
            yield from expressions(part)
