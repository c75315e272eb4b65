"""The bot in the tests' process, connected to the stand-in for Discord."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.__main__ import connect
from bot.client import Bot
from tests.bot.processes import PATIENCE_S
from tests.discord_payloads import TOKEN
from tests.discord_server import Asked


@asynccontextmanager
async def online(bot: Bot) -> AsyncIterator[asyncio.Event]:
    """Run `bot`, connected, until the end or until the event is set. Needs the fixture `api`."""
    stop, ready = asyncio.Event(), asyncio.Event()

    async def on_ready() -> None:
        ready.set()

    bot.add_listener(on_ready)
    bot._connection.guild_ready_timeout = 0.05  # discord.py waits this long for more servers
    running = asyncio.create_task(connect(bot, TOKEN, stop))
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(running, PATIENCE_S)


async def answer(asked: Asked) -> Asked:
    """Wait for the answer, or the refusal."""
    await asyncio.wait_for(asyncio.shield(asked.answered), PATIENCE_S)
    return asked
