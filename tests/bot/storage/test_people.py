import pytest

from bot.storage.records import JobState
from bot.storage.registry import Registry
from tests.bot.guilds import (
    ADMIN,
    ANN,
    BEN,
    DAY_S,
    GLOBE,
    ROSE,
    Clock,
    make,
    prepare,
    queue,
    rows,
    train,
)


async def test_people_opt_out_and_in(registry: Registry, clock: Clock):
    first = int(clock.now)
    await registry.opt_out(ANN)
    clock.now += DAY_S
    await registry.opt_out(ANN)
    assert await registry.opted_out() == {ANN}
    assert (await registry.kept_about(ANN)).opted_out_at == first
    await registry.opt_in(ANN)
    assert await registry.opted_out() == frozenset()
    assert (await registry.kept_about(ANN)).opted_out_at is None


async def test_jobs_and_models_of_somebody_who_opted_out_are_found(registry: Registry):
    model = await make(registry, GLOBE, "a", ANN, BEN)
    await make(registry, GLOBE, "b", BEN)
    job = await prepare(registry, GLOBE, "c", ANN)
    await prepare(registry, ROSE, "d", BEN)
    assert await registry.jobs_using_opted_out() == ()
    await registry.opt_out(ANN)
    assert await registry.jobs_using_opted_out() == (job,)
    assert await registry.models_using_opted_out() == (model,)
    await registry.opt_in(ANN)
    assert await registry.models_using_opted_out() == ()


async def test_a_models_admins_are_untold_until_they_are_told(registry: Registry):
    untold = await make(registry, GLOBE, "a", ANN)
    await make(registry, GLOBE, "b", BEN)
    await registry.opt_out(ANN)
    assert await registry.untold_models() == (untold,)
    await registry.mark_told(untold.id)
    assert await registry.untold_models() == ()


async def test_a_models_admins_are_told_once_about_each_person(registry: Registry):
    model = await make(registry, GLOBE, "mine", ANN, BEN)
    await registry.opt_out(ANN)
    await registry.mark_told(model.id)
    await registry.opt_in(ANN)
    await registry.opt_out(ANN)
    assert await registry.untold_models() == ()
    await registry.opt_out(BEN)
    assert await registry.untold_models() == (model,)
    await registry.opt_in(BEN)
    assert await registry.untold_models() == ()


async def test_a_person_is_told_what_is_kept_about_them(registry: Registry):
    theirs = await make(registry, ROSE, "a", ANN, BEN)
    also = await make(registry, GLOBE, "b", ANN)
    await make(registry, GLOBE, "c", BEN)
    learning = await queue(registry, GLOBE, "d", ANN)
    kept = await registry.kept_about(ANN)
    assert (kept.models, kept.learning, kept.asked_for) == ((also, theirs), (learning,), ())
    asked_for = (await registry.kept_about(ADMIN)).asked_for
    assert [job.name for job in asked_for] == ["b", "c", "d", "a"]


@pytest.mark.parametrize("end", [JobState.CANCELLED, JobState.FAILED, "deleted"])
async def test_nothing_is_kept_of_authors_when_there_is_no_model(
    registry: Registry, end: JobState | str
):
    if end == "deleted":
        await registry.delete(GLOBE, (await make(registry, GLOBE, "a", ANN)).id)
    else:
        job = await train(registry, GLOBE, "a", ANN)
        await registry.end(GLOBE, job.id, JobState(end), "Why.")
    assert rows(registry, "authors") == 0
