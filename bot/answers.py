"""What goes wrong while a person is being answered -> a sentence to them, or a line in the log."""

import asyncio
import logging
from types import TracebackType

import discord

from bot.errors import BotError

log = logging.getLogger(__name__)

# Its three seconds, or its fifteen minutes, are over: unknown interaction, unknown webhook,
# invalid webhook token.
GONE = {10062, 10015, 50027}

ANSWER = "answer"  # the name of a task in which a person is being answered


class Answering:
    """`async with Answering(interaction):` an exception inside becomes an answer to it."""

    def __init__(self, interaction: discord.Interaction):
        self._interaction = interaction

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # discord.py has a task for each command and each button
        task.set_name(ANSWER)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        await answer_error(self._interaction, error)
        return True


async def given(timeout_s: float) -> None:
    """Return when everybody who is being answered has their answer, or the time is over."""
    answers = [task for task in asyncio.all_tasks() if task.get_name() == ANSWER]
    if answers:
        await asyncio.wait(answers, timeout=timeout_s)


async def answer_error(interaction: discord.Interaction, error: Exception) -> None:
    """Tell the person what is wrong; what they cannot mend goes to the log under an id that
    they are told."""
    if isinstance(error, discord.HTTPException) and error.code in GONE:
        log.warning("Interaction %d was lost: Discord no longer knows it.", interaction.id)
        return
    if isinstance(error, BotError):
        sentence = str(error)
    else:
        log.error("Interaction %d failed.", interaction.id, exc_info=error)
        sentence = (
            "Something went wrong on my side, not on yours. Try again; if it happens again, tell "
            f"the bot's operator this number: {interaction.id}"
        )
    try:
        if interaction.response.is_done():
            await interaction.followup.send(sentence, ephemeral=True)
        else:
            await interaction.response.send_message(sentence, ephemeral=True)
    except discord.HTTPException as failure:
        log.warning("Interaction %d could not be answered: %s", interaction.id, failure)
