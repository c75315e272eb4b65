"""The same bot in a simulated Discord, in a local browser, without a token."""

import asyncio
import socket
import sys
from datetime import UTC, datetime

import simcord

from bot.client import Bot
from bot.errors import SettingsError

SETTLE_TIMEOUT_S = 30.0  # how long a command may take


async def serve(bot: Bot, port: int, stop: asyncio.Event) -> None:
    """Serve `bot` in a page on 127.0.0.1 until `stop` is set or the page ends it.

    Raises SettingsError when the port is taken."""
    world = simcord.run(bot, shard_count=1, check_errors=False, settle_timeout=SETTLE_TIMEOUT_S)
    async with world as discord:
        # The simulation's clock stands at the start of its own year.
        await discord.advance_time((datetime.now(UTC) - discord.now()).total_seconds())
        assert bot.user is not None  # the bot has logged in
        await bot.user.edit(username="Shakespeare")
        guild = discord.create_guild("The Globe")
        channel = guild.create_text_channel("general")
        viewer = guild.add_member(discord.create_user("you"))
        _check_free(port)
        page = discord.preview(channel, viewers=[viewer], layout="channel", port=port)
        async with page as preview:
            print("No DISCORD_TOKEN is set, so this is a preview, with the real model.")
            print(f"Open  {preview.url}")
            print("There, type /shakespeare and Enter, then your words and Enter. Ctrl-C ends it.")
            sys.stdout.flush()
            ends = [asyncio.create_task(stop.wait()), asyncio.create_task(preview.wait_closed())]
            _, pending = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            taken = f"PREVIEW_PORT {port} is taken: set another one, or 0 for any that is free."
            raise SettingsError([taken]) from error
