"""`python -m bot --check`: whether the bot would run, before it does."""

import asyncio
import importlib.util
import logging
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import discord
from discord.http import Route

from bot.client import BASES, create_bot, invite_link
from bot.errors import BotError, RegistryError, SettingsError
from bot.interactions import command_sync
from bot.interactions.permissions import NEEDED, names
from bot.settings import Settings
from bot.storage import database
from bot.storage.files import StateFolder, how_to_give, writable
from charrnn import store
from charrnn.errors import ModelError, needs_extra

PORTAL = "https://discord.com/developers/applications"
# What the bot in 5,000 servers takes, and a training with chat as its base.
BOT_MEMORY_MB, TRAINING_MEMORY_MB = 260, 1100
TRAINING_DISK_MB = 250
TRAINING_PACKAGES = ("h5py", "keras", "matplotlib", "onnx", "tensorflow")
CONNECT_TIMEOUT_S = 5.0
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # in a container, its own


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; the sentence says what there is or, if wrong, what to do."""

    what: str
    fine: bool
    sentence: str

    def __str__(self) -> str:
        return f"{'fine' if self.fine else 'wrong':<6} {self.what:<9} {self.sentence}"


def run() -> bool:
    """Print a line for each thing that the bot needs; True when all are fine."""
    logging.disable()  # the lines say what is wrong
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        for problem in error.problems:
            print(Finding("settings", False, problem))
        return False
    if settings.discord_api:
        Route.BASE = settings.discord_api
    return asyncio.run(_report(settings))


async def _report(settings: Settings) -> bool:
    all_fine = True
    async for finding in findings(settings):
        print(finding, flush=True)
        all_fine = all_fine and finding.fine
    return all_fine


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    """What there is to say, one after the other. Discord is asked with the token, once."""
    for finding in _weights(settings.model):
        yield finding
    async for finding in _discord(settings):
        yield finding
    for finding in (*_state(settings.state), _memory(settings)):
        yield finding
    if settings.dask_scheduler is None:
        yield Finding("executor", True, f"This machine, with {settings.threads} threads.")
        yield _training()
    else:
        yield await _dask(settings.dask_scheduler)
    if settings.health_port is not None:
        yield _health()


async def _discord(settings: Settings) -> AsyncIterator[Finding]:
    if settings.token is None:
        sentence = f"DISCORD_TOKEN is not set. Copy it from the Bot page at {PORTAL}."
        yield Finding("token", False, sentence)
        return
    async with discord.Client(intents=discord.Intents.none()) as client:
        try:
            await client.login(settings.token)
            assert client.application is not None  # login asks for it
            registered = await client.http.get_global_commands(client.application.id)
        except discord.LoginFailure:
            sentence = f"DISCORD_TOKEN is refused. Reset it on the Bot page at {PORTAL}."
            yield Finding("token", False, sentence)
            return
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            sentence = f"It cannot be asked at {Route.BASE}: {error}. Look at the network."
            yield Finding("discord", False, sentence)
            return
    yield Finding("token", True, f"It is {client.user}'s.")
    yield _intents(client.application, settings.train_on_channels)
    link = invite_link(client.application.id)
    yield Finding("invite", True, f"{link} asks a server for: {names(NEEDED)}.")
    yield await _commands(settings, client.application, registered)


def _intents(application: discord.AppInfo, train_on_channels: bool) -> Finding:
    if not train_on_channels:
        return Finding("intents", True, "None is needed, since TRAIN_ON_CHANNELS is not yes.")
    flags = application.flags
    if flags.gateway_message_content or flags.gateway_message_content_limited:
        return Finding("intents", True, "Message Content is on, to learn from channels.")
    sentence = f"TRAIN_ON_CHANNELS needs Message Content. Switch it on on the Bot page at {PORTAL}."
    return Finding("intents", False, sentence)


async def _commands(
    settings: Settings, application: discord.AppInfo, registered: Sequence[Any]
) -> Finding:
    if application.interactions_endpoint_url:
        sentence = (
            "Commands go to the Interactions Endpoint URL and never reach the bot. Clear it on "
            f"the General Information page at {PORTAL}."
        )
        return Finding("commands", False, sentence)
    if not registered:
        return Finding("commands", True, "None is registered yet; the start will do that.")
    try:
        ours = await _defined(settings)
    except (BotError, ModelError) as error:
        sentence = f"They cannot be compared with those that are registered: {error}"
        return Finding("commands", False, sentence)
    names = [f"/{name}" for name in command_sync.differing(registered, ours)]
    if names:
        sentence = f"{', '.join(names)} are registered otherwise than here. Start the bot anew."
        return Finding("commands", False, sentence)
    return Finding("commands", True, f"{len(ours)} are registered as they are here.")


async def _defined(settings: Settings) -> list[dict[str, Any]]:
    """What the bot would register. Raises ModelError and BotError."""
    with tempfile.TemporaryDirectory() as state:
        # The shipped model: whether that of MODEL can be loaded is another question.
        chosen = Settings(state=Path(state), train_on_channels=settings.train_on_channels)
        async with create_bot(chosen) as bot:
            await bot.add_cogs()
            return [command.to_dict(bot.tree) for command in bot.tree.get_commands()]


def _weights(model: str) -> Iterator[Finding]:
    for name in dict.fromkeys((model, *BASES)):
        try:
            loaded = store.load(name)
        except ModelError as error:
            setting = "" if name in BASES else " Is MODEL right?"
            yield Finding("weights", False, f"{error}{setting}")
        else:
            sentence = f"{loaded.name} is whole, by its checksums."
            yield Finding("weights", True, sentence)


def _state(state: Path) -> Iterator[Finding]:
    """The folder, the registry in it, and the room there is."""
    registry = StateFolder(state).registry
    # os.path.exists is also right where one may not look.
    there = next(f for f in (state.absolute(), *state.absolute().parents) if os.path.exists(f))  # noqa: PTH110
    if not there.is_dir():
        yield Finding("state", False, f"{there} is a file. Set STATE to a folder.")
    elif not writable(there):
        sentence = f"{state.absolute()} cannot be written. {how_to_give(state.absolute())}"
        yield Finding("state", False, sentence)
    elif not registry.exists():
        yield Finding("state", True, f"{registry} will be made.")
    else:
        try:
            database.inspect(registry)
        except RegistryError as error:
            yield Finding("state", False, str(error))
        else:
            yield Finding("state", True, f"{registry} is whole.")
    free_mb = shutil.disk_usage(there).free >> 20
    sentence = f"{free_mb:,} MB are free, a training takes up to {TRAINING_DISK_MB}."
    fine = free_mb >= TRAINING_DISK_MB
    yield Finding("disk", fine, sentence + ("" if fine else f" Make room in {there}."))


def _memory(settings: Settings) -> Finding:
    left_mb = [mb for mb in (_available_mb(), _granted_mb()) if mb is not None]
    if not left_mb:
        return Finding("memory", True, "This system does not say how much there is.")
    available_mb = min(left_mb)
    trainings = 0 if settings.dask_scheduler else settings.max_trainings
    needed_mb = BOT_MEMORY_MB + settings.model_memory_mb + trainings * TRAINING_MEMORY_MB
    sentence = f"{available_mb:,} MB are available, {needed_mb:,} are needed at most."
    if available_mb < needed_mb:
        advice = " Lower MODEL_MEMORY_MB or MAX_TRAININGS, or train elsewhere with EXECUTOR."
        return Finding("memory", False, sentence + advice)
    return Finding("memory", True, sentence)


def _available_mb() -> int | None:
    """What the machine has left."""
    found = MEMINFO.is_file() and re.search(r"^MemAvailable: +(\d+) kB$", MEMINFO.read_text(), re.M)
    return int(found[1]) >> 10 if found else None


def _granted_mb() -> int | None:
    """What a container, or a service, may still take; None where nothing limits it."""
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if not limit.is_file() or not (most := limit.read_text().strip()).isdecimal():
        return None
    return max(0, int(most) - int(used.read_text())) >> 20


def _training() -> Finding:
    missing = [name for name in TRAINING_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        sentence = f"Off, so /retrain is refused. {needs_extra('It', ', '.join(missing), 'train')}"
        return Finding("training", True, sentence)
    return Finding("training", True, "TensorFlow is installed.")


def _health() -> Finding:
    if importlib.util.find_spec("prometheus_client") is None:
        sentence = needs_extra("HEALTH_PORT", "prometheus_client", "metrics")
        return Finding("health", False, sentence)
    return Finding("health", True, "What HEALTH_PORT serves is installed.")


async def _dask(scheduler: str) -> Finding:
    try:
        from bot.dask.cluster import Cluster
    except ModuleNotFoundError as error:
        return Finding("executor", False, needs_extra("EXECUTOR", error.name, "dask"))
    out_of_reach = f"Dask cannot be reached at {scheduler}. Start `dask scheduler` there."
    host, _, port = scheduler.rpartition(":")
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await asyncio.open_connection(host.strip("[]"), int(port))
        connection.close()
    except (OSError, TimeoutError):
        return Finding("executor", False, out_of_reach)
    cluster = Cluster(scheduler)
    try:
        workers = await (await cluster.client()).nthreads()
    except (BotError, OSError):
        return Finding("executor", False, out_of_reach)
    finally:
        await cluster.close()
    if not workers:
        return Finding(
            "executor", False, f"No worker is connected. Start `dask worker {scheduler}`."
        )
    return Finding("executor", True, f"Dask at {scheduler}, with {len(workers)} workers.")
