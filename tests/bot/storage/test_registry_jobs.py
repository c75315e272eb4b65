from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.errors import BotError
from bot.storage.records import JobState, TrainingJob
from bot.storage.registry import Registry
from tests.bot.guilds import (
    ADMIN,
    CHANNEL,
    GLOBE,
    ROSE,
    SCORES,
    Clock,
    make,
    prepare,
    queue,
    train,
)

# What may become of a job, by what it is.
LEGAL = {
    "preparing": {"queued", "failed", "cancelled"},
    "queued": {"training", "interrupted", "failed", "cancelled"},
    "training": {"finished", "interrupted", "failed", "cancelled"},
    "interrupted": {"queued", "failed", "cancelled"},
    "finished": set(),
    "failed": set(),
    "cancelled": set(),
}
# How a new job comes to be so.
WAYS = {
    "preparing": [],
    "queued": ["queued"],
    "training": ["queued", "training"],
    "interrupted": ["queued", "interrupted"],
    "finished": ["queued", "training", "finished"],
    "failed": ["failed"],
    "cancelled": ["cancelled"],
}


def test_a_job_is_kept_as_it_was_asked_for(registry: Registry, clock: Clock):
    job = prepare(registry)
    assert job == TrainingJob(
        id=1,
        guild_id=GLOBE,
        admin_id=ADMIN,
        channel_id=CHANNEL,
        message_id=None,
        name="mine",
        base="chat",
        source="#general, the last 10,000 messages",
        source_channel_id=CHANNEL,
        source_messages=10_000,
        source_days=None,
        state=JobState.PREPARING,
        created_at=int(clock.now),
        queued_at=None,
        started_at=None,
        ended_at=None,
        base_id=None,
        ending=None,
        shown=True,
    )
    assert registry.job(GLOBE, job.id) == job
    assert job.folder == f"models/{GLOBE}/1"


def test_a_job_says_when_each_thing_happened_to_it(registry: Registry, clock: Clock):
    job = prepare(registry)
    clock.now += 1
    registry.enqueue(GLOBE, job.id)
    clock.now += 1
    registry.start_next(1)
    clock.now += 1
    job = registry.fail(GLOBE, job.id, "The text was too short.")
    times = (job.queued_at, job.started_at, job.ended_at)
    assert times == tuple(job.created_at + seconds for seconds in (1, 2, 3))
    assert job.ending == "The text was too short."
    assert registry.job(GLOBE, job.id) == job


def move(registry: Registry, job: TrainingJob, state: str) -> TrainingJob:
    moves = {
        "queued": lambda: registry.enqueue(GLOBE, job.id),
        "training": lambda: registry.start_next(1),
        "interrupted": lambda: registry.interrupt(GLOBE, job.id),
        "finished": lambda: registry.finish(GLOBE, job.id, SCORES, 1),
        "failed": lambda: registry.fail(GLOBE, job.id, "Why."),
        "cancelled": lambda: registry.cancel(GLOBE, job.id),
    }
    moves[state]()
    return registry.job(GLOBE, job.id)


@pytest.mark.parametrize("before", LEGAL)
@pytest.mark.parametrize("after", ["queued", "interrupted", "finished", "failed", "cancelled"])
def test_a_job_moves_only_as_is_legal(registry: Registry, before: str, after: str):
    job = prepare(registry)
    for state in WAYS[before]:
        job = move(registry, job, state)
    assert job.state == before
    if after in LEGAL[before]:
        assert move(registry, job, after).state == after
    else:
        with pytest.raises(BotError, match=f"marked as {before}"):
            move(registry, job, after)
        assert registry.job(GLOBE, job.id) == job


def test_a_guild_has_one_active_job(registry: Registry):
    first = prepare(registry)
    prepare(registry, ROSE)
    with pytest.raises(BotError, match="of mine"):
        prepare(registry, name="other")
    registry.cancel(GLOBE, first.id)
    prepare(registry, name="other")


def test_an_interrupted_job_stands_in_nobodys_way_and_waits_for_its_turn(registry: Registry):
    job = train(registry)
    registry.interrupt(GLOBE, job.id)
    other = prepare(registry)
    with pytest.raises(BotError, match="under way already"):
        registry.enqueue(GLOBE, job.id)
    registry.cancel(GLOBE, other.id)
    assert registry.enqueue(GLOBE, job.id).ended_at is None


def test_an_interrupted_job_is_not_resumed_under_a_name_that_was_taken(registry: Registry):
    job = train(registry)
    registry.interrupt(GLOBE, job.id)
    make(registry, name="Mine")
    with pytest.raises(BotError, match="has a model mine already"):
        registry.enqueue(GLOBE, job.id)


def test_jobs_start_in_the_order_they_queued_within_the_limit(registry: Registry, clock: Clock):
    first, second, third = (prepare(registry, guild) for guild in (1, 2, 3))
    for job in (third, first, second):
        clock.now += 1
        registry.enqueue(job.guild_id, job.id)
    assert [job.id for job in registry.queue()] == [third.id, first.id, second.id]
    assert [registry.start_next(2).id for _ in range(2)] == [third.id, first.id]
    assert registry.start_next(2) is None
    registry.cancel(third.guild_id, third.id)
    assert registry.start_next(2).id == second.id
    assert registry.queue() == ()


def test_a_resumed_job_keeps_its_place(registry: Registry, clock: Clock):
    job = train(registry)
    clock.now += 1
    queue(registry, ROSE)
    registry.interrupt(GLOBE, job.id)
    clock.now += 1
    registry.enqueue(GLOBE, job.id)
    assert registry.queue()[0].id == job.id


def test_progress_moves_to_another_message(registry: Registry):
    job = registry.show_in(GLOBE, prepare(registry).id, 6, 700)
    assert (job.channel_id, job.message_id) == (6, 700)
    assert registry.job(GLOBE, job.id) == job


def test_after_a_restart_what_was_under_way_is_known(tmp_path: Path):
    with Registry(tmp_path / "registry.db") as registry:
        interrupted = registry.interrupt(1, train(registry, 1).id)
        make(registry, 2)
        jobs = (interrupted, train(registry, 3), queue(registry, 4), prepare(registry, 5))
    with Registry(tmp_path / "registry.db") as registry:
        assert registry.unfinished() == jobs


def test_of_many_threads_one_gets_the_guild(registry: Registry):
    def ask(number: int) -> bool:
        try:
            prepare(registry, name=f"model-{number}")
        except BotError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(32))) == 1


def test_many_threads_do_not_start_more_than_the_limit(registry: Registry):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda guild: queue(registry, guild), range(1, 33)))
        attempts = list(threads.map(lambda _: registry.start_next(3), range(32)))
    started = [job.id for job in attempts if job]
    assert len(started) == len(set(started)) == 3
    assert len(registry.queue()) == 29
