"""/privacy, and what follows when somebody opts out or a server removes the bot."""

import logging
import time
from typing import Any

import discord
import pytest
import simcord
from simcord.backend.serializers import guild_create_payload

from bot.client import Bot
from bot.cogs.privacy import PrivacyCog
from bot.services import Services
from bot.storage.records import JobState, TrainingJob
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.guilds import DAY_S, ROSE, prepare, queue
from tests.bot.servers import Server, labels, press, told

pytestmark = pytest.mark.simcord(shard_count=1)


@pytest.fixture
def service_options() -> dict[str, Any]:
    """Of a bot that forgets a server on the day on which the server removes it."""
    return {"channels_allowed": True, "forget_after_days": 0}


async def privacy(
    server: Server, person: simcord.MemberActor | None = None
) -> simcord.InteractionResult:
    return await (person or server.member).slash(server.channel, "privacy")


def kept(result: simcord.InteractionResult) -> str:
    return str(result.response.embeds[0].description)


async def opt_out(server: Server) -> str:
    """Opt out as the member, and return the sentence that answers it. In a private message, which
    works whatever the server's channels allow."""
    result = await server.member.user.slash("privacy")
    await server.member.user.click(result.response, label="Opt out")
    return result.response.content


async def set_open(server: Server, env: simcord.Env, is_open: bool) -> None:
    """Let the bot write in the server's channel, or not."""
    channel = env.bot.get_channel(server.channel.id)
    await channel.set_permissions(channel.guild.me, send_messages=is_open)


async def next_day(env: simcord.Env) -> None:
    await env.advance_time(DAY_S)


async def state_of(server: Server, job: TrainingJob) -> JobState:
    return (await server.registry.job(job.guild_id, job.id)).state


class TestWhatIsKept:
    async def test_it_is_shown_only_to_the_person(self, globe: Server):
        await globe.make("mine", globe.member.id)
        result = await privacy(globe)
        assert result.ephemeral
        assert "**The Globe**\n- mine, made on" in kept(result)
        assert labels(result.response) == ["Opt out"]

    async def test_a_server_that_the_bot_left_is_named_by_its_id(
        self, globe: Server, simcord_env: simcord.Env
    ):
        await globe.make("mine", globe.member.id)
        guild_id = globe.guild.id
        await simcord_env.bot.get_guild(guild_id).leave()
        assert f"**Server {guild_id}**" in kept(await globe.member.user.slash("privacy"))

    async def test_what_does_not_fit_into_a_message_is_in_a_file(self, globe: Server):
        names = ["_" * 30 + f"{number:02}" for number in range(32)]
        for name in names:
            await globe.make(name, globe.member.id)
        result = await privacy(globe)
        [file] = result.response.attachments
        listed = (await file.read()).decode()
        assert all(f"- {name}, made on 20" in listed for name in names)
        assert "It is in the file." in kept(result)


