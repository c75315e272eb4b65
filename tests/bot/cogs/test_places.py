"""/retrain in and for every kind of place that a server has."""

from datetime import datetime, timedelta
from typing import Any

import discord
import pytest
import simcord
from discord import ChannelType, PermissionOverwrite, Permissions

from bot.services import Services
from bot.storage.records import JobState, Source
from tests.bot.servers import press, told
from tests.bot.stage import MESSAGES, Stage
from tests.bot.trainings import FakeExecutor

pytestmark = pytest.mark.simcord(shard_count=1)

PLACES = {"text", "news", "voice", "stage_voice", "public_thread", "private_thread", "news_thread"}
FILE = ("a.txt", b"so be it\n" * 1000)


@pytest.fixture
def service_options() -> dict[str, Any]:
    return {"executor": FakeExecutor(), "channels_allowed": True}


@pytest.fixture
async def admin(stage: Stage) -> simcord.MemberActor:
    """An administrator, who may use commands everywhere."""
    role = stage.guild.create_role("owners", permissions=Permissions(administrator=True))
    return stage.guild.add_member(stage.env.create_user("owner"), roles=[role])


def registered(stage: Stage) -> dict[str, Any]:
    """The option `channel` of /retrain, as Discord knows it."""
    command = stage.env.backend.find_command("retrain", stage.guild.id)
    assert command
    return next(option for option in command["options"] if option["name"] == "channel")


def create(stage: Stage, kind: ChannelType, name: str = "ideas") -> simcord.ChannelHandle:
    stage.env.backend.create_channel(stage.guild.id, name, type=kind.value)
    return stage.guild.channels[name]


def seen(stage: Stage, place: simcord.ChannelHandle) -> Any:
    """A channel as the bot sees it."""
    return stage.env.bot.get_channel(place.id)


def said(result: simcord.InteractionResult) -> str:
    """A refusal, or the title of what is shown."""
    return told(result) or str(result.response.embeds[0].title)


async def fill(stage: Stage, place: simcord.ChannelHandle) -> simcord.ChannelHandle:
    """Bob writes enough to learn from."""
    for n in range(MESSAGES):
        await stage.bob.send(place, f"number {n}" + ", so be it" * 20)
    return place


async def thread_in(
    stage: Stage,
    parent: simcord.ChannelHandle,
    kind: ChannelType = ChannelType.public_thread,
    *,
    without_bot: bool = False,
) -> simcord.ChannelHandle:
    """A thread of Bob's, with the admin in it."""
    backend = stage.env.backend
    thread = backend.create_thread(parent.id, "the door", stage.bob.id, type=kind.value)
    backend.add_thread_member(thread.id, stage.admin.id)
    if not without_bot:
        backend.add_thread_member(thread.id, stage.env.bot.user.id)
    await stage.env.settle()
    [handle] = parent.threads
    return handle


async def change(stage: Stage, thread: simcord.ChannelHandle, **changes: bool) -> None:
    stage.env.backend.edit_channel(thread.id, {}, thread_metadata=changes)
    await stage.env.settle()


async def archive(stage: Stage, thread: simcord.ChannelHandle) -> None:
    await change(stage, thread, archived=True)
    assert seen(stage, thread) is None


async def overwrite(stage: Stage, place: simcord.ChannelHandle, **permissions: bool) -> None:
    """Allow the bot something in a place, or take it away."""
    changed = PermissionOverwrite(**permissions)
    await seen(stage, place).set_permissions(stage.guild.me, overwrite=changed)
    await stage.env.settle()


async def learnt_from(stage: Stage, services: Services, place: simcord.ChannelHandle) -> str:
    """The button `Retrain without them` under a training with a place's messages."""
    job = await services.registry.create_job(
        stage.guild.id,
        stage.admin.id,
        stage.channel.id,
        name="mine",
        base="chat",
        source=Source(f"#{place.name}", (place.id,), 10_000),
    )
    await services.registry.end(stage.guild.id, job.id, JobState.CANCELLED, "No.")
    return f"training:again:{job.id}"


def test_only_places_that_hold_messages_are_offered(stage: Stage):
    offered = registered(stage)["channel_types"]
    assert {ChannelType(kind).name for kind in offered} == PLACES
    assert offered == sorted(offered)  # else Discord's might look different at each start


