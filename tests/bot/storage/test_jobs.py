import asyncio
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.corpus.channel import NAMED_CHANNELS
from bot.errors import BotError
from bot.interactions.markup import listed
from bot.storage.records import (
    NEXT_STATES,
    JobState,
    Shown,
    Source,
    Speed,
    TextCounts,
    TrainingJob,
)
from bot.storage.registry import Registry
from tests.bot.guilds import (
    ADMIN,
    ANN,
    BEN,
    CHANNEL,
    COUNTS,
    GLOBE,
    ROSE,
    SCORES,
    SOURCE,
    Clock,
    create,
    make,
    prepare,
    queue,
    train,
)

# The states through which a new job gets to each state.
WAYS = {
    "reading": "",
    "ready": "ready",
    "queued": "ready queued",
    "training": "ready queued training",
    "interrupted": "ready queued interrupted",
    "finished": "ready queued training finished",
    "failed": "failed",
    "cancelled": "cancelled",
}


async def test_a_new_job_keeps_what_was_asked_for(registry: Registry, clock: Clock):
    job = await create(registry)
    assert job == TrainingJob(
        id=1,
        guild_id=GLOBE,
        admin_id=ADMIN,
        channel_id=CHANNEL,
        message_id=None,
        name="mine",
        base="chat",
        base_id=None,
        source=SOURCE,
        counts=None,
        estimate_s=None,
        state=JobState.READING,
        created_at=int(clock.now),
        queued_at=None,
        ready_at=None,
        ended_at=None,
        ending=None,
        shown=Shown.NOT_YET,
    )
    assert await registry.job(GLOBE, job.id) == job
    assert job.folder == f"models/{GLOBE}/1"


@pytest.mark.parametrize(
    ("channels", "says", "stem"),
    [
        (["#Games and Fun"], "#Games and Fun", "Games and Fun"),
        (["#general", "#memes"], "#general and #memes", "general"),
        (["#general", "#memes", "#art"], "#general, #memes and 1 more", "general"),
    ],
)
async def test_a_job_learns_from_one_channel_or_several(
    registry: Registry, channels: list[str], says: str, stem: str
):
    source = Source(listed(channels, NAMED_CHANNELS), tuple(range(len(channels))), 10_000)
    assert (str(source), source.stem) == (f"{says}, at most the newest 10,000 messages", stem)
    job = await registry.create_job(GLOBE, ADMIN, CHANNEL, name="a", base="chat", source=source)
    assert (await registry.job(GLOBE, job.id)).source == source


async def test_a_ready_job_keeps_its_counts_estimate_and_authors(registry: Registry):
    job = await create(registry)
    counts = TextCounts(50_000, 1_000, 3, left_out=(("as commands", 20), ("by bots", 7)))
    ready = await registry.ready(GLOBE, job.id, counts, [ANN], 60)
    changed = {"counts": counts, "estimate_s": 60, "ready_at": job.created_at}
    assert ready == replace(job, state=JobState.READY, **changed)
    assert (await registry.kept_about(ANN)).learning == (ready,)


async def test_a_job_says_when_and_why_its_state_changed(registry: Registry, clock: Clock):
    job = await create(registry)
    clock.now += 1
    await registry.ready(GLOBE, job.id, COUNTS, (), 60)
    clock.now += 1
    await registry.enqueue(GLOBE, job.id)
    clock.now += 1
    await registry.start_next()
    clock.now += 1
    job = await registry.end(GLOBE, job.id, JobState.FAILED, "The text was too short.")
    times = (job.ready_at, job.queued_at, job.ended_at)
    assert times == tuple(job.created_at + seconds for seconds in (1, 2, 4))
    assert job.ending == "The text was too short."
    assert await registry.job(GLOBE, job.id) == job


async def move(registry: Registry, job: TrainingJob, state: str) -> TrainingJob:
    match state:
        case "ready":
            await registry.ready(GLOBE, job.id, COUNTS, (), 60)
        case "queued":
            await registry.enqueue(GLOBE, job.id)
        case "training":
            await registry.start_next()
        case "finished":
            await registry.finish(GLOBE, job.id, SCORES, 1)
        case _:
            await registry.end(GLOBE, job.id, JobState(state), "Why.")
    return await registry.job(GLOBE, job.id)


