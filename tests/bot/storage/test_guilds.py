import pytest

from bot.errors import BotError
from bot.storage.guilds import WORDS_LIMIT
from bot.storage.registry import Registry
from tests.bot.guilds import ANN, CHANNEL, DAY_S, GLOBE, ROSE, Clock, make, queue, rows


async def test_each_guild_has_its_own_words_in_alphabetical_order(registry: Registry):
    assert await registry.add_words(GLOBE, ["b", "a"]) == ["a", "b"]
    assert await registry.add_words(GLOBE, ["c", "a"]) == ["a", "b", "c"]
    await registry.add_words(ROSE, ["d"])
    assert await registry.remove_word(GLOBE, "b") == ["a", "c"]
    assert await registry.words() == {GLOBE: ["a", "c"], ROSE: ["d"]}
    with pytest.raises(BotError, match="not in this server's list"):
        await registry.remove_word(GLOBE, "d")


async def test_a_guild_has_a_limited_number_of_words(registry: Registry):
    full = [f"word {n}" for n in range(WORDS_LIMIT)]
    await registry.add_words(GLOBE, full)
    with pytest.raises(BotError, match="That would make 202 words"):
        await registry.add_words(GLOBE, ["one more", "word 7", "another"])
    assert await registry.words() == {GLOBE: sorted(full)}


async def test_words_are_forgotten_with_their_guild(registry: Registry):
    await registry.add_words(GLOBE, ["a"])
    await registry.add_words(ROSE, ["b"])
    assert await registry.mark_guilds({ROSE}) == (GLOBE,)
    assert await registry.forget_guild(GLOBE) == ()
    assert await registry.words() == {ROSE: ["b"]}


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
