"""A simulated Discord with the bot in it, and people."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import simcord

from bot.client import Bot
from bot.cooldown import Cooldown
from bot.executor import Executor, LoadedModels, LocalExecutor, ModelReference
from bot.inference import Inference
from bot.registry import Registry
from charrnn.store import Model
from tests.bot.guilds import Clock


def bot_with(
    model: Model,
    executor: Executor | None = None,
    cooldown: Cooldown | None = None,
    queue_limit: int = 16,
) -> Bot:
    executor = executor or LocalExecutor(1, LoadedModels(0))
    inference = Inference(executor, batch_limit=8, queue_limit=queue_limit)
    return Bot(inference, ModelReference.of(model.folder), cooldown or Cooldown(0))


@dataclass
class World:
    """One server, one channel, two people."""

    env: simcord.Env
    channel: simcord.ChannelHandle
    alice: simcord.MemberActor
    bob: simcord.MemberActor


@pytest.fixture
def simcord_bot(stateful: Model) -> Bot:
    return bot_with(stateful)


@pytest.fixture
def world(simcord_env: simcord.Env) -> World:
    guild = simcord_env.create_guild("The Globe")
    alice, bob = (guild.add_member(simcord_env.create_user(name)) for name in ("alice", "bob"))
    return World(simcord_env, guild.create_text_channel("general"), alice, bob)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    with Registry(tmp_path / "registry.db", clock, reserved_names=["chat", "Othello"]) as registry:
        yield registry