@pytest.mark.parametrize("before", WAYS)
@pytest.mark.parametrize("after", [s for s in WAYS if s not in ("reading", "training")])
async def test_a_job_changes_only_to_a_state_that_may_follow(
    registry: Registry, before: str, after: str
):
    job = await create(registry)
    for state in WAYS[before].split():
        job = await move(registry, job, state)
    assert job.state == before
    if after in NEXT_STATES[job.state]:
        assert (await move(registry, job, after)).state == after
    else:
        with pytest.raises(BotError, match=f"marked as {before}"):
            await move(registry, job, after)
        assert await registry.job(GLOBE, job.id) == job


async def test_a_job_is_not_queued_again_while_it_trains(registry: Registry):
    job = await train(registry)
    with pytest.raises(BotError, match="marked as training"):
        await registry.enqueue(GLOBE, job.id)


async def test_a_guild_has_one_active_job(registry: Registry):
    first = await create(registry)
    await create(registry, ROSE)
    with pytest.raises(BotError, match="already training mine"):
        await create(registry, name="other")
    await registry.end(GLOBE, first.id, JobState.CANCELLED, "Why.")
    await create(registry, name="other")


async def test_a_job_is_not_resumed_beside_another(registry: Registry):
    job = await train(registry)
    await registry.end(GLOBE, job.id, JobState.INTERRUPTED, "Why.")
    other = await create(registry, name="other")
    with pytest.raises(BotError, match="already training other"):
        await registry.enqueue(GLOBE, job.id)
    await registry.end(GLOBE, other.id, JobState.CANCELLED, "Why.")
    assert (await registry.enqueue(GLOBE, job.id)).ended_at is None


async def test_a_job_is_not_resumed_under_a_name_that_was_taken(registry: Registry):
    job = await train(registry)
    await registry.end(GLOBE, job.id, JobState.INTERRUPTED, "Why.")
    await make(registry, name="Mine")
    with pytest.raises(BotError, match="already has a model mine"):
        await registry.enqueue(GLOBE, job.id)


async def test_jobs_start_in_the_order_in_which_they_were_queued(registry: Registry, clock: Clock):
    jobs = [await prepare(registry, guild) for guild in (1, 2, 3)]
    order = [jobs[2], jobs[0], jobs[1]]
    for job in order:
        clock.now += 1
        await registry.enqueue(job.guild_id, job.id)
    assert [job.id for job in await registry.jobs_to_show()] == [job.id for job in order]
    for job in order:
        assert await registry.start_next() == await registry.job(job.guild_id, job.id)
    assert await registry.start_next() is None


async def test_a_job_that_was_training_when_the_bot_ended_is_next(registry: Registry, clock: Clock):
    job = await train(registry)
    clock.now += 1
    await queue(registry, ROSE)
    requeued = await registry.requeue(GLOBE, job.id)
    assert (requeued.state, requeued.ended_at) == (JobState.QUEUED, None)
    assert (await registry.start_next()).id == job.id


async def test_a_resumed_job_keeps_its_place(registry: Registry, clock: Clock):
    job = await train(registry)
    clock.now += 1
    await queue(registry, ROSE)
    await registry.end(GLOBE, job.id, JobState.INTERRUPTED, "Why.")
    clock.now += 1
    resumed = await registry.enqueue(GLOBE, job.id)
    assert (await registry.jobs_to_show())[0] == resumed


async def test_a_job_is_shown_in_another_message(registry: Registry):
    job = await registry.show_in(GLOBE, (await prepare(registry)).id, 6, 700)
    assert (job.channel_id, job.message_id) == (6, 700)
    assert await registry.job(GLOBE, job.id) == job


