"""What people are told of what is kept about them, and what becomes of it when they opt out."""

import logging
import time
from dataclasses import replace
from pathlib import Path

import discord
import pytest
import simcord
from simcord.backend.serializers import guild_create_payload

from bot.client import Bot, Services
from bot.cogs.privacy import Privacy
from bot.inference.executor import LocalExecutor
from bot.models.cache import LoadedModels
from bot.storage.files import StateFolder
from bot.storage.records import JobState
from bot.training.service import Retraining
from charrnn.store import Model
from tests.bot.conftest import bot_with, services
from tests.bot.guilds import ROSE, prepare, queue
from tests.bot.theatres import Theatre, labels, press, told

pytestmark = pytest.mark.simcord(shard_count=1)

DAY_S = 86_400


@pytest.fixture
def has(stateful: Model, tmp_path: Path) -> Services:
    return services(stateful, tmp_path, channels_allowed=True)


@pytest.fixture
def simcord_bot(has: Services) -> Bot:
    return Bot(has)


async def privacy(
    theatre: Theatre, who: simcord.MemberActor | None = None
) -> simcord.InteractionResult:
    return await (who or theatre.member).slash(theatre.channel, "privacy")


def kept(result: simcord.InteractionResult) -> str:
    return str(result.response.embeds[0].description)


async def opt_out(theatre: Theatre) -> str:
    """Opt out as the member; what they are told."""
    result = await privacy(theatre)
    await theatre.member.click(result.response, label="Opt out")
    return result.response.content


class TestWhatIsKept:
    async def test_of_most_people_it_is_nothing(self, globe: Theatre):
        result = await privacy(globe)
        assert result.ephemeral
        assert "You have not opted out" in kept(result)
        assert "No model has learnt from your messages" in kept(result)
        assert "neither what I was asked nor what I answered" in kept(result)
        assert labels(result.response) == ["Opt out"]

    async def test_it_can_be_asked_for_in_private_messages(self, globe: Theatre):
        result = await globe.member.user.slash("privacy")
        assert "You have not opted out" in kept(result)

    async def test_models_and_trainings_are_listed_by_server(self, globe: Theatre, rose: Theatre):
        who = globe.member.id
        made = globe.make("our_own", who)
        rose.make("theirs", who, 1)
        rose.make("others", 1)
        globe.queue("next", who)
        assert f"""**The Globe**
- our\\_own, made on <t:{made.created_at}:d>, has learnt from your messages.
- next is to learn from your messages; it is not ready yet.
**The Rose**
- theirs, made on""" in kept(await privacy(globe))
        assert "others" not in kept(await privacy(globe))

    async def test_admins_see_the_trainings_that_they_asked_for(self, globe: Theatre):
        globe.make("mine")
        shown = kept(await privacy(globe, globe.admin))
        assert "mine: you asked for this training on <t:" in shown and "is finished." in shown
        assert "learnt from your messages." not in shown.replace("No model has learnt", "")

    async def test_a_server_that_the_bot_has_left_is_named_by_its_number(
        self, globe: Theatre, simcord_env: simcord.Env
    ):
        globe.make("mine", globe.member.id)
        guild_id = globe.guild.id
        await simcord_env.bot.get_guild(guild_id).leave()
        assert f"**Server {guild_id}**" in kept(await globe.member.user.slash("privacy"))

    async def test_what_does_not_fit_into_a_message_comes_as_a_file(self, globe: Theatre):
        for number in range(60):
            globe.make(f"mine_{number}", globe.member.id)
        result = await privacy(globe)
        [file] = result.response.attachments
        listed = (await file.read()).decode()
        assert all(f"- mine_{number}, made on 20" in listed for number in range(60))
        assert "see the file" in kept(result)


class TestKeptTexts:
    @pytest.fixture
    def has(self, stateful: Model, tmp_path: Path) -> Services:
        has = services(stateful, tmp_path)
        executor = LocalExecutor(1, LoadedModels(0))
        keeping = Retraining(
            has.registry, executor, has.models, StateFolder(tmp_path), keep_texts=True
        )
        return replace(has, retraining=keeping)

    async def test_who_is_in_one_is_told_that_it_is_kept(self, globe: Theatre):
        assert "kept beside it" not in kept(await privacy(globe))
        globe.make("mine", globe.member.id)
        assert "kept beside it, until the model is deleted" in kept(await privacy(globe))


