"""Guilds with training jobs and models, as rows of a registry."""

from bot.storage.records import Scores, Source, StoredModel, TextCounts, TrainingJob
from bot.storage.registry import Registry

GLOBE, ROSE = 10, 20  # two guilds
ADMIN, ANN, BEN = 1, 2, 3
CHANNEL = 5
DAY_S = 86_400
SCORES = Scores(
    1.75,
    1.5,
    characters=50_000,
    longest_copied=37,
    voice=0.71,
    standard_error=0.05,
    voice_error=0.06,
)

SOURCE = Source("#general", (CHANNEL,), 10_000)
COUNTS = TextCounts(50_000, 1_000, 3)


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def create(
    registry: Registry,
    guild: int = GLOBE,
    name: str = "mine",
    base: str = "chat",
    base_id: int | None = None,
) -> TrainingJob:
    """A job in READING."""
    return await registry.create_job(
        guild, ADMIN, CHANNEL, name=name, base=base, base_id=base_id, source=SOURCE
    )


async def prepare(
    registry: Registry, guild: int = GLOBE, name: str = "mine", *authors: int
) -> TrainingJob:
    """A job in READY."""
    job = await create(registry, guild, name)
    return await registry.ready(guild, job.id, COUNTS, authors, 60)


async def queue(
    registry: Registry, guild: int = GLOBE, name: str = "mine", *authors: int
) -> TrainingJob:
    """A job in QUEUED."""
    job = await prepare(registry, guild, name, *authors)
    return await registry.enqueue(guild, job.id)


async def train(
    registry: Registry, guild: int = GLOBE, name: str = "mine", *authors: int
) -> TrainingJob:
    """A job in TRAINING. No other job may be queued."""
    await queue(registry, guild, name, *authors)
    job = await registry.start_next()
    assert job
    return job


async def make(
    registry: Registry, guild: int = GLOBE, name: str = "mine", *authors: int
) -> StoredModel:
    """A model. No other job may be queued."""
    job = await train(registry, guild, name, *authors)
    return await registry.finish(guild, job.id, SCORES, 14_000_000)


def rows(registry: Registry, table: str) -> int:
    """How many rows a table has."""
    with registry.database.reading() as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
