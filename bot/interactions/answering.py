"""Turn exceptions into replies, and log the outcome of whatever people ask."""

import asyncio
import logging
import re
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp
import discord
from discord import app_commands

from bot.errors import BotError
from bot.interactions.markup import MESSAGE_LIMIT
from bot.interactions.permissions import (
    EMBEDS,
    TO_SHOW,
    TO_WRITE,
    TO_WRITE_IN_THREADS,
    may_send,
    names,
)
from bot.interactions.retries import ACKNOWLEDGED, REFUSALS

log = logging.getLogger(__name__)

# Discord's codes for an interaction that can no longer be answered. Unknown interaction, unknown
# webhook, invalid webhook token: it has expired. Unknown message: somebody deleted the answer.
GONE = {10062, 10015, 50027, 10008, ACKNOWLEDGED}
NO_REFERENCE = "In message_reference: "  # somebody deleted the message that is answered
TASK_NAME = "answer"
THINKING = "thinking"  # in an interaction's extras: see `think`
PLACEHOLDER = "…"

FORBIDDEN = (
    "Discord does not let me answer here. Ask an admin of this server to allow me "
    f"{names(TO_SHOW)} here, and {names(TO_WRITE)} or, in a thread, {names(TO_WRITE_IN_THREADS)}."
)
CHANGED = "This command has changed. Restart Discord, then use it again."
NOT_CONFIRMED = "Discord did not confirm my answer. If you do not see it, try again."
FAILED = (
    "Something went wrong on my side. Try again. If it happens again, tell the bot's operator this "
    "number: {id}"
)

OUTCOMES = ("ok", "refused", "failed", "lost")  # lost: Discord did not accept the answer


@dataclass(frozen=True)
class Answered:
    """How a command, a button or a mention ended; the argument of the event `answered`."""

    command: str  # "/write", a button's kind and action ("reply:reroll"), or "mention"
    outcome: str  # one of OUTCOMES
    seconds: float
    error: str | None  # a BotError's kind, or the exception's class


class OutcomeLog(ABC):
    """Logs how its body ends, and answers an exception in it with a sentence.

    An exception that is not a refusal is logged with its traceback; the user gets `number`, by
    which the operator finds it in the log."""

    kind: str  # of what is answered, for the log

    def __init__(self, client: discord.Client, number: int, guild_id: int | None):
        self._client = client
        self._number = number
        self._guild = str(guild_id) if guild_id else None
        self._started = 0.0

    @property
    @abstractmethod
    def command(self) -> str:
        """What log and metrics call it. Without ids: metrics need a small set of names."""

    @abstractmethod
    async def say(self, outcome: str, sentence: str) -> None:
        """Answer with a sentence about an error."""

    async def __aenter__(self) -> None:
        self._started = time.perf_counter()
        task = asyncio.current_task()
        assert task is not None  # discord.py runs each command, button and event in a task
        task.set_name(TASK_NAME)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        outcome, sentence = _judge(self._number, error)
        if sentence is not None:
            try:
                await self.say(outcome, sentence)
            except REFUSALS as failure:
                log.warning("%s %d could not be answered: %r", self.kind, self._number, failure)
        seconds = time.perf_counter() - self._started
        reason = error.kind if isinstance(error, BotError) else kind and kind.__name__
        answered = Answered(self.command, outcome, seconds, reason)
        self._log(answered, error)
        self._client.dispatch("answered", answered)
        return isinstance(error, Exception)

    def _log(self, answered: Answered, error: BaseException | None) -> None:
        """Write one line without anything that users wrote."""
        refused, failed = answered.outcome == "refused", answered.outcome == "failed"
        outcome = f"refused: {answered.error}" if refused else answered.outcome
        levels = {"failed": logging.ERROR, "lost": logging.WARNING}
        duration_ms = round(1000 * answered.seconds)
        log.log(
            levels.get(answered.outcome, logging.INFO),
            "%s %d: %s in %s: %s, %d ms",
            self.kind,
            self._number,
            answered.command,
            f"server {self._guild}" if self._guild else "private",
            outcome,
            duration_ms,
            exc_info=error if failed else None,
            extra={
                "interaction": str(self._number),  # as a string: JavaScript would round it
                "command": answered.command,
                "guild": self._guild,
                "outcome": outcome,
                "duration_ms": duration_ms,
            },
        )