class TestOptingOut:
    async def test_nothing_learns_from_them_from_now_on_until_they_opt_in(self, globe: Theatre):
        result = await privacy(globe)
        await globe.member.click(result.response, label="Opt out")
        assert globe.has.registry.opted_out() == {globe.member.id}
        assert "You opted out on <t:" in kept(result)
        assert result.response.content.endswith("No model has learnt from you.")
        await globe.member.click(result.response, label="Opt in")
        assert globe.has.registry.opted_out() == set()
        assert labels(result.response) == ["Opt out"]

    async def test_the_admins_learn_which_models_are_concerned_and_not_who(
        self, globe: Theatre, rose: Theatre
    ):
        globe.make("mine", globe.member.id, 1)
        globe.make("other", 1)
        rose.make("theirs", globe.member.id)
        sentence = await opt_out(globe)
        assert "2 models learnt from you before" in sentence
        assert "told the admins of 2 servers" in sentence
        for theatre, name in ((globe, "mine"), (rose, "theirs")):
            [message] = theatre.channel.history()
            assert message.content.startswith(f"Somebody whose messages **{name}**, made on")
            assert str(globe.member.id) not in message.content
            assert globe.member.user.name not in message.content
            assert labels(message) == ["Retrain without them", "Delete"]

    async def test_they_are_told_once_however_often_somebody_changes_their_mind(
        self, globe: Theatre
    ):
        globe.make("mine", globe.member.id)
        for _ in range(2):
            assert "told the admins of 1 server," in await opt_out(globe)
            await globe.member.click((await privacy(globe)).response, label="Opt in")
        assert len(globe.channel.history()) == 1

    async def test_a_training_under_way_that_holds_their_messages_ends(self, globe: Theatre):
        job = globe.queue("mine", globe.member.id)
        await opt_out(globe)
        assert globe.has.registry.job(globe.guild.id, job.id).state is JobState.CANCELLED

    async def test_where_the_training_can_no_longer_be_shown_the_system_channel_is_used(
        self, globe: Theatre, simcord_env: simcord.Env
    ):
        system = globe.guild.create_text_channel("system")
        simcord_env.backend.edit_guild(globe.guild.id, {"system_channel_id": system.id})
        globe.make("mine", globe.member.id)
        await close(globe, simcord_env)
        result = await globe.member.user.slash("privacy")
        await globe.member.user.click(result.response, label="Opt out")
        assert "told the admins of 1 server," in result.response.content
        assert "**mine**" in system.history()[0].content

    async def test_admins_that_cannot_be_reached_are_a_warning_to_the_operator(
        self, globe: Theatre, simcord_env: simcord.Env, caplog: pytest.LogCaptureFixture
    ):
        globe.make("mine", globe.member.id)
        await close(globe, simcord_env)
        result = await globe.member.user.slash("privacy")
        with caplog.at_level(logging.WARNING, "bot.cogs.privacy"):
            await globe.member.user.click(result.response, label="Opt out")
        assert "Those of 1 server I could not reach." in result.response.content
        assert "could not be told. Tell them." in caplog.text
        assert str(globe.member.id) not in caplog.text

    async def test_the_button_goes_on_working_after_a_restart(
        self, globe: Theatre, simcord_env: simcord.Env, stateful: Model
    ):
        result = await privacy(globe)
        await simcord_env.restart_bot(bot_with(stateful, globe.state))
        await globe.member.click(result.response, label="Opt out")
        assert "You opted out on" in kept(result)

    async def test_nobody_opts_out_for_somebody_else(
        self, globe: Theatre, simcord_env: simcord.Env
    ):
        button = f"privacy:optout:{globe.member.id}"
        refused = await press(globe.admin, globe.channel, simcord_env, button)
        assert told(refused).endswith("Use /privacy yourself.")
        assert globe.has.registry.opted_out() == set()


