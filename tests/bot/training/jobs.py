"""Training jobs on their way from a text to a model, as a test needs them."""

from collections.abc import Callable
from pathlib import Path

from bot.services import Services
from bot.storage.records import JobState, Source
from bot.training.job import Job
from bot.training.service import TrainingService
from tests.bot.guilds import ADMIN, ANN, CHANNEL, GLOBE
from tests.bot.trainings import FakeTraining, FakeTrainings, reading

Start = Callable[..., Services]


async def create(
    training: TrainingService, guild: int = GLOBE, name: str = "mine", base: str = "chat"
) -> Job:
    return await training.create(
        guild, ADMIN, CHANNEL, name=name, base=base, source=Source("#general", (CHANNEL,), 10_000)
    )


async def ready(training: TrainingService, guild: int = GLOBE, author: int = ANN) -> Job:
    job = await create(training, guild)
    await training.prepare(job.row, reading(1000, author))
    return await training.job(guild, job.id)


async def queued(training: TrainingService, guild: int = GLOBE, author: int = ANN) -> Job:
    job = await ready(training, guild, author)
    await training.enqueue(guild, job.id)
    return await training.job(guild, job.id)


async def running(
    training: TrainingService, trainings: FakeTrainings, guild: int = GLOBE
) -> tuple[Job, FakeTraining]:
    job = await queued(training, guild)
    await training.tick()
    return job, trainings.started[-1]


async def finished(
    training: TrainingService, trainings: FakeTrainings, guild: int = GLOBE
) -> tuple[Job, FakeTraining]:
    """A job with its model and its samples."""
    job, process = await running(training, trainings, guild)
    process.finish()
    return await sampled(training, job), process


async def sampled(training: TrainingService, job: Job) -> Job:
    for _ in range(10):
        await training.tick()
        now = await training.job(job.row.guild_id, job.id)
        if now.over:
            return now
    raise AssertionError("the job has not ended")


async def state_of(training: TrainingService, job: Job) -> tuple[JobState, str | None]:
    row = (await training.job(job.row.guild_id, job.id)).row
    return row.state, row.ending


def files(state: Path) -> set[str]:
    """All files in the state folder but the registry's."""
    found = {str(path.relative_to(state)) for path in state.rglob("*") if path.is_file()}
    return found - {f"registry.db{end}" for end in ("", "-shm", "-wal")}


async def from_own_base(training: TrainingService, trainings: FakeTrainings) -> tuple[Job, Job]:
    """The guild's model mine, and a new job that starts from it."""
    made, _ = await finished(training, trainings)
    return made, await create(training, name="second", base="mine")
