"""The messages of channels -> a text file: cleaned, one message a line."""

import asyncio
import heapq
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from datetime import datetime
from operator import itemgetter
from pathlib import Path

import aiohttp
import discord

from bot.corpus.message import as_message
from bot.errors import BotError
from bot.interactions.markup import escape, listed
from bot.interactions.permissions import (
    NEEDED_TO_READ,
    granted_in,
    missing,
    names,
    needed_to_read,
    remedy,
)
from bot.storage.files import write_text
from charrnn.text.corpus import HELD_OUT_SHARE, trained_on
from charrnn.text.messages import Cleaner, Counts

MAX_MESSAGES = 1_000_000  # of all channels together, whether kept or left out
MAX_CHARACTERS = 10_000_000  # of a text; the newest are kept
HIDDEN_LIMIT = 200  # messages without visible content, after which reading stops
NAMED_CHANNELS = 2  # of several; the others are counted
PAGE_MESSAGES = 100  # that Discord returns at a time

Channel = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread
CHANNEL_TYPES = [  # the same, as Discord's types
    discord.ChannelType.text,
    discord.ChannelType.voice,
    discord.ChannelType.news,
    discord.ChannelType.news_thread,
    discord.ChannelType.public_thread,
    discord.ChannelType.private_thread,
    discord.ChannelType.stage_voice,
]
ADD_ME = "To a private thread I must be added: mention me in it."
HIDDEN = (
    "I cannot see {mention}. If it is not deleted, I need "
    f"{names(NEEDED_TO_READ)} there. {ADD_ME}"
)
POSTS = "Its messages are in its posts. Choose a post, or use /retrain in it."
INSTEAD = {
    discord.ChannelType.forum: f"is a forum. {POSTS}",
    discord.ChannelType.media: f"is a media channel. {POSTS}",
    discord.ChannelType.category: "is a category. Choose one of the channels in it.",
}
NO_MESSAGES = "holds no messages. Choose a text or voice channel, a thread, or a post of a forum."


def without_messages(mention: str, kind: discord.ChannelType) -> BotError:
    """A place holds no messages. Says what to choose instead."""
    return BotError(f"{mention} {INSTEAD.get(kind, NO_MESSAGES)}", "not_allowed")


def check_readable(*places: Channel, granted: discord.Permissions | None = None) -> None:
    """Raises BotError, naming all permissions that the bot lacks in the places. Discord itself
    reports no error: it returns an empty history. `granted`: the bot's permissions, if Discord
    sent them."""
    if problem := unreadable(*places, granted=granted):
        raise BotError(problem, "not_allowed")


def unreadable(*places: Channel, granted: discord.Permissions | None = None) -> str:
    """What the bot lacks to read the places, as a sentence for each permission and what to do;
    empty if it may read all of them. Raises BotError for a thread without its channel."""
    lacking: defaultdict[str, list[str]] = defaultdict(list)
    for place in places:
        allowed = _granted(place) if granted is None else granted
        if lacks := missing(needed_to_read(place), allowed):
            lacking[names(lacks)].append(place.mention)
    sentences = [
        f"To read {listed(mentions)} I need {permissions} there."
        for permissions, mentions in lacking.items()
    ]
    return " ".join([*sentences, remedy(places[0].guild.me)]) if sentences else ""


def _granted(channel: Channel) -> discord.Permissions:
    """What the bot may do in a channel."""
    granted = granted_in(channel, channel.guild.me)
    if granted is None:
        raise BotError(
            f"The channel of the thread {_name(channel)} is deleted or hidden from me. Choose "
            "another channel.",
            "not_allowed",
        )
    return granted


async def find_channel(guild: discord.Guild, channel_id: int) -> Channel:
    """A channel or thread of `guild`. Raises BotError when it is deleted (of kind `not_found`), the
    bot cannot see it, or it holds no messages."""
    channel = guild.get_channel_or_thread(channel_id)
    if channel is None:  # discord.py does not keep archived threads
        mention = f"<#{channel_id}>"
        with explaining(mention):
            try:
                channel = await guild.fetch_channel(channel_id)
            except (discord.Forbidden, discord.NotFound) as error:
                deleted = isinstance(error, discord.NotFound)
                kind = "not_found" if deleted else "not_allowed"
                raise BotError(HIDDEN.format(mention=mention), kind) from error
    if not isinstance(channel, Channel):
        raise without_messages(channel.mention, channel.type)
    return channel


@contextmanager
def explaining(name: str, place: Channel | None = None) -> Iterator[None]:
    """Turn an error of Discord about a place into a BotError."""
    try:
        yield
    except discord.Forbidden as error:
        needed = names(needed_to_read(place))
        sentence = f"Discord does not let me read {name}. I need {needed} there."
        if isinstance(place, discord.Thread) and place.is_private():
            sentence += f" {ADD_ME}"
        raise BotError(sentence, "not_allowed") from error
    except discord.NotFound as error:
        raise BotError(
            f"{name} is deleted or hidden from me. Choose another channel.", "not_allowed"
        ) from error
    except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
        raise BotError(
            f"Discord failed while I was reading {name}. Try again in a few minutes.", "discord"
        ) from error