class TestOptingOut:
    async def test_people_opt_out_and_in(self, globe: Server):
        result = await privacy(globe)
        await globe.member.click(result.response, label="Opt out")
        assert await globe.registry.opted_out() == {globe.member.id}
        assert "You opted out on <t:" in kept(result)
        assert result.response.content.endswith("No model has learnt from you.")
        await globe.member.click(result.response, label="Opt in")
        assert await globe.registry.opted_out() == set()
        assert labels(result.response) == ["Opt out"]

    async def test_admins_are_told_which_models_are_affected_but_not_by_whom(
        self, globe: Server, rose: Server
    ):
        await globe.make("mine", globe.member.id, 1)
        await globe.make("other", 1)
        await rose.make("theirs", globe.member.id)
        sentence = await opt_out(globe)
        assert "2 models learnt from you before" in sentence
        assert "told the admins of 2 servers" in sentence
        for server, name in ((globe, "mine"), (rose, "theirs")):
            [message] = server.channel.history()
            assert message.content.startswith(f"Somebody whose messages **{name}**, made on")
            assert str(globe.member.id) not in message.content
            assert globe.member.user.name not in message.content
            assert labels(message) == ["Retrain without them", "Delete"]

    async def test_admins_are_told_once_if_somebody_opts_out_twice(self, globe: Server):
        await globe.make("mine", globe.member.id)
        assert "told the admins of 1 server," in await opt_out(globe)
        result = await privacy(globe)
        for label in ("Opt in", "Opt out"):
            await globe.member.click(result.response, label=label)
        assert len(globe.channel.history()) == 1

    async def test_a_job_that_uses_their_messages_is_cancelled(self, globe: Server):
        job = await globe.queue("mine", globe.member.id)
        await opt_out(globe)
        assert await state_of(globe, job) is JobState.CANCELLED

    async def test_the_system_channel_is_used_if_the_channel_of_the_training_is_closed(
        self, globe: Server, simcord_env: simcord.Env
    ):
        system = globe.guild.create_text_channel("system")
        simcord_env.backend.edit_guild(globe.guild.id, {"system_channel_id": system.id})
        await globe.make("mine", globe.member.id)
        await set_open(globe, simcord_env, False)
        assert "told the admins of 1 server," in await opt_out(globe)
        assert "**mine**" in system.history()[0].content

    async def test_admins_who_cannot_be_reached_are_told_the_next_day(
        self, globe: Server, simcord_env: simcord.Env, caplog: pytest.LogCaptureFixture
    ):
        await globe.make("mine", globe.member.id)
        await set_open(globe, simcord_env, False)
        with caplog.at_level(logging.WARNING, "bot.cogs.privacy"):
            told = await opt_out(globe)
        assert "could not reach the admins of 1 server yet." in told
        assert "I have told" not in told
        assert "I could not tell its admins. I try again every day." in caplog.text
        assert str(globe.member.id) not in caplog.text
        await set_open(globe, simcord_env, True)
        await next_day(simcord_env)
        [message] = globe.channel.history()
        assert "**mine**" in message.content

    async def test_admins_are_told_after_a_crash_that_came_before_it(
        self, globe: Server, simcord_env: simcord.Env, stateful: Model
    ):
        await globe.make("mine", globe.member.id)
        await globe.registry.opt_out(globe.member.id)
        await simcord_env.restart_bot(bot_with(stateful, globe.state))
        [message] = globe.channel.history()
        assert "**mine**" in message.content

    async def test_admins_who_were_not_told_are_told_at_the_next_opt_out_of_anybody(
        self, globe: Server
    ):
        await globe.make("mine", 1)
        await globe.registry.opt_out(1)
        assert (await opt_out(globe)).endswith("No model has learnt from you.")
        assert "**mine**" in globe.channel.last_message.content

    async def test_the_button_works_after_a_restart(
        self, globe: Server, simcord_env: simcord.Env, stateful: Model
    ):
        result = await privacy(globe)
        await simcord_env.restart_bot(bot_with(stateful, globe.state))
        await globe.member.click(result.response, label="Opt out")
        assert "You opted out on" in kept(result)

    async def test_nobody_opts_out_for_somebody_else(self, globe: Server, simcord_env: simcord.Env):
        button = f"privacy:optout:{globe.member.id}"
        refused = await press(globe.admin, globe.channel, simcord_env, button)
        assert told(refused).endswith("Use /privacy yourself.")
        assert await globe.registry.opted_out() == set()


class TestWhatAdminsCanDo:
    async def test_the_same_training_is_prepared_without_their_messages(self, globe: Server):
        for number in range(12):
            await globe.admin.send(globe.channel, f"{number} " + "all the world's a stage " * 80)
        await globe.member.send(globe.channel, "and all the men and women merely players")
        await globe.make("mine", globe.member.id)
        await opt_out(globe)
        asked = await globe.admin.click(globe.channel.last_message, label="Retrain without them")
        assert "1 by members who opted out" in str(asked.response.embeds[0].to_dict())
        assert labels(asked.response) == ["Train", "Cancel"]
        [job] = await globe.registry.unfinished()
        assert (job.state, job.counts.people) == (JobState.READY, 1)

    async def test_a_file_must_be_uploaded_again(self, globe: Server, simcord_env: simcord.Env):
        model = await globe.make("mine", globe.member.id, file=True)
        await opt_out(globe)
        assert "Upload the file again with /retrain" in globe.channel.last_message.content
        assert labels(globe.channel.last_message) == ["Delete"]
        button = f"training:again:{model.id}"
        refused = await press(globe.admin, globe.channel, simcord_env, button)
        assert "Upload the file again with /retrain" in told(refused)

    async def test_the_model_is_deleted_where_they_are_told(self, globe: Server):
        await globe.make("mine", globe.member.id)
        await opt_out(globe)
        asked = await globe.admin.click(globe.channel.last_message, label="Delete")
        assert asked.ephemeral
        await globe.admin.click(asked.response, label="Delete for good")
        assert await globe.names() == []

    async def test_both_need_the_permission_manage_server(self, globe: Server):
        await globe.make("mine", globe.member.id)
        await opt_out(globe)
        for label in labels(globe.channel.last_message):
            refused = await globe.member.click(globe.channel.last_message, label=label)
            assert "Manage Server" in told(refused)

    async def test_an_admin_who_may_not_read_the_channel_cannot_train_on_it(
        self, globe: Server, simcord_env: simcord.Env
    ):
        model = await globe.make("mine", globe.member.id)
        channel = simcord_env.bot.get_channel(globe.channel.id)
        admins = discord.utils.get(channel.guild.roles, name="admins")
        await channel.set_permissions(admins, read_message_history=False)
        lobby = globe.guild.create_text_channel("lobby")
        refused = await press(globe.admin, lobby, simcord_env, f"training:again:{model.id}")
        assert told(refused) == f"You may not read {globe.channel.mention} yourself."

    async def test_a_deleted_channel_is_a_sentence(self, globe: Server, simcord_env: simcord.Env):
        model = await globe.make("mine", globe.member.id)
        await simcord_env.bot.get_channel(globe.channel.id).delete()
        lobby = globe.guild.create_text_channel("lobby")
        refused = await press(globe.admin, lobby, simcord_env, f"training:again:{model.id}")
        assert told(refused).startswith(f"I cannot see <#{globe.channel.id}>.")