class TestPlacesWithoutMessages:
    """Discord's apps send one if they still have an older version of the command."""

    INSTEAD = (
        (ChannelType.forum, "is a forum. Its messages are in its posts. Choose a post"),
        (ChannelType.media, "is a media channel. Its messages are in its posts. Choose a post"),
        (ChannelType.category, "is a category. Choose one of the channels in it."),
    )

    @pytest.mark.parametrize(("kind", "instead"), INSTEAD)
    async def test_what_to_choose_instead_is_said(
        self, stage: Stage, kind: ChannelType, instead: str
    ):
        del registered(stage)["channel_types"]
        place = create(stage, kind)
        assert (await stage.retrain(channel=place)).startswith(f"{place.mention} {instead}")

    @pytest.mark.parametrize(("kind", "instead"), INSTEAD)
    async def test_also_where_the_command_was_used(
        self, stage: Stage, admin: simcord.MemberActor, kind: ChannelType, instead: str
    ):
        result = await admin.slash(create(stage, kind), "retrain")
        assert instead in said(result)
        assert result.ephemeral

    async def test_also_if_the_bot_may_not_see_it(self, stage: Stage):
        del registered(stage)["channel_types"]
        forum = create(stage, ChannelType.forum)
        await overwrite(stage, forum, view_channel=False)
        assert "is a forum." in await stage.retrain(channel=forum)


@pytest.mark.parametrize(
    "kind", [ChannelType.text, ChannelType.news, ChannelType.voice, ChannelType.stage_voice]
)
async def test_channels_with_messages_are_read(stage: Stage, kind: ChannelType):
    place = await fill(stage, create(stage, kind))
    await stage.retrain(channel=place)
    assert stage.title == "Train ideas?"


@pytest.mark.parametrize(
    ("parent", "kind"),
    [
        (ChannelType.text, ChannelType.public_thread),
        (ChannelType.text, ChannelType.private_thread),
        (ChannelType.forum, ChannelType.public_thread),
        (ChannelType.media, ChannelType.public_thread),
    ],
)
class TestThreadsAndPosts:
    async def test_are_read_where_the_command_is_used(
        self, stage: Stage, parent: ChannelType, kind: ChannelType
    ):
        thread = await fill(stage, await thread_in(stage, create(stage, parent), kind))
        assert said(await stage.admin.slash(thread, "retrain")) == "Train the-door?"

    async def test_are_read_when_they_are_archived(
        self, stage: Stage, bot_services: Services, parent: ChannelType, kind: ChannelType
    ):
        thread = await fill(stage, await thread_in(stage, create(stage, parent), kind))
        await archive(stage, thread)
        await stage.retrain(channel=thread)
        assert stage.title == "Train the-door?"
        await stage.click("Cancel")
        again = await learnt_from(stage, bot_services, thread)
        result = await press(stage.admin, stage.channel, stage.env, again)
        assert said(result) == "Train the-door?"


class TestPrivateThreadsWithoutTheBot:
    ADD = "To a private thread I must be added: mention me in it."

    @pytest.fixture
    async def thread(self, stage: Stage) -> simcord.ChannelHandle:
        parent, kind = create(stage, ChannelType.text), ChannelType.private_thread
        await overwrite(stage, parent, manage_threads=False)
        return await thread_in(stage, parent, kind, without_bot=True)

    @pytest.mark.parametrize("archived", [False, True])
    async def test_cannot_be_read(
        self,
        stage: Stage,
        bot_services: Services,
        thread: simcord.ChannelHandle,
        archived: bool,
    ):
        await change(stage, thread, archived=archived)
        refused = await stage.admin.slash(stage.channel, "retrain", channel=thread)
        assert told(refused).endswith(self.ADD)
        again = await learnt_from(stage, bot_services, thread)
        refused = await press(stage.admin, stage.channel, stage.env, again)
        assert told(refused).endswith(self.ADD)

    async def test_show_no_training(self, stage: Stage, thread: simcord.ChannelHandle):
        """The bot's own token cannot edit a message there."""
        refused = await stage.admin.slash(thread, "retrain", file=FILE)
        assert told(refused).startswith("I am not in this private thread")
        stage.env.backend.add_thread_member(thread.id, stage.env.bot.user.id)
        assert said(await stage.admin.slash(thread, "retrain", file=FILE)) == "Train a?"

    async def test_are_open_to_a_bot_that_manages_threads(
        self, stage: Stage, thread: simcord.ChannelHandle
    ):
        await overwrite(stage, stage.guild.channels["ideas"], manage_threads=True)
        await fill(stage, thread)
        assert said(await stage.admin.slash(thread, "retrain")) == "Train the-door?"


