"""/shakespeare and the buttons under its replies, in a simulated Discord."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord

from bot.inference.executor import LocalExecutor
from bot.interactions.permissions import invite_link
from bot.interactions.rate_limits import Cooldown
from bot.interactions.reply import Reply
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from charrnn.generation import Generated, Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from tests.bot.conftest import World, bot_with
from tests.bot.servers import labels

pytestmark = pytest.mark.simcord(shard_count=1)


async def ask(world: World, seed: str = "So be it", **options: Any) -> simcord.InteractionResult:
    return await world.alice.slash(world.channel, "shakespeare", seed=seed, **options)


def shown(result: simcord.InteractionResult) -> Reply:
    return Reply.parse(result.response.content)


def written(model: Model, reply: Reply, seed: str | None = None) -> str:
    """The 500 characters that the model writes with the options that a reply names."""
    seed = reply.seed if seed is None else seed
    prompt = Prompt(seed, 500, Sampling(reply.temperature), reply.rng_seed)
    return generate(model, [prompt])[0].text


def button_states(result: simcord.InteractionResult) -> dict[str, bool]:
    """By label, whether each button can be clicked."""
    [row] = result.response.components
    return {b["label"]: not b.get("disabled", False) for b in row["components"]}


async def test_a_reply_is_the_seed_in_bold_and_500_characters_and_the_options_used(
    world: World, stateful: Model
):
    result = await ask(world, "So be it")
    assert result.response.content.startswith("**So be it\u200b**")
    assert not result.ephemeral
    assert result.response.embeds == []
    reply = shown(result)
    assert reply.seed == "So be it"
    assert reply.text == written(stateful, reply)
    assert (reply.model, reply.temperature) == ("tiny", 0.7)


async def test_the_same_random_seed_gives_the_same_reply(world: World):
    first, second = await ask(world), await ask(world)
    assert shown(first).text != shown(second).text
    again = await ask(world, random_seed=shown(first).rng_seed)
    assert shown(again) == shown(first)


async def test_temperature_zero_is_argmax_whatever_the_random_seed(world: World):
    first, second = await ask(world, temperature=0), await ask(world, temperature=0)
    assert shown(first).text == shown(second).text


async def test_somebody_of_the_play_says_the_words(world: World, stateful: Model):
    result = await ask(world, "So be it", **{"as": "beatrice"})
    assert result.response.content.startswith("**Beatrice:\nSo be it\u200b**")
    assert shown(result).text == written(stateful, shown(result), "Beatrice:\nSo be it")


async def test_buttons_keep_the_speaker(world: World):
    result = await ask(world, "So be it", **{"as": "HERO"})
    again = await world.alice.click(result.response, label="Reroll")
    assert shown(again).seed == "HERO:\nSo be it"


async def test_the_speakers_of_the_play_are_offered_most_frequent_first(world: World):
    offered = await world.alice.autocomplete(world.channel, "shakespeare", "as", "", seed="So")
    assert [choice["name"] for choice in offered] == ["HERO", "Beatrice", "FIRST LORD"]
    found = await world.alice.autocomplete(world.channel, "shakespeare", "as", "lor", seed="So")
    assert [choice["name"] for choice in found] == ["FIRST LORD"]


async def test_an_unknown_speaker_is_refused_with_similar_ones(world: World):
    refusal = await ask(world, "So be it", **{"as": "Beatrix"})
    assert refusal.ephemeral
    assert refusal.response.content == (
        "tiny knows no speaker called 'Beatrix'. Did you mean Beatrice?"
    )


async def test_the_name_of_an_unknown_speaker_cannot_be_markup(world: World):
    refusal = await ask(world, "So be it", **{"as": "**Puck** <@1>"})
    assert "called '\\*\\*Puck\\*\\* \\<@\u200b1>'. Its most" in refusal.response.content


async def test_a_private_reply_is_shown_to_nobody_else(world: World):
    result = await ask(world, private=True)
    assert result.ephemeral
    assert len(shown(result).text) > 400
    assert world.channel.history(viewer=world.bob) == []


async def test_characters_of_the_seed_outside_the_vocabulary_are_named(world: World):
    result = await ask(world, "So ☃ be it")
    assert result.response.content.endswith(" · left out: ☃")


async def test_reroll_replaces_the_text_by_another_one(world: World, stateful: Model):
    result = await ask(world)
    before = shown(result)
    await world.alice.click(result.response, label="Reroll")
    after = shown(result)
    assert after.rng_seed != before.rng_seed
    assert after.text == written(stateful, replace(before, rng_seed=after.rng_seed))


async def test_continue_continues_the_text_in_a_new_message(world: World, stateful: Model):
    result = await ask(world)
    before = shown(result)
    more = await world.alice.click(result.response, label="Continue")
    assert shown(result) == before
    whole = (before.seed + before.text).rstrip()
    assert whole.endswith(shown(more).seed)
    assert shown(more).text == written(stateful, shown(more), seed=whole)


async def test_continue_under_a_private_reply_is_private(world: World):
    result = await ask(world, private=True)
    assert (await world.alice.click(result.response, label="Continue")).ephemeral


async def test_show_everyone_posts_a_private_reply_once(world: World):
    result = await ask(world, private=True)
    before = shown(result)
    four = ["Reroll", "Continue", "Hotter", "Colder"]
    assert labels(result.response) == [*four, "Show everyone"]
    shared = await world.alice.click(result.response, label="Show everyone")
    assert labels(result.response) == four
    [public] = world.channel.history(viewer=world.bob)
    assert Reply.parse(public.content) == before
    assert labels(public) == four
    await world.alice.click(public, label="Reroll")
    [rerolled] = world.channel.history(viewer=world.bob)
    assert Reply.parse(rerolled.content).rng_seed != before.rng_seed
    assert shown(result) == before
    assert shared.acknowledged


async def test_show_everyone_shows_nothing_that_was_listed_since(world: World):
    result = await ask(world, "Fool, so be it", private=True)
    never_said = world.env.bot.services.never_said
    await never_said.add(world.guild.id, ["fool"])
    await world.alice.click(result.response, label="Show everyone")
    [public] = world.channel.history(viewer=world.bob)
    assert Reply.parse(public.content).seed == "F▮▮▮, so be it"
    assert Reply.parse(public.content).text == shown(result).text


async def test_another_text_in_a_private_reply_can_be_shown_too(world: World):
    result = await ask(world, private=True)
    for label in ("Show everyone", "Reroll", "Show everyone"):
        await world.alice.click(result.response, label=label)
    more = await world.alice.click(result.response, label="Continue")
    assert labels(more.response)[-1] == "Show everyone"
    assert len(world.channel.history(viewer=world.bob)) == 2


async def test_write_takes_a_random_seed(world: World):
    first = await world.alice.slash(world.channel, "write", seed="So be it")
    seed = shown(first).rng_seed
    again = await world.alice.slash(world.channel, "write", seed="So be it", random_seed=seed)
    assert shown(again) == shown(first)


async def test_a_reply_shows_the_longest_seed_that_discord_lets_through(world: World):
    longest = "So be it, and so on. " * 61 + "a" * 19
    assert shown(await ask(world, longest)).seed == longest
    with pytest.raises(simcord.OptionError, match="at most 1300 characters"):
        await ask(world, longest + "a")


async def test_hotter_and_colder_change_the_temperature_and_keep_the_random_seed(world: World):
    result = await ask(world)
    before = shown(result)
    for label, temperature in (("Hotter", 0.9), ("Colder", 0.7), ("Colder", 0.5)):
        await world.alice.click(result.response, label=label)
        assert shown(result).temperature == temperature
        assert shown(result).rng_seed == before.rng_seed


@pytest.mark.parametrize(
    ("temperature", "label"), [(2.0, "Hotter"), (0.0, "Colder"), (1.9, ""), (0.1, "")]
)
async def test_hotter_and_colder_are_disabled_at_the_limits_of_the_temperature(
    world: World, temperature: float, label: str
):
    states = button_states(await ask(world, temperature=temperature))
    assert states == {name: name != label for name in ("Reroll", "Continue", "Hotter", "Colder")}


async def test_buttons_work_after_a_restart(world: World, stateful: Model, tmp_path: Path):
    result = await ask(world)
    before = shown(result)
    await world.env.restart_bot(bot_with(stateful, tmp_path))
    for label in ("Reroll", "Hotter"):
        await world.alice.click(result.response, label=label)
    assert shown(result).text != before.text
    assert shown(result).temperature == 0.9


@pytest.mark.parametrize("label", ["Reroll", "Continue", "Hotter", "Colder"])
async def test_a_button_of_somebody_else_does_nothing_but_say_so(world: World, label: str):
    result = await ask(world)
    before = shown(result)
    refusal = await world.bob.click(result.response, label=label)
    assert refusal.ephemeral
    assert refusal.response.content.startswith(f"These buttons are <@{world.alice.id}>'s.")
    assert shown(result) == before


NEEDED = (
    *("view_channel", "send_messages", "send_messages_in_threads"),
    *("embed_links", "attach_files", "read_message_history"),
)

HOSTILE = (
    "@everyone <@1> <#2> </x:3> ||a|| **b** __c__ ```d``` > e https://evil.example "
    "discord.gg/evil [f](http://evil.example) <t:1> <:g:4> \u202e\n# h\n-# i"
)


async def test_a_hostile_seed_can_neither_ping_nor_break_the_reply(world: World):
    mark = len(world.env.http_requests)
    result = await ask(world, HOSTILE)
    edit = world.env.http_requests[mark:][-1].json
    assert edit["allowed_mentions"] == {"parse": []}
    assert shown(result).seed == HOSTILE.replace("\u202e", "")
    assert await markup(world, result.response.id) == HARMLESS


async def test_a_hostile_text_can_neither_ping_nor_break_the_reply(world: World):
    reply = Reply("So", HOSTILE, "tiny", 0.7, 5).render()
    message = await world.env.bot.get_channel(world.channel.id).send(reply)
    assert world.env.http_requests[-1].json["allowed_mentions"] == {"parse": []}
    assert await markup(world, message.id) == HARMLESS


HARMLESS = {"paragraph", "inline", "text", "break", "strong_open", "strong_close", "subtext"}


async def markup(world: World, message_id: int) -> set[str]:
    """The kinds of markup that Discord's client finds in a message."""
    preview = world.env.preview(world.channel, viewers=[world.alice], layout="channel")
    async with preview as page:
        message = (await page.snapshot())["messages"][str(message_id)]
    return token_kinds(message["content_tokens"])


