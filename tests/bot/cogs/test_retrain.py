"""/retrain as an admin meets it, in a simulated Discord, with trainings that take no time."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord

from bot.client import Bot
from bot.cogs.retrain import RETRY_S
from bot.corpus.source import NO_CHANNELS
from bot.errors import NotFoundError, RegistryError
from bot.storage.records import TrainingJob
from bot.training.message import EDIT_INTERVAL_S, NEW_MESSAGE_S
from charrnn.store import Model
from tests.bot.conftest import World, bot_with
from tests.bot.theatres import press, told
from tests.bot.trainings import EPOCH, PROGRESS, FakeExecutor, FakeRun

pytestmark = pytest.mark.simcord(shard_count=1)

LINES = 600  # messages, enough to learn from
SOON_S = 2.0


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def simcord_bot(stateful: Model, tmp_path: Path, executor: FakeExecutor) -> Bot:
    return bot_with(stateful, tmp_path, executor, channels_allowed=True)


@pytest.fixture
async def admin(world: World) -> simcord.MemberActor:
    """Alice may manage the server, and Bob has written a lot."""
    role = world.guild.create_role(
        "admins", permissions=discord.Permissions(manage_guild=True, manage_messages=True)
    )
    for n in range(LINES):
        await world.bob.send(world.channel, f"so be it, number {n}")
    return world.guild.add_member(world.env.create_user("admin"), roles=[role])


class Shown:
    """The message of a training, as it is now."""

    def __init__(self, world: World):
        self._world = world

    @property
    def message(self) -> discord.Message:
        message = self._world.channel.last_message
        assert message
        return message

    @property
    def title(self) -> str:
        return self.message.embeds[0].title or ""

    @property
    def text(self) -> str:
        embed = self.message.embeds[0]
        fields = (f"{field.name}: {field.value}" for field in embed.fields)
        return "\n".join([embed.description or "", *fields, embed.footer.text or ""])

    @property
    def buttons(self) -> list[str]:
        view = discord.ui.View.from_message(self.message)
        return [str(button.label) for button in view.children]


@pytest.fixture
def shown(world: World) -> Shown:
    return Shown(world)


async def retrain(world: World, admin: simcord.MemberActor, **options: Any) -> str:
    """Use the command; what it says when it refuses."""
    result = await admin.slash(world.channel, "retrain", **options)
    return result.response.content or ""


async def train(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
) -> FakeRun:
    await retrain(world, admin, name="mine")
    await admin.click(shown.message, label="Train")
    await world.env.advance_time(SOON_S)
    return executor.runs[-1]


async def candidate(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor, **losses: Any
) -> FakeRun:
    run = await train(world, admin, shown, executor)
    run.finish(**losses)
    await world.env.advance_time(SOON_S)
    return run


async def test_it_counts_first_and_asks(world: World, admin: simcord.MemberActor, shown: Shown):
    await admin.slash(world.channel, "shakespeare", seed="O")
    await retrain(world, admin)
    assert shown.title == "Train general?"
    assert "Characters: 12,490\nMessages: 600\nPeople: 1\nLeft out: 2 by bots" in shown.text
    assert shown.buttons == ["Train", "Cancel"]


async def test_progress_shows_in_the_same_message(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    assert shown.buttons == ["Cancel"]
    run.told = [PROGRESS, EPOCH]
    await world.env.advance_time(EDIT_INTERVAL_S)
    assert "Epoch 1 of 5 · 9,000 characters a second · 2 minutes left" in shown.text
    assert "2.16 bits per character in training, 2.02 on text held out" in shown.text
    assert "> So be it." in shown.text


async def test_it_is_edited_every_five_seconds_at_most(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    before = len(world.env.http_requests)
    for n in range(20):
        run.told = [PROGRESS | {"done": n / 20}]
        await world.env.advance_time(1)
    edits = [r for r in world.env.http_requests[before:] if r.method == "PATCH"]
    assert 3 <= len(edits) <= 4


async def test_it_goes_on_when_the_clock_is_set_back_by_an_hour(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    world.env.backend.clock._epoch -= timedelta(hours=1)
    run.told = [PROGRESS]
    await world.env.advance_time(2 * EDIT_INTERVAL_S)
    assert "Epoch 1 of 5" in shown.text


async def test_it_catches_up_on_nothing_when_the_clock_is_set_forward_by_eight_hours(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    looks = 0

    def events() -> list[dict[str, Any]]:
        nonlocal looks
        looks += 1
        return []

    run.events = events
    world.env.backend.clock._epoch += timedelta(hours=8)
    await world.env.advance_time(10)
    assert 8 <= looks <= 12


async def test_after_an_hour_it_goes_on_in_a_new_message(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    first = shown.message
    await world.env.advance_time(NEW_MESSAGE_S)
    run.told = [PROGRESS]
    await world.env.advance_time(EDIT_INTERVAL_S)
    assert shown.message.id != first.id
    assert "Epoch 1 of 5" in shown.text
    nonces = [r.json["nonce"] for r in world.env.http_requests if "nonce" in (r.json or {})]
    assert nonces == [str(first.id)]  # the same if it is posted again after a time-out
    assert first.id not in {message.id for message in world.channel.history()}


async def test_the_end_is_a_candidate_with_what_it_came_to(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    await candidate(world, admin, shown, executor)
    assert shown.title == "mine is ready"
    assert "better than chat" in shown.text
    assert "Loss on text held out: 2.52 → 2.16 bits per character" in shown.text
    assert "Longest run copied: 37 characters, of 50,000 learnt from" in shown.text
    assert "chat: **hi all**tiny says so\n\n**I think that**tiny says so" in shown.text
    assert shown.buttons == ["Use it", "Discard"]


async def test_a_model_that_is_no_better_is_not_recommended(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    await candidate(world, admin, shown, executor, losses=(1.5, 1.6))
    assert "Not recommended" in shown.text


async def test_the_curve_is_shown_with_it(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    run.finish()
    run.order.curve.write_bytes(b"a picture")
    await world.env.advance_time(SOON_S)
    assert [file.filename for file in shown.message.attachments] == ["curve.png"]


async def test_from_use_on_the_server_writes_with_it_until_it_rolls_back(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    async def writes() -> str:
        result = await world.bob.slash(world.channel, "write", seed="O", private=True)
        return result.response.content

    assert "tiny says so" in await writes()
    await candidate(world, admin, shown, executor)
    assert "tiny says so" in await writes()
    await admin.click(shown.message, label="Use it")
    assert "mine says so" in await writes()
    assert shown.buttons == ["Roll back"]
    await admin.click(shown.message, label="Roll back")
    assert "Rolled back: tiny is in use again." in shown.text
    assert "tiny says so" in await writes()


async def test_another_server_has_none_of_it(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    await candidate(world, admin, shown, executor)
    await admin.click(shown.message, label="Use it")
    rose = world.env.create_guild("The Rose")
    channel, carol = rose.create_text_channel("general"), world.env.create_user("carol")
    member = rose.add_member(carol)
    result = await member.slash(channel, "write", seed="O")
    assert "tiny says so" in result.response.content
    result = await member.slash(channel, "write", seed="O", model="mine")
    assert result.response.content == str(NotFoundError("model"))


async def test_discarding_deletes_it(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await candidate(world, admin, shown, executor)
    await admin.click(shown.message, label="Discard")
    assert "Discarded." in shown.text
    assert not shown.buttons
    assert not run.order.output.exists()


async def test_cancelling_ends_it_and_says_who_did(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    await admin.click(shown.message, label="Cancel")
    assert run.killed
    assert f"Cancelled by <@{admin.id}>." in shown.text
    assert not shown.buttons
    await world.env.advance_time(SOON_S)
    assert not run.order.text.exists()
    await train(world, admin, shown, executor)  # the next one has its turn
    assert len(executor.runs) == 2


async def test_one_that_broke_off_is_resumed_with_a_button(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    run.order.checkpoints.mkdir(parents=True)
    run.crash("The memory ran out.")
    await world.env.advance_time(SOON_S)
    assert (shown.title, shown.buttons) == ("Interrupted: mine", ["Resume", "Cancel"])
    await admin.click(shown.message, label="Resume")
    await world.env.advance_time(SOON_S)
    assert len(executor.runs) == 2
    assert shown.title == "Training mine"


async def test_a_deleted_message_stops_nothing_and_the_command_shows_it_again(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    await admin.delete(shown.message)
    run.told = [PROGRESS]
    await world.env.advance_time(EDIT_INTERVAL_S)
    assert not run.killed
    await retrain(world, admin)
    assert "Epoch 1 of 5" in shown.text
    run.finish()
    await world.env.advance_time(SOON_S)
    assert shown.title == "mine is ready"


async def test_it_counts_as_under_way_until_its_end_is_shown(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    run.told = [PROGRESS]
    await world.env.advance_time(EDIT_INTERVAL_S)
    run.finish()
    await world.env.advance_time(1)  # too soon for another edit
    assert "Epoch 1 of 5" in shown.text
    assert world.env.bot.is_training()
    await world.env.advance_time(EDIT_INTERVAL_S)
    assert shown.title == "mine is ready"
    assert not world.env.bot.is_training()


async def test_what_it_comes_to_is_shown_though_its_message_is_deleted(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    await admin.delete(shown.message)
    run.finish()
    await world.env.advance_time(SOON_S)
    assert shown.title == "mine is ready"
    assert shown.buttons == ["Use it", "Discard"]


async def test_the_command_moves_what_is_under_way_to_where_it_was_used(
    world: World, admin: simcord.MemberActor, shown: Shown
):
    await retrain(world, admin)
    first = shown.message
    said = await retrain(world, admin, file=("a.txt", b"so be it"))
    assert said == "This is under way here. Cancel it if you want to begin another."
    assert shown.title == "Train general?"
    assert first.id not in {message.id for message in world.channel.history()}


async def test_one_that_cannot_be_shown_is_not_begun(
    world: World, admin: simcord.MemberActor, shown: Shown
):
    world.env.inject_error("PATCH", "/webhooks/*/messages/*", status=403, code=50013, times=1)
    await retrain(world, admin)
    await retrain(world, admin)
    assert shown.title == "Train general?"


@pytest.mark.simcord(shard_count=1, check_errors=False)
async def test_trainings_are_followed_again_after_what_nobody_has_foreseen(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    for _ in range(2):
        run.told = [{"event": "progress"}]  # without the rest of it
        await world.env.advance_time(SOON_S)
        await world.env.advance_time(RETRY_S)
    run.finish()
    await world.env.advance_time(SOON_S)
    assert shown.title == "mine is ready"


@pytest.mark.parametrize("status", [500, 429])
async def test_an_edit_that_fails_is_made_up_for(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor, status: int
):
    run = await train(world, admin, shown, executor)
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=status, times=1)
    run.finish()
    await world.env.advance_time(SOON_S)
    await world.env.advance_time(EDIT_INTERVAL_S)
    assert shown.title == "mine is ready"


@pytest.mark.parametrize(
    ("status", "code"), [(404, 10008), (404, 10003), (403, 50001), (403, 50013)]
)
async def test_where_progress_cannot_be_shown_the_training_goes_on(
    world: World,
    admin: simcord.MemberActor,
    shown: Shown,
    executor: FakeExecutor,
    status: int,
    code: int,
):
    run = await train(world, admin, shown, executor)
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=status, code=code, times=None)
    run.finish()
    await world.env.advance_time(EDIT_INTERVAL_S)
    result = await world.bob.slash(world.channel, "write", seed="O", model="mine")
    assert "mine says so" in result.response.content


async def test_after_the_first_answer_nothing_depends_on_the_interactions_token(
    world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
):
    run = await train(world, admin, shown, executor)
    world.env.inject_error("PATCH", "/webhooks/*/messages/*", status=401, code=50027, times=None)
    run.finish()
    await world.env.advance_time(SOON_S)
    assert shown.title == "mine is ready"


async def test_a_stop_that_cannot_write_down_where_it_told_of_a_training_is_a_stop_all_the_same(
    world: World,
    admin: simcord.MemberActor,
    shown: Shown,
    executor: FakeExecutor,
    caplog: pytest.LogCaptureFixture,
):
    def show_in(*_: Any) -> None:
        raise RegistryError("The disk is full.")

    await train(world, admin, shown, executor)
    await world.env.advance_time(NEW_MESSAGE_S)
    world.env.bot.services.registry.show_in = show_in
    executor.runs[-1].crash()
    await world.env.bot.close()
    assert "Not all could be told that trainings go on: The disk is full." in caplog.text


async def test_a_restart_goes_on_where_the_bot_was(
    world: World,
    admin: simcord.MemberActor,
    shown: Shown,
    executor: FakeExecutor,
    stateful: Model,
    tmp_path: Path,
):
    run = await train(world, admin, shown, executor)
    run.kill()
    await world.env.restart_bot(bot_with(stateful, tmp_path, executor, channels_allowed=True))
    await world.env.advance_time(SOON_S)
    executor.runs[-1].finish()
    await world.env.advance_time(SOON_S)
    assert len(executor.runs) == 2
    assert shown.title == "mine is ready"


async def private_thread(world: World) -> tuple[discord.Thread, simcord.ChannelHandle]:
    """One with the bot alone in it."""
    channel: Any = world.env.bot.get_channel(world.channel.id)
    thread = await channel.create_thread(name="inside", type=discord.ChannelType.private_thread)
    [handle] = world.channel.threads
    return thread, handle


def learnt_from(world: World, thread: discord.Thread) -> TrainingJob:
    """A training of a thread, which is over."""
    registry, guild_id = world.env.bot.services.registry, world.guild.id
    asked = {"name": "mine", "base": "chat", "source": "#inside", "source_channel_id": thread.id}
    job = registry.create_job(guild_id, world.alice.id, world.channel.id, **asked)
    return registry.cancel(guild_id, job.id)


class TestRefused:
    """What is not done, and what is said instead."""

    async def test_to_members_without_manage_server(
        self, world: World, admin: simcord.MemberActor, shown: Shown
    ):
        await retrain(world, admin)
        result = await world.bob.click(shown.message, label="Train")
        assert "Manage Server" in result.response.content
        assert shown.title == "Train general?"

    async def test_where_the_bot_lacks_a_permission(self, world: World, admin: simcord.MemberActor):
        hidden = world.guild.create_text_channel(
            "hidden",
            overwrites={
                world.env.bot.user: discord.PermissionOverwrite(read_message_history=False)
            },
        )
        said = await retrain(world, admin, channel=hidden)
        assert "To read #hidden I need Read Message History there." in said

    async def test_of_a_channel_that_the_admin_may_not_read(
        self, world: World, admin: simcord.MemberActor
    ):
        secret = world.guild.create_text_channel(
            "secret", overwrites={admin: discord.PermissionOverwrite(read_message_history=False)}
        )
        assert "You may not read" in await retrain(world, admin, channel=secret)

    async def test_again_of_a_private_thread_to_an_admin_who_is_not_in_it(
        self, world: World, admin: simcord.MemberActor, shown: Shown
    ):
        thread, handle = await private_thread(world)
        button = f"training:again:{learnt_from(world, thread).id}"
        refused = await press(admin, world.channel, world.env, button)
        assert told(refused) == f"You may not read {thread.mention} yourself."
        await thread.add_user(discord.Object(admin.id))
        again = await press(admin, world.channel, world.env, button)
        assert "There are no messages in #inside." in str(again.response.embeds[0].to_dict())
        await retrain(world, admin, channel=handle)
        assert "There are no messages in #inside." in shown.text

    async def test_again_of_a_thread_whose_channel_is_hidden_from_the_bot(
        self, world: World, admin: simcord.MemberActor
    ):
        thread, _ = await private_thread(world)
        job = learnt_from(world, thread)
        lobby = world.guild.create_text_channel("lobby")
        thread.guild._remove_channel(thread.parent)
        again = await press(admin, lobby, world.env, f"training:again:{job.id}")
        assert told(again).startswith("The channel that #inside is a thread of is gone, or hidden")

    async def test_with_a_channel_and_a_file(self, world: World, admin: simcord.MemberActor):
        said = await retrain(world, admin, channel=world.channel, file=("a.txt", b"so be it"))
        assert said == "Name a channel or a file, not both."

    async def test_a_name_that_is_taken(self, world: World, admin: simcord.MemberActor):
        assert "Choose another name" in await retrain(world, admin, name="tiny")

    async def test_too_little_text(self, world: World, admin: simcord.MemberActor, shown: Shown):
        await retrain(world, admin, messages=10)
        assert "too few to learn from" in shown.text
        assert not shown.buttons


class TestWhereNothingCanBeTrained:
    @pytest.fixture
    def simcord_bot(self, stateful: Model, tmp_path: Path, executor: FakeExecutor) -> Bot:
        return bot_with(
            stateful, tmp_path, executor, channels_allowed=True, no_training="Not here."
        )

    async def test_it_is_said_before_anything_is_read(
        self, world: World, admin: simcord.MemberActor
    ):
        assert await retrain(world, admin) == "Not here."


class TestWithoutTheOperatorsSwitch:
    @pytest.fixture
    def simcord_bot(self, stateful: Model, tmp_path: Path, executor: FakeExecutor) -> Bot:
        return bot_with(stateful, tmp_path, executor)

    async def test_channels_are_not_learnt_from(self, world: World, admin: simcord.MemberActor):
        assert await retrain(world, admin) == NO_CHANNELS

    async def test_files_are(
        self, world: World, admin: simcord.MemberActor, shown: Shown, executor: FakeExecutor
    ):
        await retrain(world, admin, file=("our log.txt", b"so be it\n" * 1000))
        assert shown.title == "Train our-log?"
        await admin.click(shown.message, label="Train")
        await world.env.advance_time(SOON_S)
        assert executor.runs[0].order.text.read_text() == "so be it\n" * 1000
