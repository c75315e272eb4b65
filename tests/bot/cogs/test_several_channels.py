"""/retrain from several channels, as an admin meets it in a simulated Discord."""

from pathlib import Path
from typing import Any

import pytest
import simcord
from discord import PermissionOverwrite

from bot.client import Bot
from bot.cogs.retrain import UNDER_WAY
from bot.services import Services
from bot.storage.records import JobState, Source
from charrnn.store import Model
from tests.bot.conftest import services
from tests.bot.servers import press, told
from tests.bot.stage import MESSAGES, Stage
from tests.bot.trainings import FakeExecutor, FakeTrainings

pytestmark = pytest.mark.simcord(shard_count=1)


@pytest.fixture
def service_options(trainings: FakeTrainings) -> dict[str, Any]:
    return {"executor": FakeExecutor(), "trainings": trainings, "channels_allowed": True}


@pytest.fixture
async def memes(stage: Stage) -> simcord.ChannelHandle:
    """Another channel, in which Bob writes later."""
    return await written_in(stage, "memes", 20)


async def written_in(stage: Stage, name: str, messages: int) -> simcord.ChannelHandle:
    channel = stage.guild.create_text_channel(name)
    for n in range(messages):
        await stage.bob.send(channel, f"{name} {n}" + ", so be it" * 20)
    return channel


async def ask(stage: Stage, **options: Any) -> simcord.InteractionResult:
    """Use the command without a channel."""
    return await stage.admin.slash(stage.channel, "retrain", **options)


async def choose(stage: Stage, *channels: simcord.ChannelHandle) -> None:
    await stage.admin.select(stage.message, channels)


def select(stage: Stage) -> Any:
    """The select in the last message."""
    rows: Any = stage.message.components
    return rows[0].children[0]


def chosen(stage: Stage) -> list[int]:
    return [value.id for value in select(stage).default_values]


async def text(stage: Stage) -> list[str]:
    """The lines that are learnt from, without what they have in common."""
    await stage.click("Train")
    await stage.wait()
    lines = stage.trainings.started[-1].command.text.read_text("utf-8").splitlines()
    return [line.partition(",")[0] for line in lines]


async def test_the_channel_where_it_was_used_is_chosen_at_first(stage: Stage):
    await ask(stage)
    assert stage.message.content.startswith("Which channels shall I learn from? Choose up to 25")
    assert chosen(stage) == [stage.channel.id]
    assert (select(stage).min_values, select(stage).max_values) == (1, 25)
    await stage.click("Count")
    assert (stage.title, stage.message.content) == ("Train general?", "")
    assert r"From \#general, at most the newest 10,000 messages, starting from chat." in stage.text
    assert "by channel" not in stage.text


async def test_several_channels_are_counted_one_by_one(stage: Stage, memes: simcord.ChannelHandle):
    art = await written_in(stage, "art", 0)
    await ask(stage)
    await choose(stage, memes, stage.channel, art)
    assert chosen(stage) == [memes.id, stage.channel.id, art.id]
    await stage.click("Count")
    assert stage.title == "Train memes?"
    assert stage.text.startswith(r"From \#memes, #general and 1 more, at most the newest 10,000")
    counted = (
        "Messages: 80\nPeople: 1\nMessages by channel: \\#general: 60\n\\#memes: 20\n\\#art: 0\n"
    )
    assert counted in stage.text


async def test_the_newest_messages_of_all_channels_are_learnt_from(
    stage: Stage, memes: simcord.ChannelHandle
):
    await ask(stage, messages=51)  # one of them is the question
    await choose(stage, stage.channel, memes)
    assert "I read the newest 51 messages of all of them together." in stage.message.content
    await stage.click("Count")
    assert "\\#general: 30\n\\#memes: 20" in stage.text
    # One channel after another, but the newest tenth, which is held out, comes last.
    older = [f"number {n}" for n in range(MESSAGES - 30, MESSAGES)]
    assert await text(stage) == older + [f"memes {n}" for n in range(20)]


async def test_the_options_of_the_command_hold_for_the_channels_chosen(
    stage: Stage, memes: simcord.ChannelHandle
):
    await ask(stage, messages=1_000_000, days=3650, base="chat", name="n" * 32)
    await choose(stage, stage.channel, memes)
    assert "1,000,000 messages of the last 3,650 days" in stage.message.content
    await stage.click("Count")
    assert stage.title == f"Train {'n' * 32}?"
    assert r"\#general and #memes, at most the newest 1,000,000 messages of" in stage.text


async def test_a_choice_outlives_a_restart(
    stage: Stage,
    memes: simcord.ChannelHandle,
    stateful: Model,
    tmp_path: Path,
    service_options: dict[str, Any],
):
    await ask(stage, name="mine")
    await choose(stage, stage.channel, memes)
    await stage.env.restart_bot(Bot(services(stateful, tmp_path, **service_options)))
    await stage.click("Count")
    assert stage.title == "Train mine?"
    assert stage.text.startswith(r"From \#general and #memes, ")