def token_kinds(tokens: Any) -> set[str]:
    """The kinds of markup in a parsed message."""
    if isinstance(tokens, dict):
        return {tokens["type"]} | token_kinds(list(tokens.values())) if "type" in tokens else set()
    if isinstance(tokens, list):
        return set().union(*(token_kinds(token) for token in tokens))
    return set()


class TestAcknowledgement:
    class Witness(LocalExecutor):
        """An executor that notes the bot's requests to Discord up to the moment it gets work."""

        env: simcord.Env
        seen: list[Any]

        async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
            self.seen = [entry.json for entry in self.env.http_requests]
            return await super().write(model, prompts)

    @pytest.fixture
    def simcord_bot(self, stateful: Model, tmp_path: Path):
        self.witness = self.Witness(1, LoadedModels(0))
        return bot_with(stateful, tmp_path, executor=self.witness)

    async def test_an_interaction_is_acknowledged_before_anything_is_written(self, world: World):
        self.witness.env = world.env
        mark = len(world.env.http_requests)
        result = await ask(world, private=True)
        assert self.witness.seen[mark:] == [{"type": 5, "data": {"flags": 64}}]
        mark = len(world.env.http_requests)
        await world.alice.click(result.response, label="Reroll")
        assert self.witness.seen[mark:] == [{"type": 6}]


