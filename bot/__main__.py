"""The service: settings, logging, signals, exit codes."""

import asyncio
import logging
import signal
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import aiohttp
import discord
from discord.http import Route

from bot.client import Bot, create_bot
from bot.errors import RegistryError, SettingsError
from bot.settings import Settings
from charrnn.errors import ModelError

log = logging.getLogger("bot")

LOG_FORMAT = "%(asctime)s %(levelname)-8s %(name)s  %(message)s"
EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h: restarting does not help


def main() -> None:
    """Run until SIGTERM or SIGINT. Exit codes: 0 asked to stop, 1 crash, 78 configuration."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    # Voice is not what this bot is for.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    try:
        settings = Settings.from_environment()
        logging.getLogger().setLevel(settings.log_level)
        asyncio.run(_serve(settings))
    except SettingsError as error:
        for problem in error.problems:
            log.critical("%s", problem)
        sys.exit(EXIT_CONFIGURATION)
    except ModelError as error:
        log.critical("MODEL: %s", error)
        sys.exit(EXIT_CONFIGURATION)
    except RegistryError as error:
        log.critical("STATE: %s", error)
        sys.exit(EXIT_CONFIGURATION)


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    if settings.discord_api:
        Route.BASE = settings.discord_api  # discord.py has one for the whole process
    if settings.token is None:
        # Its servers exist only as long as it runs; and nobody's messages come from Discord.
        with tempfile.TemporaryDirectory(prefix="charrnn-preview-") as state:
            settings = replace(settings, state=Path(state), train_on_channels=True)
            await _preview(settings, stop)
    else:
        await connect(create_bot(settings), settings.token, stop)


async def _preview(settings: Settings, stop: asyncio.Event) -> None:
    logging.getLogger("discord").setLevel(logging.ERROR)  # it would speak of a real connection
    try:
        from bot import preview
    except ModuleNotFoundError as error:
        missing = (
            "DISCORD_TOKEN is not set. Set it, in the environment or in .env; or install the "
            "preview, which needs none: pip install '.[preview]' where charrnn was cloned "
            f"({error})."
        )
        raise SettingsError([missing]) from error
    await preview.serve(create_bot(settings), settings, stop)


async def connect(bot: Bot, token: str, stop: asyncio.Event) -> None:
    """Run `bot` on Discord until `stop` is set. Raises SettingsError when the token is refused."""
    async with bot:
        bot.add_listener(partial(_announce, bot), "on_ready")
        running = asyncio.create_task(bot.start(token))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not running.done():
            log.info("Stopping.")
            await bot.close()
        try:
            await running
        except discord.LoginFailure as error:
            refused = "DISCORD_TOKEN is refused by Discord. Reset it on the Bot page and try again."
            raise SettingsError([refused]) from error
        except (aiohttp.ClientError, OSError, discord.GatewayNotFound) as error:
            log.critical("Discord cannot be reached: %s", error)
            sys.exit(1)


async def _announce(bot: Bot) -> None:
    log.info("Connected as %s, in %d servers.", bot.user, len(bot.guilds))
    log.info("Invite the bot to a server: %s", bot.invite_link())


if __name__ == "__main__":
    main()
