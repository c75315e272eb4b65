"""Guilds whose admins train models."""

from bot.storage.records import Scores, StoredModel, TrainingJob
from bot.storage.registry import Registry

GLOBE, ROSE = 10, 20  # two guilds
ADMIN, ANN, BEN = 1, 2, 3
CHANNEL = 5
DAY_S = 86_400
SCORES = Scores(nats_before=1.75, nats_after=1.5, characters=50_000, longest_copied=37)


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def prepare(registry: Registry, guild: int = GLOBE, name: str = "mine") -> TrainingJob:
    return registry.create_job(
        guild,
        ADMIN,
        CHANNEL,
        name=name,
        base="chat",
        source="#general, the last 10,000 messages",
        source_channel_id=CHANNEL,
        source_messages=10_000,
    )


def queue(registry: Registry, guild: int = GLOBE, name: str = "mine", *authors: int) -> TrainingJob:
    return registry.enqueue(guild, prepare(registry, guild, name).id, authors)


def train(registry: Registry, guild: int = GLOBE, name: str = "mine", *authors: int) -> TrainingJob:
    """A job in TRAINING, when no other waits."""
    queue(registry, guild, name, *authors)
    job = registry.start_next(100)
    assert job
    return job


def make(registry: Registry, guild: int = GLOBE, name: str = "mine", *authors: int) -> StoredModel:
    return registry.finish(guild, train(registry, guild, name, *authors).id, SCORES, 14_000_000)
