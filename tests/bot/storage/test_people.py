import pytest

from bot.storage.records import JobState
from bot.storage.registry import Registry
from tests.bot.guilds import (
    ADMIN,
    ANN,
    BEN,
    CHANNEL,
    DAY_S,
    GLOBE,
    ROSE,
    Clock,
    make,
    prepare,
    queue,
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


async def test_a_guild_is_forgotten_some_time_after_it_removed_the_bot(
    registry: Registry, clock: Clock
):
    await registry.mark_removed(GLOBE)
    clock.now += DAY_S
    await registry.mark_removed(GLOBE)
    await registry.mark_removed(ROSE)
    assert await registry.guilds_to_forget(DAY_S + 1) == ()
    assert await registry.guilds_to_forget(DAY_S) == (GLOBE,)
    await registry.mark_present(GLOBE)
    assert await registry.guilds_to_forget(DAY_S) == ()


async def test_marking_guilds_finds_those_that_are_gone_and_those_that_are_back(
    registry: Registry, clock: Clock
):
    await make(registry, GLOBE)
    await make(registry, ROSE)
    assert await registry.mark_guilds({GLOBE, 30}) == (ROSE,)
    clock.now += DAY_S
    assert await registry.mark_guilds({30}) == (GLOBE, ROSE)
    assert await registry.guilds_to_forget(DAY_S) == (ROSE,)
    assert await registry.mark_guilds({ROSE}) == (GLOBE,)
    assert await registry.guilds_to_forget(0) == (GLOBE,)


async def test_mentions_are_answered_where_an_admin_has_said_so(registry: Registry):
    assert not (await registry.mentions(GLOBE)).answered_in(CHANNEL)
    await registry.answer_mentions(GLOBE, CHANNEL, True)
    mentions = await registry.mentions(GLOBE)
    assert mentions.answered_in(CHANNEL) and not mentions.answered_in(CHANNEL + 1)
    assert not (await registry.mentions(ROSE)).answered_in(CHANNEL)


async def test_a_channel_is_an_exception_until_the_whole_guild_is_switched(registry: Registry):
    await registry.answer_mentions(GLOBE, None, True)
    await registry.answer_mentions(GLOBE, CHANNEL, False)
    mentions = await registry.mentions(GLOBE)
    assert mentions.answered_in(CHANNEL + 1) and not mentions.answered_in(CHANNEL)
    for answered in (True, False):
        await registry.answer_mentions(GLOBE, None, answered)
        assert (await registry.mentions(GLOBE)).answered_in(CHANNEL) is answered


async def test_a_guild_of_which_only_mentions_are_kept_is_forgotten_too(registry: Registry):
    await registry.answer_mentions(GLOBE, None, True)
    await registry.answer_mentions(ROSE, None, True)
    assert await registry.mark_guilds({ROSE}) == (GLOBE,)
    assert await registry.forget_guild(GLOBE) == ()
    assert rows(registry, "mentions") == 1


async def test_everything_about_a_guild_is_forgotten_and_nothing_about_others(registry: Registry):
    kept = await registry.use(ROSE, (await make(registry, ROSE, "a", ANN)).id)
    model = await registry.use(GLOBE, (await make(registry, GLOBE, "a", ANN)).id)
    job = await queue(registry, GLOBE, "b", ANN)
    await registry.mark_removed(GLOBE)
    await registry.opt_out(ANN)
    assert await registry.forget_guild(GLOBE) == (model.id, job.id)
    assert (await registry.kept_about(ANN)).models == (kept,)
    for table in ("jobs", "models", "activations", "authors", "opt_outs"):
        assert rows(registry, table) == 1
    assert rows(registry, "removals") == 0


async def test_a_guild_that_invites_the_bot_again_is_not_forgotten(registry: Registry):
    model = await make(registry)
    await registry.mark_removed(GLOBE)
    await registry.mark_present(GLOBE)
    assert await registry.forget_guild(GLOBE) is None
    assert await registry.models(GLOBE) == (model,)


def rows(registry: Registry, table: str) -> int:
    with registry.database.reading() as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
