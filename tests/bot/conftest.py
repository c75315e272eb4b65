"""A simulated Discord with the bot in it, and people."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import simcord

from bot.client import Bot, Services
from bot.inference.executor import Executor, LocalExecutor
from bot.inference.queue import Inference
from bot.interactions.rate_limits import Cooldown
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from bot.models.server_models import ServerModels
from bot.storage.files import StateFolder
from bot.storage.registry import Registry
from bot.training.service import Retraining
from charrnn.store import Model
from tests.bot.guilds import Clock
from tests.bot.processes import Processes, Start
from tests.bot.theatres import Theatre, open_theatre
from tests.discord_server import DiscordServer

_opened: list[Registry] = []


@pytest.fixture(autouse=True)
def closed_in_the_end() -> Iterator[None]:
    """A simulated Discord leaves its bots without closing them."""
    yield
    while _opened:
        _opened.pop().close()


def bot_with(
    model: Model,
    state: Path,
    executor: Executor | None = None,
    cooldown: Cooldown | None = None,
    queue_limit: int = 16,
    **more: Any,
) -> Bot:
    return Bot(services(model, state, executor, cooldown, queue_limit, **more))


def services(
    model: Model,
    state: Path,
    executor: Executor | None = None,
    cooldown: Cooldown | None = None,
    queue_limit: int = 16,
    **more: Any,
) -> Services:
    """What a bot needs that writes with one model, and trains from it under the name of chat."""
    executor = executor or LocalExecutor(1, LoadedModels(0))
    reference = ModelReference.of(model.folder)
    registry = Registry(state / "registry.db", reserved_names=[reference.name])
    _opened.append(registry)
    folder = StateFolder(state)
    models = ServerModels(registry, folder, {"chat": reference})
    return Services(
        Inference(executor, batch_limit=8, queue_limit=queue_limit),
        folder,
        executor,
        registry,
        models,
        Retraining(registry, executor, models, folder),
        cooldown or Cooldown(0),
        reference,
        **more,
    )


@dataclass
class World:
    """One server, one channel, two people."""

    env: simcord.Env
    guild: simcord.GuildHandle
    channel: simcord.ChannelHandle
    alice: simcord.MemberActor
    bob: simcord.MemberActor


@pytest.fixture
def simcord_bot(stateful: Model, tmp_path: Path) -> Bot:
    return bot_with(stateful, tmp_path)


@pytest.fixture
def world(simcord_env: simcord.Env) -> World:
    guild = simcord_env.create_guild("The Globe")
    alice, bob = (guild.add_member(simcord_env.create_user(name)) for name in ("alice", "bob"))
    return World(simcord_env, guild, guild.create_text_channel("general"), alice, bob)


@pytest.fixture
def globe(simcord_env: simcord.Env, has: Services, tmp_path: Path) -> Theatre:
    """A server of a bot whose services a test gives, as `has`."""
    return open_theatre(simcord_env, "The Globe", has, tmp_path)


@pytest.fixture
def rose(simcord_env: simcord.Env, has: Services, tmp_path: Path) -> Theatre:
    return open_theatre(simcord_env, "The Rose", has, tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    with Registry(tmp_path / "registry.db", clock, reserved_names=["chat", "Othello"]) as registry:
        yield registry


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Where the corpus is to be, and nothing else."""
    (tmp_path / "job").mkdir()
    return tmp_path / "job" / "corpus.txt"


@pytest.fixture
def full_disk(corpus: Path) -> Path:
    """A corpus that there is no room for."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    corpus.symlink_to(full)
    return corpus


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as server:
        yield server


@pytest.fixture
async def start(discord: DiscordServer, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the bot as a process beside `discord`, which ends with the test."""
    async with Processes(discord.api, tmp_path / "state") as processes:
        yield processes.start
