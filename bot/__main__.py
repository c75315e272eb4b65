"""The command `python -m bot`: settings, logging, signals, exit codes."""

import argparse
import asyncio
import logging
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import aiohttp
import discord
from discord.http import Route

from bot.client import Bot, create_bot
from bot.errors import RegistryError, SettingsError
from bot.interactions import retries
from bot.operations import check, logs
from bot.operations.systemd import Supervisor, at_signals
from bot.settings import PORTAL, Settings, Supervision, on_desktop
from charrnn import __version__
from charrnn.cli.streams import set_up_output
from charrnn.errors import ModelError
from charrnn.sentences import how_to_install, needs_extra

log = logging.getLogger("bot")

EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h: a restart does not help
NETWORK = "Check the network and https://discordstatus.com."

# Discord's close codes after which reconnecting does not help.
CLOSED_FOR_GOOD = {
    4004: check.REFUSED,
    4012: "Discord no longer supports this API version. Update discord.py and the bot.",
    4013: "Discord does not know the intents that the bot asks for. Update discord.py and the bot.",
    4014: (
        "The bot asks for a privileged intent that is switched off. Switch it on, on the Bot page "
        f"of your application at {PORTAL}."
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bot until SIGTERM or SIGINT; with --check, only check the set-up.

    Exit codes: 0 stopped as asked, 1 crashed or Discord is unreachable, 78 wrong configuration.
    """
    parser = argparse.ArgumentParser(
        "charrnn-bot",
        description="The Discord bot. Its settings are environment variables, or lines of the file "
        ".env in this folder. Without DISCORD_TOKEN, it runs as a preview in your browser.",
    )
    parser.add_argument(
        "--check", action="store_true", help="check settings, token and state; start nothing"
    )
    parser.add_argument("--version", action="version", version=f"charrnn {__version__}")
    options = parser.parse_args(arguments)
    set_up_output()
    logs.set_up()
    # The bot does not use voice.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    if options.check:
        sys.exit(0 if check.run() else EXIT_CONFIGURATION)
    try:
        settings = Settings.from_environment()
        logs.set_up(settings.log_format, settings.log_level, settings.token)
        if settings.discord_api:
            Route.BASE = settings.discord_api  # discord.py has one for the whole process
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
        sys.exit(1 if error.passing else EXIT_CONFIGURATION)


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    supervisor = Supervisor(Supervision.from_environment())

    def end() -> None:
        supervisor.stopping(settings.shutdown_grace_s)
        stop.set()

    at_signals(end)
    if settings.token is None:
        # The preview's servers exist only while it runs, and its messages are not Discord's.
        place = tempfile.TemporaryDirectory(prefix="charrnn-preview-", ignore_cleanup_errors=True)
        with place as state:
            allowed = {"train_on_channels": True, "mentions": True}
            settings = replace(settings, state=Path(state), **allowed)
            await _preview(settings, stop)
        return
    bot = create_bot(settings)
    bot.add_listener(partial(_starting_late, supervisor), "on_held_up")
    bot.add_listener(partial(_ready, bot, supervisor), "on_ready")
    inference = bot.services.inference
    watching = asyncio.create_task(supervisor.watch(lambda: not inference.stuck))
    async with _health(bot, settings):
        await connect(bot, settings.token, stop)
    watching.cancel()


def _health(bot: Bot, settings: Settings) -> AbstractAsyncContextManager[object]:
    if settings.health_port is None:
        return nullcontext()
    try:
        from bot.operations.health import Health
    except ModuleNotFoundError as error:
        raise SettingsError([needs_extra("HEALTH_PORT", error.name, "metrics")]) from error
    return Health(bot, settings.health_host, settings.health_port)


async def _preview(settings: Settings, stop: asyncio.Event) -> None:
    logging.getLogger("discord").setLevel(logging.ERROR)  # below, it logs a real connection
    try:
        from bot.operations import preview
    except ModuleNotFoundError as error:
        missing = (
            "DISCORD_TOKEN is not set. Set it in the environment or in .env. Or install the "
            f"preview, which needs no token ({error}). {how_to_install('preview')}"
        )
        raise SettingsError([missing]) from error
    browser = webbrowser.open if settings.preview_browser and on_desktop() else None
    await preview.serve(create_bot(settings), settings, stop, browser)


async def connect(bot: Bot, token: str, stop: asyncio.Event) -> None:
    """Run `bot` on Discord until `stop` is set. Raises SettingsError if Discord refuses the
    token or the bot's intents."""
    retries.install()
    bot.on_discord = True
    async with bot:
        bot.add_listener(partial(_announce, bot), "on_ready")
        running = asyncio.create_task(bot.start(token))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not running.done():
            log.info("Stopping.")
            await bot.close()
            running.cancel()  # discord.py may still be trying to connect
            await asyncio.wait({running})
            return
        try:
            await running
        except discord.LoginFailure as error:
            raise SettingsError([CLOSED_FOR_GOOD[4004]]) from error
        except discord.PrivilegedIntentsRequired as error:
            raise SettingsError([CLOSED_FOR_GOOD[4014]]) from error
        except discord.ConnectionClosed as error:
            if error.code in CLOSED_FOR_GOOD:
                raise SettingsError([CLOSED_FOR_GOOD[error.code]]) from error
            _give_up(f"Discord has closed the connection with code {error.code}. {NETWORK}")
        except (
            aiohttp.ClientError,
            OSError,
            discord.HTTPException,
            discord.GatewayNotFound,
        ) as error:
            _give_up(f"Discord cannot be reached: {error}. {NETWORK}")
        if not stop.is_set():
            _give_up(f"Discord has closed the connection. {NETWORK}")


def _give_up(why: str) -> NoReturn:
    log.critical("%s Then start me again.", why)
    sys.exit(1)


async def _announce(bot: Bot) -> None:
    log.info("Connected as %s, in %d servers.", bot.user, len(bot.guilds))
    for sentence in bot.install_links().splitlines():
        log.info("%s", sentence)


async def _starting_late(supervisor: Supervisor, seconds: float, why: str) -> None:
    supervisor.starting_late(seconds, why)


async def _ready(bot: Bot, supervisor: Supervisor) -> None:
    supervisor.tell("READY=1", f"STATUS=Connected as {bot.user}, in {len(bot.guilds)} servers.")


if __name__ == "__main__":
    main()