async def read_channels(
    places: Sequence[Channel],
    destination: Path,
    *,
    opted_out: Collection[str],
    limit: int = MAX_MESSAGES,
    after: datetime | None = None,
    progress: Callable[[Counts], None] | None = None,
    max_characters: int = MAX_CHARACTERS,
) -> Counts:
    """Write the newest messages of some channels to `destination` as UTF-8, and return the counts
    of what was kept and left out. Reading goes back in time, in all of them at once, until they
    have given `limit` messages, the time `after`, or `max_characters` are reached. `progress` gets
    the counts after every 100 messages.

    Raises BotError when the bot may not read one of the channels, Discord hides the content of
    messages, there is nothing to learn from, or the disk is full. Then it leaves no file."""
    cleaner = Cleaner(opted_out, newest_first=True)
    counts = cleaner.counts
    labels = _labels(places)
    counts.channels.update(dict.fromkeys(labels, 0))
    content = _ContentCheck(places)
    # A line and the place where it was said, by what it has in common with its repeats.
    newest_first: dict[str, tuple[int, str]] = {}
    async with aclosing(_newest_first(places, limit, after)) as messages:
        async for place, message in messages:
            content.add(message)
            line = cleaner.clean(as_message(message))
            if line is not None:
                # What was said several times is kept where it was said first.
                later = newest_first.pop(line.casefold(), None)
                newest_first[line.casefold()] = place, line
                counts.channels[labels[place]] += 1
                if later is not None:
                    counts.channels[labels[later[0]]] -= 1
                    counts.characters += len(line) - len(later[1])
            if counts.characters >= max_characters:
                break
            if progress and counts.total() % PAGE_MESSAGES == 0:
                progress(counts)
    content.check()
    check_readable(*places)  # without permission the history is empty
    if not counts.messages:
        raise BotError(_nothing(places, counts, after), "corpus")
    lines = _in_order([*reversed(newest_first.values())], counts.characters)
    await asyncio.to_thread(write_text, destination, lines)
    return counts


def _in_order(oldest_first: list[tuple[int, str]], characters: int) -> Iterator[str]:
    """The lines in the order in which they are learnt: one place after another, because a
    conversation cannot be learnt if others interrupt it. The newest ones of all places come last,
    as many as are held out, so that a model is judged by all places and not by the last one."""
    start, held_out = len(oldest_first), characters - trained_on(characters, HELD_OUT_SHARE)
    while held_out > 0:
        start -= 1
        held_out -= len(oldest_first[start][1]) + 1
    for part in (oldest_first[:start], oldest_first[start:]):
        for _, line in sorted(part, key=itemgetter(0)):  # within a place the order stays
            yield f"{line}\n"


class _ContentCheck:
    """Finds out whether Discord shows the content of messages to the bot.

    Without Message Content Intent, text, attachments and embeds of all messages are empty, except
    in messages that mention the bot."""

    def __init__(self, places: Sequence[Channel]):
        self._places = places
        self._hidden = 0  # messages whose content is hidden
        self._shown = False  # whether any message showed its content

    def add(self, message: discord.Message) -> None:
        """Raises BotError when the first HIDDEN_LIMIT messages show no content."""
        if self._shown or not self._proves_something(message):
            return
        if message.content:
            self._shown = True
            return
        self._hidden += 1
        if self._hidden == HIDDEN_LIMIT:
            self.check()

    def check(self) -> None:
        """Raises BotError when the content of the messages so far is hidden."""
        if self._hidden and not self._shown:
            raise BotError(
                f"Discord hides from me what people write in {_names(self._places)}. The bot's "
                "operator must enable Message Content Intent, on the Bot page of Discord's "
                "developer portal. Until then, upload a file.",
                "not_allowed",
            )

    def _proves_something(self, message: discord.Message) -> bool:
        """Whether the message must have text, which is then shown or hidden."""
        mentions_me = self._places[0].guild.me.id in {user.id for user in message.mentions}
        parts_beside_text = (
            *(message.attachments, message.embeds, message.stickers, message.poll),
            *(message.message_snapshots, message.components, message.activity),
        )
        said = as_message(message)
        by_person = not (said.automatic or said.system)
        return by_person and not mentions_me and not any(parts_beside_text)


async def _newest_first(
    places: Sequence[Channel], limit: int, after: datetime | None
) -> AsyncGenerator[tuple[int, discord.Message], None]:
    """The histories of some places as one, each message with its place's index. Raises
    BotError."""
    async with AsyncExitStack() as closing:
        histories = [
            await closing.enter_async_context(aclosing(_messages(place, limit, after)))
            for place in places
        ]
        firsts = [await anext(history, None) for history in histories]
        # Ids grow with time. The newest message has the smallest key.
        heads = [(-first.id, place, first) for place, first in enumerate(firsts) if first]
        heapq.heapify(heads)
        while heads and limit:
            _, place, message = heads[0]
            yield place, message
            limit -= 1
            if following := await anext(histories[place], None):
                heapq.heapreplace(heads, (-following.id, place, following))
            else:
                heapq.heappop(heads)


async def _messages(
    channel: Channel, limit: int, after: datetime | None
) -> AsyncGenerator[discord.Message, None]:
    """The history, newest first. Lets the event loop run after each message. Raises BotError."""
    with explaining(_name(channel), channel):
        async for message in channel.history(limit=limit, after=after, oldest_first=False):
            yield message
            await asyncio.sleep(0)


def _nothing(places: Sequence[Channel], counts: Counts, after: datetime | None) -> str:
    since = f" since {discord.utils.format_dt(after)}" if after else ""
    found = f"is nothing to learn from ({counts})" if counts.total() else "are no messages"
    return f"There {found} in {_names(places)}{since}. Choose another channel or upload a file."


def _labels(places: Sequence[Channel]) -> list[str]:
    """A different name for each place."""
    names = [f"#{place.name}" for place in places]
    return [
        name if names.count(name) == 1 else f"{name} ({names[:number].count(name) + 1})"
        for number, name in enumerate(names)
    ]


def _names(places: Sequence[Channel]) -> str:
    return listed([*map(_name, places)], NAMED_CHANNELS)


def _name(place: Channel) -> str:
    return f"#{escape(place.name)}"
