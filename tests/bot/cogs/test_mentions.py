"""Answers to messages that mention the bot, and /mentions, in a simulated Discord."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord
from discord import ChannelType, MessageType, PermissionOverwrite
from simcord.backend.models.message import AllowedMentions

from bot.client import Bot
from bot.cogs.mentions import HINT, NOWHERE, SENTENCES_S
from bot.interactions.answering import Answered
from bot.interactions.rate_limits import Cooldown
from bot.interactions.reply import Reply
from bot.services import Services
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.guilds import Clock
from tests.bot.servers import Server, create_server, labels, told
from tests.bot.stage import World

pytestmark = pytest.mark.simcord(shard_count=1)


@pytest.fixture
def service_options() -> dict[str, Any]:
    return {"mentions_allowed": True}


@pytest.fixture
async def on(world: World, bot_services: Services) -> World:
    """A server whose admin has switched mentions on."""
    await bot_services.registry.answer_mentions(world.guild.id, None, True)
    return world


def me(world: World) -> str:
    return world.env.bot.user.mention


def answers(place: simcord.ChannelHandle) -> list[discord.Message]:
    """The bot's messages, oldest first."""
    return sorted((m for m in place.history() if m.author.bot), key=lambda message: message.id)


def shown(place: simcord.ChannelHandle) -> Reply:
    """The only answer."""
    [answer] = answers(place)
    return Reply.parse(answer.content)


def requests(world: World, since: int) -> list[str]:
    return [f"{entry.method} {entry.path}" for entry in world.env.http_requests[since:]]


class TestAnAnswer:
    async def test_goes_on_from_the_words_of_the_message_and_replies_to_it(
        self, on: World, stateful: Model
    ):
        asked = await on.alice.send(on.channel, f"{me(on)} So be it")
        [answer] = answers(on.channel)
        reply = Reply.parse(answer.content)
        prompt = Prompt("So be it", 500, Sampling(0.7), reply.rng_seed)
        assert (reply.seed, reply.model, reply.temperature) == ("So be it", "tiny", 0.7)
        assert reply.text == generate(stateful, [prompt])[0].text
        assert answer.reference.message_id == asked.id
        assert labels(answer) == ["Reroll", "Continue", "Hotter", "Colder"]

    async def test_pings_nobody(self, on: World):
        await on.alice.send(on.channel, f"{me(on)} @everyone {on.bob.mention} so be it")
        sent = on.env.http_requests[-1].json
        assert sent["allowed_mentions"] == {"parse": []}  # also not who is replied to
        [answer] = answers(on.channel)
        assert answer.mentions == []

    async def test_is_one_message_for_its_nonce(self, on: World):
        asked = await on.alice.send(on.channel, f"{me(on)} So be it")
        sent = on.env.http_requests[-1].json
        assert (sent["nonce"], sent["enforce_nonce"]) == (str(asked.id), True)

    async def test_has_buttons_for_the_person_who_asked(self, on: World):
        await on.alice.send(on.channel, f"{me(on)} So be it")
        [answer] = answers(on.channel)
        refusal = await on.bob.click(answer, label="Reroll")
        assert told(refusal).startswith(f"These buttons are <@{on.alice.id}>'s.")
        before = Reply.parse(answer.content)
        await on.alice.click(answer, label="Hotter")
        assert shown(on.channel).temperature == 0.9
        assert shown(on.channel).rng_seed == before.rng_seed

    async def test_is_written_with_the_model_in_use(self, globe: Server):
        registry = globe.registry
        await registry.use(globe.guild.id, (await globe.make("ours")).id)
        await registry.answer_mentions(globe.guild.id, None, True)
        await globe.member.send(globe.channel, f"{globe.guild.me.mention} So be it")
        assert shown(globe.channel).model == "ours"

    async def test_is_logged_and_counted_without_a_word_of_the_message(
        self, on: World, caplog: pytest.LogCaptureFixture
    ):
        caplog.set_level("INFO")
        events: list[Answered] = []

        async def note(answered: Answered) -> None:
            events.append(answered)

        on.env.bot.add_listener(note, "on_answered")
        asked = await on.alice.send(on.channel, f"{me(on)} So be it")
        [event] = events
        assert (event.command, event.outcome, event.error) == ("mention", "ok", None)
        assert "mention" in on.env.bot.offered()
        assert f"Mention {asked.id}: mention in server {on.guild.id}: ok" in caplog.text
        assert "So be it" not in caplog.text