async def close(theatre: Theatre, env: simcord.Env) -> None:
    """The bot may not write in its channel any more."""
    channel = env.bot.get_channel(theatre.channel.id)
    await channel.set_permissions(channel.guild.me, send_messages=False, view_channel=False)


class TestWithoutThem:
    async def test_the_same_training_is_prepared_again_without_their_messages(self, globe: Theatre):
        for number in range(12):
            await globe.admin.send(globe.channel, f"{number} " + "all the world's a stage " * 80)
        await globe.member.send(globe.channel, "and all the men and women merely players")
        globe.make("mine", globe.member.id)
        await opt_out(globe)
        asked = await globe.admin.click(globe.channel.last_message, label="Retrain without them")
        shown = asked.response.embeds[0]
        assert shown.title == "Train mine-2?"
        assert "1 by members who opted out" in str(shown.to_dict())
        assert labels(asked.response) == ["Train", "Cancel"]

    async def test_a_file_is_to_be_uploaded_again(self, globe: Theatre, simcord_env: simcord.Env):
        model = globe.make("mine", globe.member.id, file=True)
        await opt_out(globe)
        assert "Upload that again with /retrain" in globe.channel.last_message.content
        assert labels(globe.channel.last_message) == ["Delete"]
        button = f"training:again:{model.id}"
        refused = await press(globe.admin, globe.channel, simcord_env, button)
        assert "Upload it again with /retrain" in told(refused)

    async def test_a_model_can_be_deleted_there_and_then(self, globe: Theatre):
        globe.make("mine", globe.member.id)
        await opt_out(globe)
        asked = await globe.admin.click(globe.channel.last_message, label="Delete")
        assert asked.ephemeral
        await globe.admin.click(asked.response, label="Delete for good")
        assert globe.names() == []

    async def test_it_takes_the_permission_to_manage_the_server(self, globe: Theatre):
        globe.make("mine", globe.member.id)
        await opt_out(globe)
        for label in labels(globe.channel.last_message):
            refused = await globe.member.click(globe.channel.last_message, label=label)
            assert "Manage Server" in told(refused)

    async def test_who_may_not_read_the_channel_cannot_have_it_learnt(
        self, globe: Theatre, simcord_env: simcord.Env
    ):
        model = globe.make("mine", globe.member.id)
        channel = simcord_env.bot.get_channel(globe.channel.id)
        admins = discord.utils.get(channel.guild.roles, name="admins")
        await channel.set_permissions(admins, read_message_history=False)
        lobby = globe.guild.create_text_channel("lobby")
        refused = await press(globe.admin, lobby, simcord_env, f"training:again:{model.id}")
        assert told(refused) == f"You may not read {globe.channel.mention} yourself."

    async def test_a_channel_that_is_gone_is_a_sentence(
        self, globe: Theatre, simcord_env: simcord.Env
    ):
        model = globe.make("mine", globe.member.id)
        await simcord_env.bot.get_channel(globe.channel.id).delete()
        lobby = globe.guild.create_text_channel("lobby")
        refused = await press(globe.admin, lobby, simcord_env, f"training:again:{model.id}")
        assert told(refused).startswith(f"I cannot see <#{globe.channel.id}>.")