class Answering(OutcomeLog):
    """`async with Answering(interaction):` in a command or a button."""

    kind = "Interaction"

    def __init__(self, interaction: discord.Interaction):
        super().__init__(interaction.client, interaction.id, interaction.guild_id)
        self._interaction = interaction

    @property
    def command(self) -> str:
        if isinstance(self._interaction.command, app_commands.ContextMenu):
            return self._interaction.command.name
        if self._interaction.command is not None:
            return f"/{self._interaction.command.qualified_name}"
        custom_id = str((self._interaction.data or {}).get("custom_id", ""))
        return re.sub(r":\d.*", "", custom_id, flags=re.DOTALL) or "unknown"

    async def say(self, outcome: str, sentence: str) -> None:
        del outcome
        interaction, response = self._interaction, self._interaction.response
        if interaction.type is discord.InteractionType.autocomplete:
            await response.autocomplete([])  # has no room for a sentence
        elif not response.is_done():
            await response.send_message(sentence, ephemeral=True)
        elif interaction.extras.get(THINKING) == "private":
            # Not a follow-up: an edit can always be sent again if Discord does not respond.
            await interaction.edit_original_response(content=sentence)
        else:
            if interaction.extras.get(THINKING) == "public":
                await _stop_thinking(interaction)
            await interaction.followup.send(sentence, ephemeral=True)


async def think(interaction: discord.Interaction, *, private: bool) -> None:
    """Show "thinking…" until the answer is ready: to everybody, or only to the person who asked.
    After an error, the sentence about it replaces what is shown; only that person sees it."""
    await interaction.response.defer(thinking=True, ephemeral=private)
    interaction.extras[THINKING] = "private" if private else "public"


def keep_answer(interaction: discord.Interaction) -> None:
    """Let the answer stay, as it is now, if an error follows."""
    interaction.extras.pop(THINKING, None)


async def show(
    interaction: discord.Interaction,
    embed: discord.Embed,
    sentence: str | None = None,
    **more: Any,  # as for edit_original_response
) -> None:
    """Answer with an embed, or with its text where Discord shows no embeds."""
    if may_send(interaction, EMBEDS):
        await interaction.edit_original_response(content=sentence, embed=embed, **more)
        return
    fields = [f"**{field.name}**\n{field.value}" for field in embed.fields]
    parts = [sentence, f"**{embed.title}**", embed.description, *fields]
    content = "\n".join(filter(None, parts))
    await interaction.edit_original_response(content=content[:MESSAGE_LIMIT], **more)


async def answer_error(interaction: discord.Interaction, error: Exception) -> None:
    """Answer an error that was raised before the command's own code ran."""
    async with Answering(interaction):
        raise error


async def wait_for_answers(timeout_s: float) -> None:
    """Return when every interaction has been answered. After `timeout_s` seconds, give up on the
    others: they may be waiting for a broken connection."""
    answers = [task for task in asyncio.all_tasks() if task.get_name() == TASK_NAME]
    if answers:
        _, waiting = await asyncio.wait(answers, timeout=timeout_s)
        for task in waiting:
            task.cancel()


def _judge(number: int, error: BaseException | None) -> tuple[str, str | None]:
    """The outcome, and the sentence to reply with, if any."""
    match error:
        case None:
            return "ok", None
        case discord.HTTPException(code=code, text=text) if code in GONE or NO_REFERENCE in text:
            return "lost", None
        case discord.Forbidden():
            return "lost", FORBIDDEN
        case discord.DiscordServerError() | aiohttp.ClientError() | TimeoutError():
            return "lost", NOT_CONFIRMED
        case BotError():
            return "refused", str(error)[: MESSAGE_LIMIT // 2]  # a character is 1 or 2 units
        case (
            app_commands.CommandNotFound()
            | app_commands.CommandSignatureMismatch()
            | app_commands.TransformerError()
        ):
            return "refused", CHANGED
        case Exception():
            return "failed", FAILED.format(id=number)
    return "lost", None  # cancelled


async def _stop_thinking(interaction: discord.Interaction) -> None:
    """Delete a public "thinking…": a follow-up would take its place, so everybody would see it."""
    # Either may be refused, for example if somebody has deleted the message. It is edited first
    # because Discord has refused follow-ups after a "thinking…" that was deleted as such.
    with suppress(discord.HTTPException):
        await interaction.edit_original_response(content=PLACEHOLDER)
    with suppress(discord.HTTPException):
        await interaction.delete_original_response()