class TestCooldown:
    now = 0.0

    @pytest.fixture
    def simcord_bot(self, stateful: Model, tmp_path: Path):
        return bot_with(stateful, tmp_path, cooldown=Cooldown(10, clock=lambda: self.now))

    async def test_commands_and_buttons_of_a_person_share_a_cooldown(self, world: World):
        result = await ask(world)
        self.now = 7.5
        for refusal in (await ask(world), await world.alice.click(result.response, label="Reroll")):
            assert refusal.ephemeral
            assert "try again in 2.5 seconds" in refusal.response.content
        await world.bob.slash(world.channel, "shakespeare", seed="mine")
        self.now = 10.0
        assert shown(await ask(world)).seed == "So be it"


class TestFullQueue:
    @pytest.fixture
    def simcord_bot(self, stateful: Model, tmp_path: Path):
        return bot_with(stateful, tmp_path, queue_limit=0)

    async def test_a_refusal_names_the_expected_wait(self, world: World):
        refusal = await ask(world)
        assert refusal.ephemeral
        assert "Try again in about 1 second." in refusal.response.content


async def test_the_invite_link_asks_for_what_is_needed(world: World):
    link = invite_link(world.env.bot.application_id)
    assert "scope=bot+applications.commands" in link
    assert f"permissions={discord.Permissions(**dict.fromkeys(NEEDED, True)).value}" in link