class TestRemoval:
    """Of a bot that forgets a server on the day that it is removed."""

    @pytest.fixture
    def has(self, stateful: Model, tmp_path: Path) -> Services:
        return services(stateful, tmp_path, forget_after_days=0)

    async def test_a_training_under_way_ends_at_once(
        self, globe: Theatre, simcord_env: simcord.Env
    ):
        job = globe.queue("mine")
        await leave(globe, simcord_env)
        assert globe.has.registry.job(job.guild_id, job.id).state is JobState.CANCELLED

    async def test_all_of_the_server_is_forgotten_and_nothing_of_others(
        self, globe: Theatre, rose: Theatre, simcord_env: simcord.Env
    ):
        ours, theirs = globe.make("ours", 1), rose.make("theirs", 1)
        await leave(globe, simcord_env)
        await simcord_env.advance_time(DAY_S)
        assert globe.has.registry.guilds() == {rose.guild.id}
        assert globe.has.registry.kept_about(1).models == (theirs,)
        assert not (globe.state / ours.folder).parent.exists()
        assert (rose.state / theirs.folder).is_dir()

    async def test_a_server_that_invites_the_bot_again_in_time_keeps_its_models(
        self, globe: Theatre, simcord_env: simcord.Env
    ):
        mine, backend = globe.make("mine"), simcord_env.backend
        guild = backend.get_guild(mine.guild_id)
        invited = guild_create_payload(backend, guild)
        await leave(globe, simcord_env)
        guild.channel_ids.clear()
        backend.guilds[guild.id] = guild
        backend.emit("GUILD_CREATE", invited)
        await simcord_env.advance_time(DAY_S)
        assert globe.has.registry.models(mine.guild_id) == (mine,)

    async def test_a_server_that_is_unavailable_has_not_removed_it(
        self, globe: Theatre, simcord_env: simcord.Env
    ):
        job = globe.queue("mine")
        guild_id = globe.guild.id
        simcord_env.backend.emit("GUILD_DELETE", {"id": str(guild_id), "unavailable": True})
        await simcord_env.advance_time(DAY_S)
        assert simcord_env.bot.get_guild(guild_id).unavailable
        assert globe.has.registry.job(guild_id, job.id).state is JobState.QUEUED

    async def test_a_removal_while_the_bot_was_away_is_noticed(
        self, globe: Theatre, simcord_env: simcord.Env, stateful: Model
    ):
        mine = globe.make("mine")
        elsewhere = prepare(globe.has.registry, guild=ROSE)
        again = services(stateful, globe.state, forget_after_days=0)
        await simcord_env.restart_bot(Bot(again))
        assert again.registry.guilds() == {mine.guild_id}
        assert again.registry.models(mine.guild_id) == (mine,)
        assert elsewhere.guild_id not in again.registry.guilds()

    async def test_a_removal_while_the_connection_was_lost_is_noticed(
        self, globe: Theatre, simcord_env: simcord.Env
    ):
        mine = globe.make("mine")
        del simcord_env.backend.guilds[mine.guild_id]  # which Discord does not tell
        await simcord_env.advance_time(DAY_S)
        assert simcord_env.bot.get_guild(mine.guild_id) is not None
        assert not globe.has.registry.guilds()

    async def test_days_of_grace_are_waited_for(
        self, globe: Theatre, simcord_env: simcord.Env, stateful: Model
    ):
        registry = globe.has.registry
        job = registry.interrupt(ROSE, queue(registry, guild=ROSE).id)
        again = services(stateful, globe.state, forget_after_days=1)
        await simcord_env.restart_bot(Bot(again))
        assert again.registry.job(ROSE, job.id).state is JobState.CANCELLED
        assert again.registry.guilds_to_forget(0) == (ROSE,)


async def leave(theatre: Theatre, env: simcord.Env) -> None:
    """The server removes the bot."""
    env.backend.remove_guild(theatre.guild.id)
    await env.settle()


@pytest.mark.simcord(shard_count=2)
class TestShards:
    """Of a process that serves shard 0 of two."""

    @pytest.fixture
    def simcord_bot(self, has: Services) -> Bot:
        return Bot(has, shard_ids=[0], shard_count=2)

    async def test_the_servers_of_another_process_are_left_to_it(
        self, has: Services, simcord_env: simcord.Env
    ):
        ours, theirs = 2 << 22, 3 << 22
        for guild_id in (ours, theirs):
            prepare(has.registry, guild=guild_id)
        await simcord_env.advance_time(DAY_S)
        assert has.registry.guilds_to_forget(0) == (ours,)


async def test_texts_that_nobody_asks_for_are_deleted_in_time(
    globe: Theatre, simcord_env: simcord.Env
):
    has, late = globe.has, time.time() + 8 * DAY_S
    job = globe.queue("mine")
    has.registry.interrupt(job.guild_id, job.id)
    await simcord_env.bot.remove_cog("Privacy")
    cog = Privacy(
        simcord_env.bot, has.registry, has.retraining, forget_after_days=30, clock=lambda: late
    )
    await simcord_env.bot.add_cog(cog)
    await cog.on_ready()
    await simcord_env.settle()
    assert has.registry.job(job.guild_id, job.id).state is JobState.CANCELLED
