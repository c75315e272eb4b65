"""What the bot never says, in a simulated Discord."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import simcord

from bot.client import Bot
from bot.errors import ExecutorError
from bot.interactions.reply import Reply
from bot.models.reference import ModelReference
from bot.operations.metrics import Metrics
from bot.services import Services
from charrnn.generation import Generated, Prompt
from tests.bot.servers import Server
from tests.bot.stage import Stage
from tests.bot.trainings import EPOCH, PROGRESS, FakeExecutor, FakeTrainings

pytestmark = pytest.mark.simcord(shard_count=1)


class FoulExecutor(FakeExecutor):
    """Writes something foul for some random seeds, and nothing for others."""

    def __init__(self) -> None:
        self.foul: set[int] = set()
        self.lost: set[int] = set()
        self.seeds: list[str] = []

    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        del model
        self.seeds += [prompt.seed for prompt in prompts]
        if any(prompt.rng_seed in self.lost for prompt in prompts):
            raise ExecutorError
        return [
            Generated(" Thou f o o l, thou FOOL" if p.rng_seed in self.foul else " Thou wit", "")
            for p in prompts
        ]


@pytest.fixture
def executor() -> FoulExecutor:
    return FoulExecutor()


@pytest.fixture
def service_options(executor: FoulExecutor, trainings: FakeTrainings) -> dict[str, Any]:
    return {
        "executor": executor,
        "trainings": trainings,
        "channels_allowed": True,
        "operators_words": ["whale"],
    }


async def say(server: Server, command: str, **options: Any) -> str:
    """What /words says to an admin."""
    result = await server.admin.slash(server.channel, f"words {command}", **options)
    assert result.ephemeral
    return result.response.content


async def write(server: Server, seed: str = "O", **options: Any) -> simcord.InteractionResult:
    return await server.member.slash(server.channel, "write", seed=seed, **options)


async def ask(server: Server, seed: str = "O", **options: Any) -> Reply:
    """What a member gets from /shakespeare."""
    result = await server.member.slash(server.channel, "shakespeare", seed=seed, **options)
    return Reply.parse(result.response.content)


async def test_admins_add_and_remove_words_and_see_the_list(globe: Server):
    assert "no list" in await say(globe, "show")
    added = await say(globe, "add", words="Fool, *bad* phrase")
    assert "I never say that in this server. Its list has 2 words" in added
    listed = "What I never say in this server:\n\\*bad\\* phrase\nfool"
    assert await say(globe, "show") == listed
    assert "not in this server's list" in await say(globe, "remove", word="whale")
    assert await say(globe, "remove", word="FOOL") == "fool is no longer in this server's list."
    assert "fool" not in await say(globe, "show")


async def test_a_long_list_is_shown_as_a_file(globe: Server):
    words = [f"word number {n:03}" for n in range(150)]
    await say(globe, "add", words=",".join(words))
    result = await globe.admin.slash(globe.channel, "words show")
    [file] = result.response.attachments
    assert await file.read() == "\n".join(words).encode()


async def test_words_to_remove_are_offered_to_admins_only(globe: Server):
    await say(globe, "add", words="fool,foot,knave")

    async def offered(who: simcord.MemberActor) -> list[str]:
        choices = await who.autocomplete(globe.channel, "words remove", "word", "foo")
        return [choice["name"] for choice in choices]

    assert await offered(globe.admin) == ["fool", "foot"]
    with pytest.raises(simcord.SetupError):
        await offered(globe.member)


async def test_a_text_with_a_listed_word_is_drawn_again(globe: Server, executor: FoulExecutor):
    await say(globe, "add", words="fool")
    executor.foul = {5, 6, 9}
    reply = await ask(globe, random_seed=5)
    assert (reply.text, reply.rng_seed) == (" Thou wit", 7)
    assert await ask(globe, random_seed=7) == reply
    assert len(executor.seeds) == 4


async def test_a_text_that_has_one_in_every_draw_is_masked(globe: Server, executor: FoulExecutor):
    await say(globe, "add", words="fool")
    executor.foul = set(range(5, 9))
    reply = await ask(globe, random_seed=5)
    assert (reply.text, reply.rng_seed) == (" Thou f ▮ ▮ ▮, thou F▮▮▮", 5)
    assert await ask(globe, random_seed=5) == reply


async def test_a_text_that_cannot_be_drawn_again_is_masked(globe: Server, executor: FoulExecutor):
    await say(globe, "add", words="fool")
    executor.foul, executor.lost = {5}, {6}
    reply = await ask(globe, random_seed=5)
    assert (reply.text, reply.rng_seed) == (" Thou f ▮ ▮ ▮, thou F▮▮▮", 5)


@pytest.mark.usefixtures("globe")
async def test_the_log_and_the_metrics_name_its_commands(simcord_bot: Bot):
    offered = {name for name in simcord_bot.offered() if name.startswith("/words")}
    assert offered == {"/words show", "/words add", "/words remove"}


async def test_redrawn_and_masked_texts_are_counted(
    globe: Server, executor: FoulExecutor, simcord_bot: Bot
):
    metrics = Metrics(simcord_bot)
    assert b"charrnn_redraws_total 0.0" in await metrics.text()
    await say(globe, "add", words="fool")
    executor.foul = {5, 10, 11, 12, 13}
    for random_seed in (5, 10, 20):
        await ask(globe, random_seed=random_seed)
    text = await metrics.text()
    assert b"charrnn_redraws_total 4.0" in text
    assert b"charrnn_masked_texts_total 1.0" in text


async def test_what_would_be_the_same_again_is_masked_at_once(
    globe: Server, executor: FoulExecutor
):
    await say(globe, "add", words="fool")
    executor.foul = {5}
    reply = await ask(globe, random_seed=5, temperature=0)
    assert reply.text.endswith("thou F▮▮▮")
    assert len(executor.seeds) == 1


async def test_the_seed_is_masked_too_and_its_buttons_work(globe: Server, executor: FoulExecutor):
    await say(globe, "add", words="fool")
    result = await write(globe, "O f.o.o.l, **föol**")
    assert Reply.parse(result.response.content).seed == "O f.▮.▮.▮, **f▮▮▮**"
    assert "left out" not in result.response.content
    await globe.member.click(result.response, label="Reroll")
    assert executor.seeds == ["O f.▮.▮.▮, **f▮▮▮**"] * 2


async def test_a_word_that_the_text_completes_is_masked(globe: Server, executor: FoulExecutor):
    await say(globe, "add", words="fool thou")
    executor.foul = {5}
    reply = await ask(globe, "O fool", random_seed=6)
    assert (reply.seed, reply.text) == ("O fool", " ▮▮▮▮ wit")
    assert len(executor.seeds) == 4


async def test_a_list_holds_in_its_own_server_and_the_operators_everywhere(
    globe: Server, rose: Server, executor: FoulExecutor
):
    await say(globe, "add", words="fool")
    executor.foul = {5}
    assert "FOOL" in (await ask(rose, "A fool, a whale", random_seed=5)).text
    assert (await ask(rose, "A fool, a whale")).seed == "A fool, a w▮▮▮▮"
    assert (await ask(globe, "A fool, a whale")).seed == "A f▮▮▮, a w▮▮▮▮"


async def test_a_trainings_progress_and_samples_are_masked(
    stage: Stage, bot_services: Services, executor: FoulExecutor
):
    await bot_services.never_said.add(stage.guild.id, ["fool", "hi all thou"])
    training = await stage.train()
    training.told = [PROGRESS, replace(EPOCH, sample="So be it, fool.")]
    await stage.wait()
    assert "> So be it, f▮▮▮." in stage.text
    executor.foul = {1}
    training.finish()
    await stage.wait(20)
    assert "**h▮ ▮▮▮** ▮▮▮▮ wit" in stage.text
    assert "**I think that** Thou f ▮ ▮ ▮, thou F▮▮▮" in stage.text
