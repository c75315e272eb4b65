import pytest

from bot.errors import BotError
from bot.storage.registry import Registry
from bot.storage.words import WORDS_LIMIT
from tests.bot.guilds import GLOBE, ROSE


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