async def leave(server: Server, env: simcord.Env) -> None:
    """The server removes the bot."""
    env.backend.remove_guild(server.guild.id)
    await env.settle()


class TestRemoval:
    async def test_a_job_is_cancelled_at_once(self, globe: Server, simcord_env: simcord.Env):
        job = await globe.queue("mine")
        await leave(globe, simcord_env)
        assert await state_of(globe, job) is JobState.CANCELLED

    async def test_everything_about_the_server_is_forgotten_and_nothing_about_others(
        self, globe: Server, rose: Server, simcord_env: simcord.Env
    ):
        ours, theirs = await globe.make("ours", 1), await rose.make("theirs", 1)
        await leave(globe, simcord_env)
        await next_day(simcord_env)
        assert (await globe.registry.kept_about(1)).models == (theirs,)
        assert not (globe.state / ours.folder).parent.exists()
        assert (rose.state / theirs.folder).is_dir()

    async def test_a_server_that_invites_the_bot_again_in_time_keeps_its_models(
        self, globe: Server, simcord_env: simcord.Env
    ):
        mine, backend = await globe.make("mine"), simcord_env.backend
        guild = backend.get_guild(mine.guild_id)
        invited = guild_create_payload(backend, guild)
        await leave(globe, simcord_env)
        guild.channel_ids.clear()
        backend.guilds[guild.id] = guild
        backend.emit("GUILD_CREATE", invited)
        await next_day(simcord_env)
        assert await globe.registry.models(mine.guild_id) == (mine,)

    async def test_a_server_that_is_unavailable_has_not_removed_the_bot(
        self, globe: Server, simcord_env: simcord.Env
    ):
        mine = await globe.make("mine")
        guild_id = globe.guild.id
        simcord_env.backend.emit("GUILD_DELETE", {"id": str(guild_id), "unavailable": True})
        await next_day(simcord_env)
        assert simcord_env.bot.get_guild(guild_id).unavailable
        assert await globe.registry.models(guild_id) == (mine,)

    async def test_a_removal_while_the_bot_was_away_is_noticed(
        self, globe: Server, simcord_env: simcord.Env, bot_services: Services
    ):
        mine = await globe.make("mine")
        await prepare(globe.registry, guild=ROSE)
        await simcord_env.restart_bot(Bot(bot_services))
        assert await globe.registry.unfinished() == ()
        assert await globe.registry.models(mine.guild_id) == (mine,)

    async def test_a_removal_while_the_connection_was_lost_is_noticed(
        self, globe: Server, simcord_env: simcord.Env
    ):
        mine = await globe.make("mine")
        del simcord_env.backend.guilds[mine.guild_id]  # without an event
        await next_day(simcord_env)
        assert simcord_env.bot.get_guild(mine.guild_id) is not None
        assert await globe.registry.models(mine.guild_id) == ()

    async def test_a_server_is_not_forgotten_before_the_days_of_grace_are_over(
        self, globe: Server, simcord_env: simcord.Env, stateful: Model
    ):
        job = await queue(globe.registry, guild=ROSE)
        await simcord_env.restart_bot(bot_with(stateful, globe.state, forget_after_days=1))
        assert await state_of(globe, job) is JobState.CANCELLED
        assert await globe.registry.guilds_to_forget(0) == (ROSE,)


async def test_a_job_that_nobody_resumes_is_cancelled_in_time(
    globe: Server, simcord_env: simcord.Env
):
    job = await globe.queue("mine")
    await globe.registry.end(job.guild_id, job.id, JobState.INTERRUPTED, "Why.")
    await simcord_env.bot.remove_cog(PrivacyCog.__cog_name__)
    cog = PrivacyCog(
        simcord_env.bot,
        globe.services.privacy,
        globe.registry,
        globe.services.training,
        globe.services.never_said,
        forget_after_days=30,
        clock=lambda: time.time() + 8 * DAY_S,
    )
    await simcord_env.bot.add_cog(cog)
    await cog.on_ready()
    await simcord_env.settle()
    assert await state_of(globe, job) is JobState.CANCELLED