async def test_an_end_is_to_be_shown_until_it_was_shown(registry: Registry):
    job = await prepare(registry)
    ended = await registry.end(GLOBE, job.id, JobState.CANCELLED, "Why.")
    other = await create(registry, ROSE)
    assert await registry.jobs_to_show() == (ended, other)
    assert await registry.count_jobs() == {JobState.CANCELLED: 1, JobState.READING: 1}
    await registry.mark_shown(GLOBE, job.id)
    assert await registry.jobs_to_show() == (other,)
    assert await registry.count_jobs() == {JobState.READING: 1}


async def test_a_job_that_is_resumed_while_its_end_is_shown_stays_to_be_shown(registry: Registry):
    job = await train(registry)
    await registry.end(GLOBE, job.id, JobState.INTERRUPTED, "Why.")
    resumed = await registry.enqueue(GLOBE, job.id)
    await registry.mark_shown(GLOBE, job.id)
    assert await registry.jobs_to_show() == (resumed,)


async def test_unfinished_jobs_survive_a_restart(tmp_path: Path):
    with closing(Registry(tmp_path / "registry.db")) as registry:
        job = await train(registry, 1)
        interrupted = await registry.end(1, job.id, JobState.INTERRUPTED, "Why.")
        await make(registry, 2)
        training = await train(registry, 3)
        jobs = (interrupted, training, await queue(registry, 4), await prepare(registry, 5))
    with closing(Registry(tmp_path / "registry.db")) as registry:
        assert await registry.unfinished() == jobs


async def test_a_job_has_the_authors_of_its_base_from_the_start(registry: Registry):
    base = await make(registry, GLOBE, "base", ANN, BEN)
    job = await create(registry, name="next", base="base", base_id=base.id)
    assert (await registry.kept_about(BEN)).learning == (job,)
    ready = await registry.ready(GLOBE, job.id, COUNTS, [ANN], 60)
    await registry.delete(GLOBE, base.id)
    for author in (ANN, BEN):
        assert (await registry.kept_about(author)).learning == (ready,)


async def test_an_interrupted_job_keeps_its_authors(registry: Registry):
    job = await train(registry, GLOBE, "a", ANN)
    job = await registry.end(GLOBE, job.id, JobState.INTERRUPTED, "Why.")
    assert (await registry.kept_about(ANN)).learning == (job,)
    await registry.enqueue(GLOBE, job.id)
    await registry.start_next()
    model = await registry.finish(GLOBE, job.id, SCORES, 1)
    assert (await registry.kept_about(ANN)).models == (model,)


async def test_requests_at_the_same_time_make_one_job_and_start_it_once(registry: Registry):
    names = (f"model-{number}" for number in range(16))
    asked = [create(registry, name=name) for name in names]
    made = await asyncio.gather(*asked, return_exceptions=True)
    [job] = [job for job in made if isinstance(job, TrainingJob)]
    await registry.ready(GLOBE, job.id, COUNTS, (), 60)
    await registry.enqueue(GLOBE, job.id)
    started = await asyncio.gather(*(registry.start_next() for _ in range(16)))
    assert [job.id for job in started if job] == [job.id]


async def test_the_latest_speed_of_the_most_similar_base_is_expected(registry: Registry):
    assert await registry.speed(4_000_000, 1) is None
    await registry.save_speed(4_000_000, 1, Speed(500.0, 8.0))
    await registry.save_speed(4_000_000, 1, Speed(1000.0, 4.0))
    assert await registry.speed(4_000_000, 1) == Speed(1000.0, 4.0)
    assert await registry.speed(8_000_000, 1) == Speed(500.0, 8.0)  # twice the work
    assert await registry.speed(4_000_000, 2) == Speed(1000.0, 4.0)
    await registry.save_speed(4_000_000, 2, Speed(1800.0, 4.0))
    await registry.save_speed(9_000_000, 1, Speed(300.0, 9.0))
    assert await registry.speed(4_000_000, 2) == Speed(1800.0, 4.0)
    assert await registry.speed(9_000_000, 1) == Speed(300.0, 9.0)
    assert await registry.speed(2_000_000, 1) == Speed(2000.0, 2.0)