class TestTheWords:
    @pytest.mark.parametrize(
        ("content", "seed"),
        [
            ("{me} So be it", "So be it"),
            ("So be it, {me}", "So be it,"),
            ("So {me} be\n  it", "So be\n  it"),
            ("{me}{me} So be it", "So be it"),
            ("{me} {bob} says {channel} and {role}", "@bob says #general and @players"),
            ("{me} <a:wave:123456> ||so be it||", ":wave: so be it"),
            ("{me} ```be``` it", "it"),
        ],
    )
    async def test_are_read_as_in_training_texts(self, on: World, content: str, seed: str):
        names = {
            "me": me(on),
            "bob": on.bob.mention,
            "channel": on.channel.mention,
            "role": on.guild.create_role("players").mention,
        }
        await on.alice.send(on.channel, content.format_map(names))
        assert shown(on.channel).seed == seed

    async def test_of_a_reply_with_a_mention_are_gone_on_from(self, on: World):
        await on.alice.send(on.channel, f"{me(on)} So be it")
        [answer] = answers(on.channel)
        await on.bob.send(on.channel, "And yet", reply_to=answer)
        assert Reply.parse(answers(on.channel)[1].content).seed == "And yet"

    async def test_that_are_missing_are_those_of_the_bots_text_that_is_replied_to(
        self, on: World, stateful: Model
    ):
        await on.alice.send(on.channel, f"{me(on)} So be it")
        [answer] = answers(on.channel)
        before = Reply.parse(answer.content)
        await on.bob.send(on.channel, me(on), reply_to=answer)
        more = Reply.parse(answers(on.channel)[1].content)
        whole = (before.seed + before.text).rstrip()
        assert whole.endswith(more.seed)
        prompt = Prompt(whole, 500, Sampling(0.7), more.rng_seed)
        assert more.text == generate(stateful, [prompt])[0].text

    async def test_that_are_missing_are_those_of_a_message_that_discord_shows(self, on: World):
        elsewhere = await on.bob.send(on.channel, "Out, damned spot")
        await on.alice.send(on.channel, me(on), reply_to=elsewhere)
        assert [message.content for message in answers(on.channel)] == [HINT]
        here = await on.bob.send(on.channel, f"{me(on)} To sleep")
        await on.alice.send(on.channel, me(on), reply_to=here)
        seeds = [Reply.parse(message.content).seed for message in answers(on.channel)[1:]]
        assert seeds == ["To sleep", "To sleep"]


