"""What goes wrong while a person is being answered -> a sentence to them; how it went -> a line
in the log."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

import aiohttp
import discord
from discord import app_commands

from bot.errors import BotError
from bot.interactions.markup import MESSAGE_LIMIT
from bot.interactions.retries import ACKNOWLEDGED

log = logging.getLogger(__name__)

# Its three seconds, or its fifteen minutes, are over: unknown interaction, unknown webhook,
# invalid webhook token. Or somebody has deleted the answer; or another process has answered.
GONE = {10062, 10015, 50027, 10008, ACKNOWLEDGED}
LONGEST = MESSAGE_LIMIT // 2 - 1  # characters, of two UTF-16 units at most
ANSWER = "answer"  # the name of a task in which a person is being answered

FORBIDDEN = (
    "Discord forbids me to answer here. Ask an admin of this server to grant my role View Channel, "
    "Send Messages, Embed Links and Attach Files in this channel."
)
CHANGED = "That command is not what it was. Restart Discord, then use it again."
NO_SUCH_OPTION = "An option is not what this command takes. Choose from what Discord offers."
NOT_TAKEN = "Discord did not take what I had to say. Try again."

OUTCOMES = ("ok", "refused", "failed", "lost")  # lost: Discord took no answer any more


@dataclass(frozen=True)
class Answered:
    """How a command or a button went, as the event `answered` tells it."""

    # /write, or of a button and of the form that it opens the part of its id that says what it does
    command: str
    outcome: str  # of OUTCOMES
    seconds: float
    error: str | None  # the exception's class


class Answering:
    """`async with Answering(interaction):` an exception inside becomes an answer to it; what
    people cannot mend goes to the log, under an id that they are told."""

    def __init__(
        self,
        interaction: discord.Interaction,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._interaction = interaction
        self._clock = clock
        self._started = 0.0

    async def __aenter__(self) -> None:
        self._started = self._clock()
        task = asyncio.current_task()
        assert task is not None  # discord.py has a task for each command and each button
        task.set_name(ANSWER)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):
            outcome = await _answer(self._interaction, error)
        else:  # an interruption leaves the person without an answer
            outcome = "ok" if error is None else "lost"
        name = kind.__name__ if kind else None
        seconds = self._clock() - self._started
        answered = Answered(_command(self._interaction), outcome, seconds, name)
        _log(self._interaction, answered, error)
        self._interaction.client.dispatch("answered", answered)
        return isinstance(error, Exception)


async def given(timeout_s: float) -> None:
    """Return when everybody who is being answered has their answer, or the time is over."""
    answers = [task for task in asyncio.all_tasks() if task.get_name() == ANSWER]
    if answers:
        await asyncio.wait(answers, timeout=timeout_s)


async def answer_error(interaction: discord.Interaction, error: Exception) -> None:
    """Answer what went wrong before the command itself had its turn."""
    async with Answering(interaction):
        raise error


async def _answer(interaction: discord.Interaction, error: Exception) -> str:
    """Tell the person what is wrong; the outcome."""
    if isinstance(error, discord.HTTPException) and error.code in GONE:
        return "lost"
    outcome, sentence = _judged(error)
    if sentence is None:
        sentence = (
            "Something went wrong on my side, not on yours. Try again; if it happens again, tell "
            f"the bot's operator this number: {interaction.id}"
        )
    try:
        if interaction.type is discord.InteractionType.autocomplete:
            await interaction.response.autocomplete([])  # which has no room for words
        elif interaction.response.is_done():
            await interaction.followup.send(sentence, ephemeral=True)
        else:
            await interaction.response.send_message(sentence, ephemeral=True)
    except (discord.HTTPException, aiohttp.ClientError, OSError) as failure:
        log.warning("Interaction %d could not be answered: %r", interaction.id, failure)
    return outcome


def _judged(error: Exception) -> tuple[str, str | None]:
    """The outcome, and what the person is told; None where nobody but the operator can mend it."""
    match error:
        case discord.Forbidden():
            return "lost", FORBIDDEN
        case discord.DiscordServerError() | aiohttp.ClientError() | TimeoutError():
            return "lost", NOT_TAKEN
        case BotError():
            sentence = str(error)
            return "refused", sentence if len(sentence) <= LONGEST else f"{sentence[:LONGEST]}…"
        case app_commands.CommandNotFound() | app_commands.CommandSignatureMismatch():
            return "refused", CHANGED
        case app_commands.TransformerError():
            return "refused", NO_SUCH_OPTION
        case app_commands.MissingPermissions() | app_commands.BotMissingPermissions():
            whose = "you" if isinstance(error, app_commands.MissingPermissions) else "I"
            lacking = permission_names(error.missing_permissions)
            return "refused", f"That takes the permission {lacking}, which {whose} do not have."
        case app_commands.CheckFailure():
            return "refused", "You cannot use this command here."
    return "failed", None


def permission_names(names: Iterable[str]) -> str:
    """discord.py's names of permissions, as people read them in Discord."""
    return " and ".join(name.replace("_", " ").title() for name in names)


def _log(interaction: discord.Interaction, answered: Answered, error: BaseException | None) -> None:
    """One line; nothing in it that people wrote."""
    failed = answered.outcome == "failed"
    refused = answered.outcome == "refused"
    outcome = f"refused: {answered.error}" if refused else answered.outcome
    duration_ms = round(1000 * answered.seconds)
    levels = {"ok": logging.INFO, "refused": logging.INFO, "lost": logging.WARNING}
    guild = str(interaction.guild_id) if interaction.guild_id else None
    log.log(
        levels.get(answered.outcome, logging.ERROR),
        "Interaction %d: %s in %s: %s, %d ms",
        interaction.id,
        answered.command,
        f"server {guild}" if guild else "private",
        outcome,
        duration_ms,
        exc_info=error if failed else None,
        extra={
            "fields": {
                "interaction": str(interaction.id),  # as a string: JavaScript would round it
                "command": answered.command,
                "guild": guild,
                "outcome": outcome,
                "duration_ms": duration_ms,
            }
        },
    )


def _command(interaction: discord.Interaction) -> str:
    """No more names than there are commands and kinds of buttons."""
    if interaction.command is not None:
        return f"/{interaction.command.qualified_name}"
    button = str((interaction.data or {}).get("custom_id", ""))
    return re.sub(r":\d.*", "", button, flags=re.DOTALL) or "unknown"
