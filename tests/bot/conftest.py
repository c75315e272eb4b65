"""A simulated Discord with the bot in it, and people."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import simcord
from discord.http import Route

from bot.client import Bot
from bot.inference.executor import Executor, LocalExecutor
from bot.inference.queue import Inference
from bot.inference.writer import Writer
from bot.interactions.rate_limits import Cooldown
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from bot.models.server_models import ServerModels
from bot.privacy import Privacy
from bot.services import Services
from bot.storage.files import StateFolder
from bot.storage.registry import Registry
from bot.training.process import StartTraining
from bot.training.service import TrainingService
from bot.words.lists import NeverSaid
from charrnn.store import Model
from tests.bot.guilds import Clock
from tests.bot.processes import Processes, Start
from tests.bot.servers import Server, create_server
from tests.bot.stage import MESSAGES, Stage, World
from tests.bot.trainings import FakeTrainings
from tests.discord_server import DiscordServer

_opened: list[Registry] = []


@pytest.fixture(autouse=True)
def close_registries() -> Iterator[None]:
    """The simulated Discord does not close its bots."""
    yield
    while _opened:
        _opened.pop().close()


def virtual_time() -> float:
    """In seconds; `env.advance_time` moves it on. A simulated Discord replaces time.monotonic."""
    return time.monotonic()


def bot_with(model: Model, state: Path, **options: Any) -> Bot:
    return Bot(services(model, state, **options))


def services(
    model: Model,
    state: Path,
    *,
    registry: Registry | None = None,
    executor: Executor | None = None,
    trainings: StartTraining | None = None,
    cooldown: Cooldown | None = None,
    queue_limit: int = 16,
    mentions_allowed: bool = False,
    channels_allowed: bool = False,
    training_blocked: str | None = None,
    keep_texts: bool = False,
    shutdown_grace_s: float = 20.0,
    forget_after_days: float = 30,
    operators_words: Sequence[str] = (),
    clock: Callable[[], float] = virtual_time,
) -> Services:
    """The services of a bot that writes with `model`, and trains from it under the name chat."""
    executor = executor or LocalExecutor(1, LoadedModels(0))
    reference = ModelReference.of(model.folder)
    if registry is None:
        registry = Registry(state / "registry.db", reserved_names=[reference.name])
        _opened.append(registry)
    files = StateFolder(state)
    models = ServerModels(registry, files, {"chat": reference})
    privacy = Privacy(registry, files, keep_texts=keep_texts)
    never_said = NeverSaid(registry, operators_words)
    training = TrainingService(
        registry,
        privacy,
        files,
        models,
        never_said,
        executor,
        trainings or FakeTrainings(),
        limit=1,
        threads=1,
        keep_texts=keep_texts,
        clock=clock,
    )
    inference = Inference(executor, batch_limit=8, queue_limit=queue_limit)
    return Services(
        inference,
        executor,
        Writer(inference, models, never_said),
        never_said,
        files,
        registry,
        privacy,
        models,
        training,
        cooldown or Cooldown(0),
        reference,
        mentions_allowed=mentions_allowed,
        channels_allowed=channels_allowed,
        training_blocked=training_blocked,
        shutdown_grace_s=shutdown_grace_s,
        forget_after_days=forget_after_days,
        clock=clock,
    )


@pytest.fixture
def trainings() -> FakeTrainings:
    return FakeTrainings()


@pytest.fixture
def service_options() -> dict[str, Any]:
    """For `services`, of the bot in `simcord_env`. Tests that need other services override this."""
    return {}


@pytest.fixture
def bot_services(stateful: Model, tmp_path: Path, service_options: dict[str, Any]) -> Services:
    """The services of the bot in `simcord_env`."""
    return services(stateful, tmp_path, **service_options)


@pytest.fixture
def simcord_bot(bot_services: Services) -> Bot:
    return Bot(bot_services)


@pytest.fixture
def world(simcord_env: simcord.Env) -> World:
    guild = simcord_env.create_guild("The Globe")
    alice, bob = (guild.add_member(simcord_env.create_user(name)) for name in ("alice", "bob"))
    return World(simcord_env, guild, guild.create_text_channel("general"), alice, bob)


@pytest.fixture
def globe(simcord_env: simcord.Env, bot_services: Services, tmp_path: Path) -> Server:
    return create_server(simcord_env, "The Globe", bot_services, tmp_path)


@pytest.fixture
def rose(simcord_env: simcord.Env, bot_services: Services, tmp_path: Path) -> Server:
    return create_server(simcord_env, "The Rose", bot_services, tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    registry = Registry(tmp_path / "registry.db", clock, reserved_names=["chat", "Othello"])
    yield registry
    registry.close()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Where a text file is to be written, in an empty folder."""
    (tmp_path / "job").mkdir()
    return tmp_path / "job" / "corpus.txt"


@pytest.fixture
def full_disk(corpus: Path) -> Path:
    """Where a text file is to be written, on a full disk."""
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
def api(discord: DiscordServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """`discord` as the address to which this process sends its requests."""
    monkeypatch.setattr(Route, "BASE", discord.api)
    return discord.api


@pytest.fixture
async def start(discord: DiscordServer, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the bot as a process beside `discord`, which ends with the test."""
    async with Processes(discord.api, tmp_path / "state") as processes:
        yield processes.start


@pytest.fixture
async def stage(world: World, trainings: FakeTrainings) -> Stage:
    """Bob has written a lot."""
    for n in range(MESSAGES):
        await world.bob.send(world.channel, f"number {n}" + ", so be it" * 20)
    return Stage(world, trainings)