class TestNoAnswer:
    async def test_before_an_admin_has_switched_it_on(self, world: World):
        mark = len(world.env.http_requests)
        await world.alice.send(world.channel, f"{me(world)} So be it")
        assert requests(world, mark) == []

    async def test_to_other_messages(self, on: World):
        mark = len(on.env.http_requests)
        role = on.guild.create_role("players")
        for content in ("So be it", f"{on.bob.mention} so", "@everyone @here so", role.mention):
            await on.alice.send(on.channel, content)
        assert requests(on, mark) == []

    async def test_to_bots_webhooks_and_system_messages(self, on: World):
        mark = len(on.env.http_requests)
        robot = on.guild.add_member(on.env.create_user("robot", bot=True))
        await robot.send(on.channel, f"{me(on)} So be it")
        await on.guild.create_webhook(on.channel).send(f"{me(on)} So be it")
        added = MessageType.recipient_add.value
        on.env.backend.create_system_message(
            on.channel.id, added, on.alice.id, recipient_id=on.env.bot.user.id
        )
        await on.env.settle()
        assert requests(on, mark) == []

    async def test_to_a_reply_that_turns_the_mention_off(self, on: World):
        await on.alice.send(on.channel, f"{me(on)} So be it")
        [answer] = answers(on.channel)
        on.env.backend.create_message(
            on.channel.id,
            on.bob.id,
            "lol",
            reference={"channel_id": str(on.channel.id), "message_id": str(answer.id)},
            allowed_mentions=AllowedMentions(replied_user=False),
        )
        await on.env.settle()
        assert len(answers(on.channel)) == 1

    @pytest.mark.parametrize(
        "permission", ["view_channel", "send_messages", "read_message_history"]
    )
    async def test_where_the_bot_may_not_reply(self, on: World, permission: str):
        channel = on.env.bot.get_channel(on.channel.id)
        await channel.set_permissions(
            on.guild.me, overwrite=PermissionOverwrite(**{permission: False})
        )
        await on.env.settle()
        mark = len(on.env.http_requests)
        await on.alice.send(on.channel, f"{me(on)} So be it")
        assert requests(on, mark) == []

    async def test_while_the_bot_is_timed_out(self, on: World):
        on.guild.me.timed_out_until = discord.utils.utcnow() + timedelta(hours=1)
        mark = len(on.env.http_requests)
        await on.alice.send(on.channel, f"{me(on)} So be it")
        assert requests(on, mark) == []

    async def test_in_threads_where_the_bot_may_not_write(self, on: World):
        thread = await thread_in(on)
        channel = on.env.bot.get_channel(on.channel.id)
        locked: dict[str, Any] = {"archived": False, "locked": True}
        denied = PermissionOverwrite(manage_threads=False)
        await channel.set_permissions(on.guild.me, overwrite=denied)
        on.env.backend.edit_channel(thread.id, {}, thread_metadata=locked)
        await on.env.settle()
        mark = len(on.env.http_requests)
        await on.alice.send(thread, f"{me(on)} So be it")
        assert requests(on, mark) == []
        on.env.backend.edit_channel(thread.id, {}, thread_metadata={"locked": False})
        denied = PermissionOverwrite(send_messages=True, send_messages_in_threads=False)
        await channel.set_permissions(on.guild.me, overwrite=denied)
        await on.env.settle()
        mark = len(on.env.http_requests)
        await on.alice.send(thread, f"{me(on)} So be it")
        assert requests(on, mark) == []

    async def test_when_the_registry_cannot_be_read(self, on: World, bot_services: Services):
        with bot_services.registry.database.writing() as db:
            db.execute("DROP TABLE mentions")
        mark = len(on.env.http_requests)
        await on.alice.send(on.channel, f"{me(on)} So be it")
        assert requests(on, mark) == []

    async def test_when_the_message_is_deleted_meanwhile(self, on: World):
        text = "Invalid Form Body\nIn message_reference: Unknown message"
        on.env.inject_error(
            "POST", "/channels/*/messages", status=400, code=50035, message=text, times=1
        )
        mark = len(on.env.http_requests)
        await on.alice.send(on.channel, f"{me(on)} So be it")
        assert len(requests(on, mark)) == 1
        assert answers(on.channel) == []


async def thread_in(world: World) -> simcord.ChannelHandle:
    kind = ChannelType.public_thread.value
    world.env.backend.create_thread(world.channel.id, "the door", world.bob.id, type=kind)
    await world.env.settle()
    [thread] = world.channel.threads
    return thread


class TestDirectMessages:
    async def test_are_answered_without_a_mention(self, world: World):
        asked = await world.alice.send_dm("So be it")
        reply = shown(world.alice.user.dm_channel)
        assert (reply.seed, reply.model) == ("So be it", "tiny")
        [answer] = answers(world.alice.user.dm_channel)
        assert answer.reference.message_id == asked.id
        await world.alice.user.click(answer, label="Reroll")
        assert shown(world.alice.user.dm_channel).rng_seed != reply.rng_seed


class TestRefusals:
    """Everybody sees them, so they are rare."""

    @pytest.fixture
    def service_options(self, clock: Clock) -> dict[str, Any]:
        self.clock = clock
        return {"mentions_allowed": True, "cooldown": Cooldown(10, clock), "clock": clock}

    async def test_of_mentions_and_commands_share_a_cooldown(self, on: World):
        await on.alice.slash(on.channel, "shakespeare", seed="So be it", private=True)
        self.clock.now += 7.5
        await on.alice.send(on.channel, f"{me(on)} So be it")
        [answer] = answers(on.channel)
        assert answer.content == "One at a time, please: try again in 2.5 seconds."

    async def test_come_once_a_minute_in_a_channel(self, on: World):
        for _ in range(5):
            await on.alice.send(on.channel, me(on))
            await on.bob.send(on.channel, me(on))
        assert [message.content for message in answers(on.channel)] == [HINT]
        other = on.guild.create_text_channel("other")
        await on.bob.send(other, me(on))
        assert [message.content[:17] for message in answers(other)] == ["One at a time, pl"]
        self.clock.now += SENTENCES_S
        await on.bob.send(on.channel, me(on))
        assert [message.content for message in answers(on.channel)] == [HINT, HINT]