async def test_cancel_takes_the_question_away(stage: Stage):
    await ask(stage)
    question = stage.message
    await stage.click("Cancel")
    assert not stage.shows(question)
    await ask(stage)
    assert chosen(stage) == [stage.channel.id]


async def test_a_training_under_way_is_shown_instead_of_the_question(stage: Stage):
    await stage.train()
    assert told(await ask(stage)) == UNDER_WAY
    assert stage.title == "Training mine"


async def test_a_whole_training_names_the_channels(stage: Stage, memes: simcord.ChannelHandle):
    await ask(stage)
    await choose(stage, stage.channel, memes)
    await stage.click("Count")
    await stage.click("Train")
    await stage.wait()
    stage.trainings.started[-1].finish()
    await stage.wait(5)
    assert stage.title == "general is ready"
    assert "Sounds like #general and #memes: 71 % ± 12 %" in stage.text


async def test_a_long_list_of_channels_fits_into_the_message(stage: Stage):
    name = "*" + "ab-" * 33
    channels = [stage.guild.create_text_channel(f"{name[:97]}{n:02}") for n in range(24)]
    await ask(stage)
    await choose(stage, *channels, stage.channel)
    await stage.click("Count")
    assert stage.title.startswith("Train ")
    lines = stage.text.partition("by channel: ")[2].splitlines()
    assert lines[0] == r"\#general: 60"
    assert lines[14:16] == [r"\#\*ab-ab-ab-ab-ab-ab-ab-a…: 0", "10 more: 0"]


class TestRefused:
    async def test_to_everybody_but_the_admin_who_asked(self, stage: Stage):
        roles = [stage.guild.roles["admins"]]
        other = stage.guild.add_member(stage.env.create_user("other"), roles=roles)
        await ask(stage)
        refusal = f"These buttons are <@{stage.admin.id}>'s. Use /retrain yourself."
        assert told(await other.click(stage.message, label="Count")) == refusal
        assert told(await other.select(stage.message, [stage.channel])) == refusal
        assert chosen(stage) == [stage.channel.id]

    async def test_naming_every_channel_that_cannot_be_read(
        self, stage: Stage, memes: simcord.ChannelHandle
    ):
        me, admin = stage.guild.me, stage.admin
        hidden, no_history = PermissionOverwrite(view_channel=False), PermissionOverwrite()
        no_history.read_message_history = False
        create = stage.guild.create_text_channel
        places = [
            create("a", overwrites={me: no_history}),
            create("b", overwrites={me: no_history}),
            create("c", overwrites={me: hidden}),
            create("d", overwrites={admin: no_history}),
        ]
        a, b, c, d = (place.mention for place in places)
        await ask(stage)
        await choose(stage, memes, *places)
        result = await stage.admin.click(stage.message, label="Count")
        assert told(result) == (
            f"To read {a} and {b} I need Read Message History there. To read {c} I need View "
            "Channel there. Allow me that in the channel's settings and try again. "
            f"You may not read {d} yourself."
        )
        await choose(stage, memes, stage.channel)  # the question is still there
        await stage.click("Count")
        assert stage.title == "Train memes?"

    async def test_before_the_question_if_the_name_or_the_base_cannot_be_used(self, stage: Stage):
        assert "Choose another name" in told(await ask(stage, name="tiny"))
        assert "no such model" in told(await ask(stage, base="nothing"))

    async def test_when_a_permission_is_taken_away_in_the_middle(
        self, stage: Stage, memes: simcord.ChannelHandle
    ):
        await ask(stage)
        await choose(stage, stage.channel, memes)
        stage.env.inject_error("GET", f"/channels/{memes.id}/messages", status=403)
        await stage.click("Count")
        assert "Discord does not let me read #memes. I need View Channel and Read" in stage.text


async def learnt_from(stage: Stage, services: Services, *channel_ids: int) -> str:
    """The button `Retrain without them` under a training with these channels."""
    source = Source("#general, #memes and 1 more", channel_ids, 10_000)
    where = stage.guild.id, stage.admin.id, stage.channel.id
    job = await services.registry.create_job(*where, name="mine", base="chat", source=source)
    await services.registry.end(stage.guild.id, job.id, JobState.CANCELLED, "No.")
    return f"training:again:{job.id}"


async def test_retrain_without_them_reads_all_channels_that_still_exist(
    stage: Stage, memes: simcord.ChannelHandle, bot_services: Services
):
    art = await written_in(stage, "art", 1)
    again = await learnt_from(stage, bot_services, stage.channel.id, art.id, memes.id)
    await delete(stage, art)
    await press(stage.admin, stage.channel, stage.env, again)
    assert stage.title == "Train general?"
    assert stage.text.startswith(r"From \#general and #memes, at most the newest 10,000 messages")
    await stage.click("Cancel")
    await delete(stage, memes)
    again = await learnt_from(stage, bot_services, art.id, memes.id)
    refused = told(await press(stage.admin, stage.channel, stage.env, again))
    assert refused.startswith(f"I cannot see {memes.mention}. If it is not deleted, I need")


async def delete(stage: Stage, channel: simcord.ChannelHandle) -> None:
    seen: Any = stage.env.bot.get_channel(channel.id)
    await seen.delete()
    await stage.env.settle()