async def test_a_deleted_thread_may_be_deleted(stage: Stage, bot_services: Services):
    thread = await thread_in(stage, create(stage, ChannelType.forum))
    again = await learnt_from(stage, bot_services, thread)
    await seen(stage, thread).delete()
    refused = await press(stage.admin, stage.channel, stage.env, again)
    assert told(refused).startswith(f"I cannot see {thread.mention}. If it is not deleted, I need")


class TestPermissions:
    @pytest.mark.parametrize("file", [{}, {"file": FILE}])
    async def test_in_a_thread_only_send_messages_in_threads_counts(
        self, stage: Stage, file: dict[str, Any]
    ):
        parent = create(stage, ChannelType.text)
        thread = await fill(stage, await thread_in(stage, parent))
        await overwrite(stage, parent, send_messages=True, send_messages_in_threads=False)
        refused = said(await stage.admin.slash(thread, "retrain", **file))
        assert refused.startswith("To show a training here I need Send Messages in Threads. Allow")
        await overwrite(stage, parent, send_messages=False, send_messages_in_threads=True)
        assert said(await stage.admin.slash(thread, "retrain", **file)).startswith("Train ")

    @pytest.mark.parametrize("permission", ["view_channel", "embed_links", "attach_files"])
    @pytest.mark.parametrize("in_thread", [False, True])
    async def test_what_showing_a_training_needs_is_named(
        self, stage: Stage, permission: str, in_thread: bool
    ):
        place = parent = create(stage, ChannelType.text)
        if in_thread:
            place = await thread_in(stage, parent)
        await overwrite(stage, parent, **{permission: False})
        refused = said(await stage.admin.slash(place, "retrain", file=FILE))
        named = permission.replace("_", " ").title()
        assert refused.startswith(f"To show a training here I need {named}. ")

    async def test_of_the_bot_itself_outweigh_those_of_everyone(self, stage: Stage):
        permissions = ("view_channel", "send_messages", "read_message_history")
        hidden = PermissionOverwrite(**dict.fromkeys(permissions, False))
        let_in = PermissionOverwrite(**dict.fromkeys(permissions, True))
        people = dict.fromkeys((stage.guild.me, stage.admin, stage.bob), let_in)
        overwrites = {stage.guild.default_role: hidden, **people}
        place = stage.guild.create_text_channel("ideas", overwrites=overwrites)
        await fill(stage, place)
        await stage.retrain(channel=place)
        assert stage.title == "Train ideas?"

    async def test_a_voice_channel_needs_connect(self, stage: Stage):
        place = create(stage, ChannelType.voice)
        await overwrite(stage, place, connect=False)
        for options in ({}, {"file": FILE}):
            refused = said(await stage.admin.slash(place, "retrain", **options))
            assert refused.startswith("To show a training here I need Connect.")
        assert (await stage.retrain(channel=place)).startswith(
            f"To read {place.mention} I need Connect there."
        )

    async def test_a_thread_of_a_hidden_channel_cannot_be_read(self, stage: Stage):
        parent = create(stage, ChannelType.text)
        thread = await thread_in(stage, parent)
        await overwrite(stage, parent, view_channel=False)
        refused = await stage.retrain(channel=thread)
        assert refused.startswith(f"To read {thread.mention} I need View Channel there.")
        await archive(stage, thread)
        refused = told(await stage.admin.slash(stage.channel, "retrain", channel=thread))
        assert refused.startswith(
            f"I cannot see {thread.mention}. If it is not deleted, I need View"
        )

    async def test_a_timed_out_bot_says_until_when(self, stage: Stage):
        until = discord.utils.utcnow() + timedelta(hours=1)
        time_out(stage, until)
        refused = await stage.retrain()
        assert f"I am timed out until {discord.utils.format_dt(until)}. End that" in refused
        time_out(stage, None)
        await stage.retrain()
        assert stage.title == "Train general?"


def time_out(stage: Stage, until: datetime | None) -> None:
    me, changes = stage.guild.me, {"timed_out_until": until and until.isoformat()}
    assert me
    stage.env.backend.edit_member(stage.guild.id, me.id, changes)
    me.timed_out_until = until  # SimCord tells it only bots with the intent for members


async def test_a_locked_thread_is_read_but_shows_no_training(stage: Stage):
    forum = create(stage, ChannelType.forum)
    thread = await fill(stage, await thread_in(stage, forum))
    await overwrite(stage, forum, manage_threads=False)
    await change(stage, thread, locked=True)
    refused = said(await stage.admin.slash(thread, "retrain", file=FILE))
    assert refused == "This thread is locked. Unlock it, or use /retrain in another channel."
    await stage.retrain(channel=thread)
    assert stage.title == "Train the-door?"