class TestTheSwitch:
    @pytest.fixture
    def server(self, globe: Server) -> Server:
        return globe

    async def switch(self, server: Server, **options: Any) -> str:
        return told(await server.admin.slash(server.channel, "mentions", **options))

    async def is_answered(self, server: Server, place: simcord.ChannelHandle) -> bool:
        before = len(answers(place))
        await server.member.send(place, f"{server.guild.me.mention} So be it")
        return len(answers(place)) > before

    async def test_is_off_until_an_admin_switches_it_on(self, server: Server):
        assert await self.switch(server) == NOWHERE
        assert (await self.switch(server, answer="on")).startswith(
            "I answer mentions in this server. Mention me with"
        )
        assert await self.is_answered(server, server.channel)
        assert await self.switch(server, answer="off") == NOWHERE
        assert not await self.is_answered(server, server.channel)

    async def test_is_for_one_channel_and_its_threads_or_for_all(self, server: Server):
        other = server.guild.create_text_channel("other")
        said = await self.switch(server, answer="on", channel=other)
        assert said.startswith(f"I answer mentions in {other.mention}. ")
        assert await self.is_answered(server, other)
        assert not await self.is_answered(server, server.channel)
        kind = ChannelType.public_thread.value
        server.guild._env.backend.create_thread(other.id, "door", server.member.id, type=kind)
        await server.guild._env.settle()
        assert await self.is_answered(server, other.threads[0])
        await self.switch(server, answer="on")
        said = await self.switch(server, answer="off", channel=other)
        assert said.startswith(f"I answer mentions in this server, but not in {other.mention}. ")
        assert not await self.is_answered(server, other)
        assert await self.is_answered(server, server.channel)

    async def test_says_what_the_bot_lacks_in_the_channel(self, server: Server):
        channel = server.guild._env.bot.get_channel(server.channel.id)
        denied = PermissionOverwrite(send_messages=False)
        await channel.set_permissions(server.guild.me, overwrite=denied)
        said = await self.switch(server, answer="on", channel=server.channel)
        assert "There I still need Send Messages. Allow me that in the channel's settings" in said

    async def test_says_what_the_bot_lacks_in_the_posts_of_a_forum(self, server: Server):
        forum = server.guild.create_forum_channel("questions")
        channel = server.guild._env.bot.get_channel(forum.id)
        denied = PermissionOverwrite(send_messages=False, send_messages_in_threads=False)
        await channel.set_permissions(server.guild.me, overwrite=denied)
        said = await self.switch(server, answer="on", channel=forum)
        assert "There I still need Send Messages in Threads. Allow me" in said

    async def test_outlives_a_channel(self, server: Server):
        other = server.guild.create_text_channel("other")
        await self.switch(server, answer="on", channel=other)
        await server.guild._env.bot.get_channel(other.id).delete()
        await server.guild._env.settle()
        assert await self.switch(server) == NOWHERE

    async def test_outlives_a_restart(self, server: Server, stateful: Model, tmp_path: Path):
        await self.switch(server, answer="on")
        env = server.guild._env
        await env.restart_bot(bot_with(stateful, tmp_path, mentions_allowed=True))
        assert await self.is_answered(server, server.channel)

    async def test_is_each_servers_own(
        self, server: Server, simcord_env: simcord.Env, tmp_path: Path
    ):
        await self.switch(server, answer="on")
        other = create_server(simcord_env, "The Rose", server.services, tmp_path)
        assert await self.switch(other) == NOWHERE
        assert not await self.is_answered(other, other.channel)

    async def test_is_for_admins(self, server: Server):
        with pytest.raises(simcord.SetupError):
            await server.member.slash(server.channel, "mentions", answer="on")


class TestNotAllowedByTheOperator:
    @pytest.fixture
    def service_options(self) -> dict[str, Any]:
        return {}

    async def test_the_bot_gets_no_messages_and_has_no_command(self, on: World):
        bot = on.env.bot
        assert isinstance(bot, Bot)
        assert bot.intents == discord.Intents(guilds=True)
        assert {"/mentions", "mention"}.isdisjoint(bot.offered())
        mark = len(on.env.http_requests)
        await on.alice.send(on.channel, f"{me(on)} So be it")
        await on.alice.send_dm("So be it")
        assert requests(on, mark) == []


def test_no_privileged_intent_is_asked_for(stateful: Model, tmp_path: Path):
    intents = bot_with(stateful, tmp_path, mentions_allowed=True).intents
    assert intents == discord.Intents(guilds=True, guild_messages=True, dm_messages=True)
