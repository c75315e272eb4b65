"""`python -m bot --check`: checks whether the bot can run, and starts nothing."""

import asyncio
import importlib.util
import logging
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import discord
import psutil
from discord.http import Route

from bot.errors import BotError, RegistryError, SettingsError
from bot.interactions.permissions import NEEDED, invite_link, names
from bot.interactions.retries import REFUSALS
from bot.services import BASES, not_installed
from bot.settings import PORTAL, Settings
from bot.storage import database
from bot.storage.files import StateFolder, how_to_give, writable
from bot.words.lists import read_file
from charrnn import store
from charrnn.errors import ModelError
from charrnn.sentences import counted, needs_extra

REFUSED = f"Discord refuses DISCORD_TOKEN. Reset it on the Bot page at {PORTAL}, and copy it whole."
# Measured: the bot in 5,000 servers, and a training that starts from chat.
BOT_MEMORY_MB, TRAINING_MEMORY_MB = 260, 1100
TRAINING_DISK_MB = 250


@dataclass(frozen=True)
class Finding:
    """The result of one check. The sentence says what was found or, if it is wrong, what to do."""

    what: str
    fine: bool
    sentence: str

    def __str__(self) -> str:
        return f"{'fine' if self.fine else 'wrong':<6} {self.what:<9} {self.sentence}"


def run() -> bool:
    """Print one line per check. Returns True if everything is fine."""
    logging.disable()  # the findings say what is wrong
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
    """Run the checks one after the other. Logs in to Discord's REST API once."""
    async for finding in _discord(settings):
        yield finding
    if settings.words_file is not None:
        yield _words(settings.words_file)
    for finding in (*_models(settings.model), _state(settings.state), _disk(settings.state)):
        yield finding
    yield _memory(settings)
    if settings.dask_scheduler is None:
        yield Finding("executor", True, f"This machine, with {settings.threads} threads.")
        yield _training()
    else:
        yield await _dask(settings.dask_scheduler)
    if settings.health_port is not None:
        yield _health()


async def _discord(settings: Settings) -> AsyncIterator[Finding]:
    if settings.token is None:
        sentence = (
            "DISCORD_TOKEN is not set, so the bot would only run as a preview. Copy the token from "
            f"the Bot page at {PORTAL}."
        )
        yield Finding("token", False, sentence)
        return
    async with discord.Client(intents=discord.Intents.none()) as client:
        try:
            await client.login(settings.token)
        except discord.LoginFailure:
            yield Finding("token", False, REFUSED)
            return
        except REFUSALS as error:
            sentence = f"{Route.BASE} cannot be reached: {error}. Check the network."
            yield Finding("discord", False, sentence)
            return
    application = client.application
    assert application is not None  # login asks for it
    yield Finding("token", True, f"Discord knows the bot as {client.user}.")
    yield _intents(application, settings.train_on_channels)
    if application.interactions_endpoint_url:
        sentence = (
            "Discord sends commands to the Interactions Endpoint URL, not to the bot. Clear that "
            f"field on the General Information page at {PORTAL}."
        )
        yield Finding("commands", False, sentence)
    yield Finding("invite", True, f"{invite_link(application.id)} (asks for {names(NEEDED)})")


def _intents(application: discord.AppInfo, train_on_channels: bool) -> Finding:
    if not train_on_channels:
        return Finding("intents", True, "None to switch on, since TRAIN_ON_CHANNELS is no.")
    flags = application.flags
    if flags.gateway_message_content or flags.gateway_message_content_limited:
        return Finding("intents", True, "Message Content is on.")
    sentence = (
        f"TRAIN_ON_CHANNELS needs Message Content. Switch it on, on the Bot page at {PORTAL}."
    )
    return Finding("intents", False, sentence)


def _words(path: Path) -> Finding:
    try:
        words = read_file(path)
    except SettingsError as error:
        return Finding("words", False, " ".join(error.problems))
    return Finding("words", True, f"I never say what {path} lists: {counted(len(words), 'word')}.")


def _models(model: str) -> Iterator[Finding]:
    for name in dict.fromkeys((model, *BASES)):
        try:
            store.load(name, for_training=name in BASES)
        except ModelError as error:
            hint = "" if name in BASES else " Correct MODEL."
            yield Finding("model", False, f"{error}{hint}")
        else:
            yield Finding("model", True, f"{name}: its files match their checksums.")


def _state(state: Path) -> Finding:
    registry = StateFolder(state).registry
    place = _existing(state)
    if not place.is_dir():
        return Finding("state", False, f"{place} is a file. Set STATE to a folder.")
    if not writable(place):
        sentence = f"{state.absolute()} cannot be written. {how_to_give(state.absolute())}"
        return Finding("state", False, sentence)
    if not registry.exists():
        return Finding("state", True, f"{registry} will be created.")
    try:
        database.inspect(registry)
    except RegistryError as error:
        return Finding("state", False, str(error))
    return Finding("state", True, f"{registry} is intact.")


def _disk(state: Path) -> Finding:
    place = _existing(state)
    free_mb = shutil.disk_usage(place).free >> 20
    sentence = f"{free_mb:,} MB are free. A training takes up to {TRAINING_DISK_MB}."
    if free_mb < TRAINING_DISK_MB:
        return Finding("disk", False, f"{sentence} Free some space in {place}.")
    return Finding("disk", True, sentence)


def _existing(path: Path) -> Path:
    """The path, or the closest folder above it that exists."""
    places = (path.absolute(), *path.absolute().parents)
    # Path.exists raises PermissionError for what is in somebody else's folder.
    return next(place for place in places if os.path.exists(place))  # noqa: PTH110


def _memory(settings: Settings) -> Finding:
    trainings = 0 if settings.dask_scheduler else settings.max_trainings
    needed_mb = BOT_MEMORY_MB + settings.model_memory_mb + trainings * TRAINING_MEMORY_MB
    available_mb = psutil.virtual_memory().available >> 20
    sentence = f"{available_mb:,} MB are available. The bot needs up to {needed_mb:,}."
    if available_mb < needed_mb:
        sentence += " Lower MODEL_MEMORY_MB or MAX_TRAININGS, or train elsewhere with EXECUTOR."
    return Finding("memory", available_mb >= needed_mb, sentence)


def _training() -> Finding:
    if missing := not_installed():
        sentence = f"/retrain is off. {needs_extra('It', ', '.join(missing), 'train')}"
        return Finding("training", True, sentence)
    return Finding("training", True, "TensorFlow is installed.")


def _health() -> Finding:
    if importlib.util.find_spec("prometheus_client") is None:
        sentence = needs_extra("HEALTH_PORT", "prometheus_client", "metrics")
        return Finding("health", False, sentence)
    return Finding("health", True, "The packages for HEALTH_PORT are installed.")


async def _dask(scheduler: str) -> Finding:
    try:
        from bot.dask.cluster import Cluster
    except ModuleNotFoundError as error:
        return Finding("executor", False, needs_extra("EXECUTOR", error.name, "dask"))
    cluster = Cluster(scheduler)
    try:
        workers = await (await cluster.client()).nthreads()
    except (BotError, OSError):
        sentence = f"Dask cannot be reached at {scheduler}. Start `dask scheduler` there."
        return Finding("executor", False, sentence)
    finally:
        await cluster.close()
    if not workers:
        sentence = f"No worker is connected. Start `dask worker {scheduler}`."
        return Finding("executor", False, sentence)
    return Finding("executor", True, f"Dask at {scheduler}, with {len(workers)} workers.")
