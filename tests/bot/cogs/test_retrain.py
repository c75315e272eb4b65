"""/retrain as an admin meets it, in a simulated Discord, with trainings that take no time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord
from simcord.backend.models.channel import Overwrite
from simcord.enums import OverwriteType

from bot.client import Bot
from bot.cogs.retrain import UNDER_WAY
from bot.corpus.source import NO_CHANNELS
from bot.services import Services
from bot.storage.records import JobState, Source, TrainingJob
from bot.storage.registry import Registry
from bot.training.message import EDIT_INTERVAL_S
from bot.training.process import ProcessorUse
from charrnn.store import Model
from tests.bot.conftest import services
from tests.bot.servers import press, told
from tests.bot.stage import Stage
from tests.bot.trainings import EPOCH, PROGRESS, FakeExecutor, FakeTrainings

pytestmark = pytest.mark.simcord(shard_count=1)


@pytest.fixture
def service_options(trainings: FakeTrainings) -> dict[str, Any]:
    return {"executor": FakeExecutor(), "trainings": trainings, "channels_allowed": True}


async def test_it_counts_first_and_asks(stage: Stage):
    await stage.admin.slash(stage.channel, "shakespeare", seed="O")
    await stage.retrain()
    assert stage.title == "Train general?"
    assert "Characters: 12,590\nMessages: 60\nPeople: 1\nLeft out: 2 by bots" in stage.text
    assert stage.buttons == ["Train", "Cancel"]


async def test_it_says_what_it_cannot_learn_and_what_its_base_does_not_know(stage: Stage):
    text = "утром ёжик играет\n" * 1000 + "☃☃\n"
    await stage.retrain(file=("лог.txt", text.encode()))
    assert "Left out: 2 characters too rare to learn: ☃\n" in stage.text
    assert "Note: chat does not know 83 % of this text's characters." in stage.text
    assert "teaches a new alphabet, and little more than spelling" in stage.text
    assert stage.buttons == ["Train", "Cancel"]


async def test_a_text_that_cannot_be_learnt_is_refused_before_train(stage: Stage):
    await stage.retrain(file=("a.txt", b"a" * 12_000))
    assert "Only one character of this text can be learnt" in stage.text
    assert stage.buttons == []


async def test_progress_shows_in_the_same_message(stage: Stage):
    training = await stage.train()
    assert stage.buttons == ["Cancel"]
    training.told = [PROGRESS, EPOCH]
    await stage.wait(EDIT_INTERVAL_S)
    assert "Epoch 1 of at most 5 · 9,000 characters a second · at most 2 minutes left" in stage.text
    assert "left\nSounds like #general: 40 %\n" in stage.text
    assert "2.16 bits per character in training, 2.02 on held-out text" in stage.text
    assert "> So be it." in stage.text


async def test_a_training_whose_voice_is_unknown_shows_none(stage: Stage):
    training = await stage.train()
    training.told = [PROGRESS, replace(EPOCH, voice=None)]
    await stage.wait(EDIT_INTERVAL_S)
    assert "> So be it." in stage.text
    assert "Sounds like" not in stage.text
    training.finish(voice=None)
    await stage.wait(EDIT_INTERVAL_S)
    assert stage.text.startswith("**Recommended:** it predicts what is written here better")
    assert "Sounds like" not in stage.text


async def test_a_candidate_leads_with_its_voice_and_ends_with_its_losses(stage: Stage):
    await stage.finish()
    assert stage.title == "mine is ready"
    parts = [
        "**Sounds like #general: 71 % ± 12 %**\n0 % is like its base, chat; 100 % is like the",
        "chat: **hi all**tiny says so\n\n**I think that**tiny says so",
        "mine: **hi all**mine says so",
        "Longest passage copied: 37 characters of 50,000",
        "Loss on held-out text: 2.52 → 2.16 bits per character",
    ]
    places = [stage.text.index(part) for part in parts]
    assert places[0] == 0
    assert places == sorted(places)
    assert stage.buttons == ["Use it", "Discard"]


async def test_a_caricature_is_called_one(stage: Stage):
    await stage.finish(voice=1.3)
    assert "Sounds like #general: 130 %" in stage.text
    assert "caricature" not in stage.text
    await stage.click("Discard")
    await stage.finish(voice=1.7)
    assert "Sounds like #general: 170 %" in stage.text
    assert "This one is a caricature" in stage.text


async def test_a_model_made_from_a_file_sounds_like_that_file(stage: Stage):
    await stage.retrain(file=("our_log.txt", b"so be it\n" * 1000))
    await stage.click("Train")
    await stage.wait()
    stage.trainings.started[-1].finish(voice=-0.04)
    await stage.wait(EDIT_INTERVAL_S)
    assert stage.text.startswith(r"**Sounds like our\_log.txt: 0 % ± 12 %**")


@pytest.mark.parametrize(
    ("nats", "verdict"),
    [
        (1.30, "**Recommended:** it predicts what is written here better than chat."),
        (1.37, "**I cannot tell** whether it predicts what is written here better than chat"),
        (1.63, "**I cannot tell** whether"),
        (1.70, "**Not recommended:** it predicts what is written here no better than chat."),
    ],
)
async def test_a_model_is_recommended_only_if_it_is_better_by_more_than_chance(
    stage: Stage, nats: float, verdict: str
):
    await stage.finish(losses=(1.5, nats), standard_error=0.05)
    assert verdict in stage.text


async def test_a_training_that_changed_nothing_is_not_recommended(stage: Stage):
    await stage.finish(losses=(1.5, 1.6), best_epoch=0, standard_error=0.0)
    assert "**Not recommended:**" in stage.text


@pytest.mark.parametrize(("cores", "busy"), [(0.12, True), (0.93, False)])
async def test_a_training_that_gets_hardly_any_processor_time_says_so(
    stage: Stage, cores: float, busy: bool
):
    training = await stage.train()
    sentence = "This machine is busy: the training gets only 12 % of a core."
    training.told = [ProcessorUse(cores)]
    await stage.wait(EDIT_INTERVAL_S)
    assert (sentence in stage.text) == busy  # from the start, before the first figures
    training.told = [PROGRESS]
    await stage.wait(EDIT_INTERVAL_S)
    assert ("2 minutes left\n" + sentence in stage.text) == busy


async def test_the_curve_is_shown_as_long_as_the_model_exists(stage: Stage):
    training = await stage.train()
    training.finish()
    training.command.curve.write_bytes(b"a picture")
    await stage.wait()
    assert [file.filename for file in stage.message.attachments] == ["curve.png"]
    await stage.click("Discard")
    assert not stage.message.attachments


async def test_the_server_writes_with_a_model_from_use_it_until_roll_back(stage: Stage):
    await stage.finish()
    assert "tiny says so" in await stage.writes()
    await stage.click("Use it")
    assert "mine says so" in await stage.writes()
    assert stage.buttons == ["Roll back"]
    await stage.click("Roll back")
    assert "Rolled back to tiny." in stage.text
    assert "tiny says so" in await stage.writes()


async def test_another_server_cannot_use_the_model(stage: Stage):
    await stage.finish()
    await stage.click("Use it")
    rose = stage.env.create_guild("The Rose")
    channel = rose.create_text_channel("general")
    member = rose.add_member(stage.env.create_user("carol"))
    result = await member.slash(channel, "write", seed="O")
    assert "tiny says so" in result.response.content
    result = await member.slash(channel, "write", seed="O", model="mine")
    assert told(result).startswith("This server has no such model.")


async def test_discard_deletes_the_model(stage: Stage):
    training = await stage.finish()
    await stage.click("Discard")
    assert f"Discarded by <@{stage.admin.id}>." in stage.text
    assert not stage.buttons
    assert not training.command.output.exists()


async def test_cancel_ends_the_job_and_says_who_pressed_it(stage: Stage):
    training = await stage.train()
    await stage.click("Cancel")
    assert training.killed
    assert not stage.buttons
    await stage.wait(2 * EDIT_INTERVAL_S)
    assert f"Cancelled by <@{stage.admin.id}>." in stage.text
    assert not training.command.text.exists()
    await stage.train()  # the next job has its turn
    assert len(stage.trainings.started) == 2


async def test_an_interrupted_job_is_resumed_with_a_button(stage: Stage):
    training = await stage.train()
    training.command.checkpoints.mkdir(parents=True)
    training.crash("The memory ran out.")
    await stage.wait()
    assert (stage.title, stage.buttons) == ("Interrupted: mine", ["Resume", "Cancel"])
    await stage.click("Resume")
    await stage.wait(EDIT_INTERVAL_S)
    assert len(stage.trainings.started) == 2
    assert stage.title == "Training mine"


async def test_the_command_moves_the_job_to_where_it_was_used(stage: Stage):
    await stage.retrain()
    first = stage.message
    assert await stage.retrain(file=("a.txt", b"so be it")) == UNDER_WAY
    assert stage.title == "Train general?"
    assert not stage.shows(first)


async def test_a_restarted_bot_goes_on_with_the_training(
    stage: Stage, stateful: Model, tmp_path: Path, service_options: dict[str, Any]
):
    training = await stage.train()
    training.kill()
    await stage.env.restart_bot(Bot(services(stateful, tmp_path, **service_options)))
    await stage.wait()
    stage.trainings.started[-1].finish()
    await stage.wait(EDIT_INTERVAL_S)
    assert len(stage.trainings.started) == 2
    assert stage.title == "mine is ready"


async def private_thread(stage: Stage) -> tuple[discord.Thread, simcord.ChannelHandle]:
    """A thread with only the bot in it."""
    channel: Any = stage.env.bot.get_channel(stage.channel.id)
    thread = await channel.create_thread(name="inside", type=discord.ChannelType.private_thread)
    [handle] = stage.channel.threads
    return thread, handle


async def learnt_from(stage: Stage, registry: Registry, thread: discord.Thread) -> TrainingJob:
    """A job that read a thread, and is over."""
    job = await registry.create_job(
        stage.guild.id,
        stage.admin.id,
        stage.channel.id,
        name="mine",
        base="chat",
        source=Source("#inside", (thread.id,), 10_000),
    )
    return await registry.end(stage.guild.id, job.id, JobState.CANCELLED, "No.")


class TestRefused:
    async def test_to_members_without_manage_server(self, stage: Stage):
        await stage.retrain()
        result = await stage.bob.click(stage.message, label="Train")
        assert "Manage Server" in result.response.content
        assert stage.title == "Train general?"

    async def test_where_the_bot_lacks_a_permission(self, stage: Stage):
        may_not = discord.PermissionOverwrite(read_message_history=False)
        hidden = stage.guild.create_text_channel("hidden", overwrites={stage.env.bot.user: may_not})
        said = await stage.retrain(channel=hidden)
        assert f"To read {hidden.mention} I need Read Message History" in said

    async def test_for_a_channel_that_the_admin_may_not_read(self, stage: Stage):
        may_not = discord.PermissionOverwrite(read_message_history=False)
        secret = stage.guild.create_text_channel("secret", overwrites={stage.admin: may_not})
        assert "You may not read" in await stage.retrain(channel=secret)

    async def test_for_a_voice_channel_that_the_admin_may_not_join(self, stage: Stage):
        connect = discord.Permissions(connect=True).value
        may_not = Overwrite(stage.admin.id, OverwriteType.MEMBER, deny=connect)
        kind = discord.ChannelType.voice.value
        stage.env.backend.create_channel(stage.guild.id, "council", type=kind, overwrites=[may_not])
        council = stage.guild.channels["council"]
        refused = await stage.retrain(channel=council)
        assert refused == f"You may not read {council.mention} yourself."

    async def test_again_for_a_private_thread_until_the_admin_is_in_it(
        self, stage: Stage, bot_services: Services
    ):
        thread, handle = await private_thread(stage)
        button = f"training:again:{(await learnt_from(stage, bot_services.registry, thread)).id}"
        refused = await press(stage.admin, stage.channel, stage.env, button)
        assert told(refused) == f"You may not read {thread.mention} yourself."
        await thread.add_user(discord.Object(stage.admin.id))
        again = await press(stage.admin, stage.channel, stage.env, button)
        assert "There are no messages in #inside." in str(again.response.embeds[0].to_dict())
        await stage.retrain(channel=handle)
        assert "There are no messages in #inside." in stage.text

    async def test_again_for_a_thread_of_a_channel_that_the_bot_may_not_see(
        self, stage: Stage, bot_services: Services
    ):
        thread, _ = await private_thread(stage)
        job = await learnt_from(stage, bot_services.registry, thread)
        lobby = stage.guild.create_text_channel("lobby")
        thread.guild._remove_channel(thread.parent)  # type: ignore[arg-type]
        again = await press(stage.admin, lobby, stage.env, f"training:again:{job.id}")
        assert told(again).startswith("The channel of the thread #inside is deleted or hidden")

    async def test_with_a_channel_and_a_file(self, stage: Stage):
        said = await stage.retrain(channel=stage.channel, file=("a.txt", b"so be it"))
        assert said == "Choose a channel or a file, not both."

    async def test_with_a_name_that_is_taken(self, stage: Stage):
        assert "Choose another name" in await stage.retrain(name="tiny")

    async def test_with_too_little_text(self, stage: Stage):
        await stage.retrain(messages=10)
        assert "too few to train on" in stage.text
        assert not stage.buttons


class TestWhereNothingCanBeTrained:
    @pytest.fixture
    def service_options(self, service_options: dict[str, Any]) -> dict[str, Any]:
        return service_options | {"training_blocked": "Not here."}

    async def test_it_is_said_before_anything_is_read(self, stage: Stage):
        assert await stage.retrain() == "Not here."


class TestWithoutTheOperatorsPermission:
    @pytest.fixture
    def service_options(self, service_options: dict[str, Any]) -> dict[str, Any]:
        return service_options | {"channels_allowed": False}

    async def test_channels_are_not_learnt_from(self, stage: Stage):
        assert await stage.retrain() == NO_CHANNELS

    async def test_files_are(self, stage: Stage):
        await stage.retrain(file=("our log.txt", b"so be it\n" * 1000))
        assert stage.title == "Train our-log?"
        await stage.click("Train")
        await stage.wait()
        assert stage.trainings.started[0].command.text.read_text("utf-8") == "so be it\n" * 1000

    async def test_who_opted_out_is_left_out_of_a_chat_without_ids(
        self, stage: Stage, bot_services: Services
    ):
        await bot_services.privacy.opt_out(stage.bob.id)
        said = [f"{stage.bob.name}: no\n", *(f"ada: {n}, @{stage.bob.name}\n" for n in range(900))]
        chat = "".join(f"12/05/24, 21:15 - {one}" for one in said)
        await stage.retrain(file=("chat.txt", chat.encode()))
        await stage.click("Train")
        await stage.wait()
        text = stage.trainings.started[0].command.text.read_text("utf-8")
        assert text == "".join(f"{n}, @someone\n" for n in range(900))


@pytest.mark.simcord(shard_count=1, settle_timeout=5)
async def test_a_bot_without_jobs_does_not_look_for_them_every_second(stage: Stage):
    await stage.wait(30 * 86_400)  # a look for each second of a month would take far too long
