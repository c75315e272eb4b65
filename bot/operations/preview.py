"""The bot in a simulated Discord, in a local browser, without a token."""

import asyncio
import re
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import simcord
import simcord.preview
from discord import ClientUser, Permissions

from bot.client import Bot
from bot.errors import SettingsError
from bot.interactions.markup import MESSAGE_LIMIT
from bot.settings import Settings
from charrnn.errors import CorpusError
from charrnn.sentences import how_to_install
from charrnn.text.corpus import read_text
from charrnn.text.exports import read_export
from charrnn.text.messages import Message

SETTLE_TIMEOUT_S = 30.0  # for one command
TICK_S = 1.0
LOUNGE = "lounge"  # the channel of PREVIEW_MESSAGES
NAME_LIMIT = 32  # characters


async def serve(
    bot: Bot,
    settings: Settings,
    stop: asyncio.Event,
    browser: Callable[[str], object] | None = None,
) -> None:
    """Serve `bot` in a page on 127.0.0.1 until `stop` is set or the page ends it.

    `browser` opens the page. Raises SettingsError if the port is taken or PREVIEW_MESSAGES cannot
    be read."""
    _check_free(settings.preview_port)
    messages = _messages(settings.preview_messages) if settings.preview_messages else []
    world = simcord.run(bot, shard_count=1, check_errors=False, settle_timeout=SETTLE_TIMEOUT_S)
    async with world as discord:
        # The simulated clock starts at the beginning of a fixed year.
        await discord.advance_time((datetime.now(UTC) - discord.now()).total_seconds())
        assert bot.user is not None  # the bot has logged in
        await bot.user.edit(username="Shakespeare")
        guild = discord.create_guild("The Globe")
        channel = guild.create_text_channel("general")
        admins = guild.create_role("admins", permissions=Permissions(manage_guild=True))
        viewer = guild.add_member(discord.create_user("you"), roles=[admins])
        _offer_mention(viewer, bot.user)
        await bot.services.registry.answer_mentions(guild.id, None, True)
        if messages:
            # In another channel than the shown one, which the page redraws for every change.
            await _pour(messages, discord, guild, guild.create_text_channel(LOUNGE))
        page = discord.preview(
            channel, viewers=[viewer], layout="channel", port=settings.preview_port
        )
        async with page as preview:
            print("DISCORD_TOKEN is not set, so this is a preview, with the real model.")
            print(f"Open  {preview.url}")
            print("Click the message box there. Type /shakespeare and Enter, then your words and")
            print("Enter; where Enter does nothing, click the arrow. Or type @Shakespeare and your")
            print("words. Ctrl-C stops the bot.")
            if messages:
                print(f"Your messages are in #{LOUNGE}, which the page does not show. To train")
                print(f"on them, type /retrain and Enter, choose channel, then {LOUNGE}, and click")
                print("the arrow.")
            if bot.services.training_blocked:
                print(f"Training needs more packages. {how_to_install('train')}")
            sys.stdout.flush()
            if browser:  # it may take seconds, and must not delay the end
                Thread(target=browser, args=[preview.url], daemon=True).start()
            ticking = asyncio.create_task(_tick(bot, discord, preview))
            ends = [asyncio.create_task(stop.wait()), asyncio.create_task(preview.wait_closed())]
            _, pending = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (*pending, ticking):
                task.cancel()
            await asyncio.gather(*pending, ticking, return_exceptions=True)
            # At once: the files of trainings are deleted with the preview.
            await bot.services.training.close(0)


def _offer_mention(viewer: simcord.MemberActor, bot: ClientUser) -> None:
    """Let the viewer type the bot's name, which Discord's apps turn into a mention. SimCord's page
    sends what was typed."""
    send = viewer.send

    async def with_mentions(
        channel: simcord.ChannelHandle, content: str = "", **options: Any
    ) -> Any:
        named = re.compile(rf"@{re.escape(bot.name)}\b", re.IGNORECASE)
        return await send(channel, named.sub(bot.mention, content), **options)

    viewer.send = with_mentions


async def _tick(bot: Bot, discord: simcord.Env, preview: simcord.preview.Preview) -> None:
    """During a training, advance the simulated clock and refresh the page."""
    seen = time.perf_counter()  # SimCord replaces time.monotonic
    while True:
        await asyncio.sleep(TICK_S)
        now = time.perf_counter()
        if await bot.services.training.jobs():
            asked = len(discord.http_requests)
            try:
                await discord.advance_time(now - seen)
                # A refresh makes the page refuse a command that is being typed, so avoid it.
                if len(discord.http_requests) > asked:
                    await preview.refresh()
            except simcord.SetupError:
                continue  # a command is running; try again soon
        seen = now


def _messages(file: Path) -> list[Message]:
    try:
        messages = read_export(read_text(file), file.name)
    except CorpusError as error:
        raise SettingsError([f"PREVIEW_MESSAGES: {error}"]) from error
    if messages is None:
        raise SettingsError([f"PREVIEW_MESSAGES: {file.name} is no exported chat."])
    return messages


async def _pour(
    messages: list[Message],
    discord: simcord.Env,
    guild: simcord.GuildHandle,
    channel: simcord.ChannelHandle,
) -> None:
    people: dict[str, simcord.MemberActor] = {}
    for message in messages:
        name = message.author or "somebody"
        if name not in people:
            user = discord.create_user(name[:NAME_LIMIT], bot=message.automatic)
            people[name] = guild.add_member(user)
        if content := message.content.strip()[:MESSAGE_LIMIT]:
            await people[name].send(channel, content)


def _check_free(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        taken = f"PREVIEW_PORT {port} is taken. Set another port, or 0 for any free one."
        raise SettingsError([taken]) from error
