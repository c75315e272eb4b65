"""Which messages of a channel are written to a text file, and when none are."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord
from discord import MessageType, PermissionOverwrite
from discord.channel import _threaded_channel_factory as channel_class

from bot.corpus.channel import (
    CHANNEL_TYPES,
    HIDDEN_LIMIT,
    Channel,
    check_readable,
    read_channels,
)
from bot.errors import BotError
from charrnn.text.corpus import HELD_OUT_SHARE, trained_on
from charrnn.text.messages import Counts, LeftOut
from tests.bot.conftest import World
from tests.bot.corpora import Scroll, left_behind, message, written

pytestmark = pytest.mark.simcord(shard_count=1)
message_content_off = pytest.mark.simcord(shard_count=1, approved_intents=discord.Intents.default())


def seen(world: World, channel: simcord.ChannelHandle | None = None) -> Any:
    """A channel as the bot sees it."""
    return world.env.bot.get_channel((channel or world.channel).id)


async def read(channel: Any, corpus: Path, **options: Any) -> list[str]:
    """The lines that are written."""
    await read_channels([channel], corpus, **{"opted_out": (), **options})
    return written(corpus).splitlines()


def test_the_types_of_channels_are_those_of_the_classes():
    classes = {kind: channel_class(kind.value)[0] for kind in discord.ChannelType}
    readable = {kind for kind, of in classes.items() if of and issubclass(of, Channel)}
    assert readable == set(CHANNEL_TYPES)


# With a simulated Discord.


async def test_messages_become_lines_oldest_first(world: World, corpus: Path):
    await world.alice.send(world.channel, "first")
    await world.bob.send(world.channel, "second,\nof two lines")
    await world.alice.send(world.channel, "third “é”")
    counts = await read_channels([seen(world)], corpus, opted_out=())
    assert written(corpus) == 'first\nsecond, of two lines\nthird "é"\n'
    authors = {str(world.alice.id), str(world.bob.id)}
    in_channels = Counter({"#general": 3})
    assert counts == Counts(3, 37, authors, channels=in_channels)


async def test_only_what_people_say_to_each_other_is_kept(world: World, corpus: Path):
    guild = world.channel.guild
    reply_to = await world.alice.send(world.channel, "hello")
    await world.alice.send(world.channel, "!play", reply_to=reply_to)
    await world.alice.send(world.channel, "hello yourself", reply_to=reply_to)
    await world.bob.send(world.channel, "I would rather not be read")
    await world.alice.send(world.channel, "", attachments=[("cat.png", b"")])
    await guild.create_webhook(world.channel).send("build failed")
    await seen(world).send("To be, or not to be")
    renamed = MessageType.channel_name_change.value
    guild.create_system_message(world.channel, renamed, author=world.alice)
    counts = await read_channels([seen(world)], corpus, opted_out={str(world.bob.id)})
    assert written(corpus) == "hello\nhello yourself\n"
    assert counts.left_out == {
        LeftOut.AUTOMATIC: 2,
        LeftOut.SYSTEM: 1,
        LeftOut.OPTED_OUT: 1,
        LeftOut.COMMAND: 1,
        LeftOut.EMPTY: 1,
    }


async def test_mentions_become_names(world: World, corpus: Path):
    role = world.channel.guild.create_role("players")
    content = f"{world.bob.mention} and {role.mention}: see {world.channel.mention}"
    await world.alice.send(world.channel, content)
    assert await read(seen(world), corpus) == ["@bob and @players: see #general"]


async def test_a_thread_is_read_without_its_channel(world: World, corpus: Path):
    await world.alice.send(world.channel, "outside")
    thread = await seen(world).create_thread(name="inside", type=discord.ChannelType.public_thread)
    [handle] = world.channel.threads
    await world.alice.send(handle, "within")
    assert await read(thread, corpus) == ["within"]


async def test_messages_before_a_time_are_not_read(world: World, corpus: Path):
    await world.alice.send(world.channel, "long ago")
    await world.env.advance_time(20)
    await world.alice.send(world.channel, "just now")
    after = world.env.now() - timedelta(seconds=10)
    assert await read(seen(world), corpus, after=after) == ["just now"]


@pytest.mark.parametrize(
    ("kind", "denied", "named"),
    [
        ("text", ["view_channel"], "View Channel"),
        ("text", ["read_message_history"], "Read Message History"),
        ("text", ["view_channel", "read_message_history"], "View Channel and Read Message History"),
        ("text", ["connect"], None),
        ("voice", ["connect"], "Connect"),
    ],
)
async def test_each_missing_permission_is_named(
    world: World, kind: str, denied: list[str], named: str | None
):
    guild = world.channel.guild
    create = guild.create_text_channel if kind == "text" else guild.create_voice_channel
    channel = seen(world, create("secret"))
    overwrite = PermissionOverwrite(**dict.fromkeys(denied, False))
    await channel.set_permissions(channel.guild.default_role, overwrite=overwrite)
    await world.env.settle()
    if named is None:
        check_readable(channel)
    else:
        with pytest.raises(BotError, match=f"To read {channel.mention} I need {named} there"):
            check_readable(channel)


async def test_a_hidden_channel_is_read_if_the_bot_is_let_in(world: World):
    guild = world.channel.guild
    hidden = PermissionOverwrite(view_channel=False, read_message_history=False)
    let_in = PermissionOverwrite(view_channel=True, read_message_history=True)
    overwrites = {guild.default_role: hidden, guild.me: let_in}
    check_readable(seen(world, guild.create_text_channel("secret", overwrites=overwrites)))


async def test_a_thread_of_a_deleted_channel_is_not_read(world: World):
    thread = await seen(world).create_thread(name="inside", type=discord.ChannelType.public_thread)
    await seen(world).delete()
    await world.env.settle()
    with pytest.raises(BotError, match="The channel of the thread #inside is deleted"):
        check_readable(thread)


@message_content_off
async def test_without_message_content_the_operator_is_told_what_to_enable(
    world: World, corpus: Path
):
    await world.alice.send(world.channel, "hello")
    await world.bob.send(world.channel, "", attachments=[("cat.png", b"")])
    # Discord shows messages that mention the bot in any case.
    await world.alice.send(world.channel, f"{world.env.bot.user.mention} hello")
    with pytest.raises(BotError, match="Message Content Intent, on the Bot page"):
        await read(seen(world), corpus)
    assert not left_behind(corpus)


async def test_pictures_alone_do_not_look_like_hidden_content(world: World, corpus: Path):
    await world.alice.send(world.channel, "", attachments=[("cat.png", b"")])
    with pytest.raises(BotError, match=r"nothing to learn from \(0 messages; left out: 1 "):
        await read(seen(world), corpus)


async def test_an_empty_channel_is_refused(world: World, corpus: Path):
    with pytest.raises(BotError, match=r"There are no messages in #general. Choose another"):
        await read(seen(world), corpus)
    with pytest.raises(BotError, match="no messages in #general since <t:"):
        await read(seen(world), corpus, after=datetime(2020, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (403, "Discord does not let me read #general"),
        (404, "#general is deleted"),
        (400, "Discord failed while I was reading #general"),
    ],
)
async def test_an_error_of_discord_becomes_a_sentence(
    world: World, corpus: Path, status: int, sentence: str
):
    await world.alice.send(world.channel, "hello")
    world.env.inject_error("GET", "/channels/*/messages", status=status)
    with pytest.raises(BotError, match=sentence):
        await read(seen(world), corpus)


@dataclass
class Closing:
    """A channel whose history the bot may no longer read once it has read some of it."""

    channel: discord.TextChannel
    env: simcord.Env

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)

    async def history(self, **options: Any) -> AsyncIterator[discord.Message]:
        async for sent in self.channel.history(**options):
            yield sent
        everyone = self.channel.guild.default_role
        await self.channel.set_permissions(everyone, read_message_history=False)
        await self.env.settle()


async def test_losing_a_permission_while_reading_is_noticed(world: World, corpus: Path):
    await world.alice.send(world.channel, "hello")
    with pytest.raises(BotError, match="I need Read Message History there"):
        await read(Closing(seen(world), world.env), corpus)
    assert not left_behind(corpus)


# With a channel that has only a history.


def numbered(count: int) -> Iterable[Any]:
    """Messages from number `count`, the newest, to number 1."""
    return (message(f"number {number}") for number in range(count, 0, -1))


async def test_the_newest_messages_are_read_up_to_a_limit(corpus: Path):
    assert await read(Scroll(numbered(500)), corpus, limit=2) == ["number 499", "number 500"]


async def test_reading_ends_when_there_are_enough_characters(corpus: Path):
    scroll = Scroll(numbered(500))
    lines = await read(scroll, corpus, max_characters=len("number 500\n") * 3)
    assert lines == ["number 498", "number 499", "number 500"]
    assert scroll.given == 3


async def test_what_is_said_several_times_is_kept_where_it_was_said_first(corpus: Path):
    newest_first = ["good NIGHT", "see you", "Good night", "how are you?", "good night", "hello"]
    scroll = Scroll([message(said, author) for author, said in enumerate(newest_first)])
    counts = await read_channels([scroll], corpus, opted_out=())
    assert written(corpus).splitlines() == ["hello", "good night", "how are you?", "see you"]
    assert counts.left_out == {LeftOut.REPEATED: 2}
    assert (counts.messages, counts.characters) == (4, len(written(corpus)))
    assert "4" in counts.authors


def scrolls(*channels: str) -> list[Any]:
    """Channels with a message for each letter. The letters are the times of the messages."""
    return [
        Scroll(
            [message(f"{letter} in {at}", at=ord(letter)) for letter in said[::-1]], f"c{at}", at
        )
        for at, said in enumerate(channels, start=1)
    ]


async def read_all(places: list[Any], corpus: Path, **options: Any) -> tuple[list[str], Counts]:
    """The lines that are written, and the counts."""
    counts = await read_channels(places, corpus, **{"opted_out": (), **options})
    return written(corpus).splitlines(), counts


async def test_the_newest_messages_of_several_channels_are_read(corpus: Path):
    lines, counts = await read_all(scrolls("abcfg", "deh", "", "i"), corpus, limit=5)
    assert sorted(lines) == ["e in 2", "f in 1", "g in 1", "h in 2", "i in 4"]
    assert counts.channels == {"#c1": 2, "#c2": 2, "#c3": 0, "#c4": 1}


async def test_the_characters_of_several_channels_are_limited_together(corpus: Path):
    places = scrolls("ace", "bdf")
    lines, _ = await read_all(places, corpus, max_characters=3 * len("a in 1\n"))
    assert sorted(lines) == ["d in 2", "e in 1", "f in 2"]
    assert sum(place.given for place in places) <= 5  # the next of each is known, no more


async def test_channels_are_learnt_one_after_another_but_held_out_together(corpus: Path):
    places = scrolls("acegikmoqs", "bdfhjlnprt")
    lines, _ = await read_all(places, corpus)
    first, second = (
        [f"{c} in {n}" for c in said] for n, said in ((1, "acegikmoq"), (2, "bdfhjlnpr"))
    )
    assert lines == [*first, *second, "s in 1", "t in 2"]
    learnt = trained_on(len(written(corpus)), HELD_OUT_SHARE)
    assert written(corpus)[learnt:] == "s in 1\nt in 2\n"


async def test_what_is_said_in_several_channels_is_kept_where_it_was_said_first(corpus: Path):
    here = Scroll([message("Hi all", at=5), message("well", at=4), message("hi", at=2)], "a", 1)
    there = Scroll([message("hi", at=6), message("hi all", at=3)], "a", 2)
    lines, counts = await read_all([here, there], corpus)
    assert sorted(lines) == ["hi", "hi all", "well"]
    assert (counts.channels, counts.messages) == ({"#a (1)": 2, "#a (2)": 1}, 3)
    assert counts.left_out == {LeftOut.REPEATED: 2}
    assert counts.characters == len(written(corpus))


async def test_channels_without_any_message_are_named(corpus: Path):
    with pytest.raises(BotError, match=r"There are no messages in #c1, #c2 and 1 more\. Choose"):
        await read_all(scrolls("", "", ""), corpus)


async def test_progress_is_reported_after_every_hundred_messages(corpus: Path):
    told: list[int] = []
    scroll = Scroll(numbered(250))
    await read(scroll, corpus, progress=lambda counts: told.append(counts.messages))
    assert told == [100, 200]


async def test_the_event_loop_runs_between_messages(corpus: Path):
    reading = asyncio.create_task(read(Scroll(numbered(300)), corpus))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 300


async def test_a_failure_of_progress_ends_the_reading(corpus: Path):
    def cancel(_: Counts) -> None:
        raise BotError("The training was cancelled.", "state")

    scroll = Scroll(numbered(10_000))
    with pytest.raises(BotError, match="cancelled"):
        await read(scroll, corpus, progress=cancel)
    assert scroll.given == 100


async def test_hidden_content_is_noticed_before_everything_is_read(corpus: Path):
    scroll = Scroll(message("") for _ in range(10_000))
    with pytest.raises(BotError, match="hides from me what people write in #scroll"):
        await read(scroll, corpus)
    assert scroll.given == HIDDEN_LIMIT


async def test_a_message_that_mentions_the_bot_does_not_show_that_content_is_visible(corpus: Path):
    with pytest.raises(BotError, match="hides from me"):
        await read(Scroll([message("<@1> hello", mentions=[1]), message("")]), corpus)


async def test_one_message_with_content_shows_that_content_is_visible(corpus: Path):
    messages = [message("hello"), *(message("") for _ in range(HIDDEN_LIMIT))]
    assert await read(Scroll(messages), corpus) == ["hello"]


async def test_a_full_disk_is_explained_and_leaves_no_file(full_disk: Path):
    with pytest.raises(BotError, match="The disk of the bot's machine is full"):
        await read(Scroll(numbered(3)), full_disk)
    assert not left_behind(full_disk)
