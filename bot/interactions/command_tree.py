"""What people send, before a command has it: each interaction once, and only what was offered."""

import logging
from collections import OrderedDict
from typing import Any

import discord
from discord import app_commands

from bot.errors import NotAllowedError
from bot.interactions.answering import answer_error
from bot.interactions.markup import escape

log = logging.getLogger(__name__)

REMEMBERED = 10_000  # interactions
# What the options' values are, where they are no ids.
KINDS: dict[int, Any] = {3: str, 4: int, 5: bool, 10: int | float}


class Tree(app_commands.CommandTree[Any]):
    """Answers each interaction once: after a connection was lost, one may come again. Commands are
    given only what they offer: Discord sees to that, and discord.py takes Discord's word."""

    def __init__(self, client: discord.Client):
        super().__init__(client)
        self._seen: OrderedDict[int, None] = OrderedDict()
        self.error(answer_error)

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        if not self.is_new(interaction):
            return False
        command, given = interaction.command, interaction.data
        typing = interaction.type is discord.InteractionType.autocomplete
        if typing or given is None or not isinstance(command, app_commands.Command):
            return True  # what is half typed may yet become right; what is unknown is answered
        for option in given.get("options", ()):
            parameter = command.get_parameter(option["name"])
            if parameter is None or not _fits(option["type"], option.get("value"), parameter):
                sentence = f"`{escape(option['name'])}` cannot be that. Choose from what I offer."
                await answer_error(interaction, NotAllowedError(sentence))
                return False
        return True

    def is_new(self, interaction: discord.Interaction) -> bool:
        """Whether it has not been here before."""
        if interaction.id in self._seen:
            log.info("Interaction %d came again.", interaction.id)
            return False
        self._seen[interaction.id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True


def _fits(kind: int, value: object, parameter: app_commands.Parameter) -> bool:
    if kind != parameter.type.value:
        return False
    least, most = parameter.min_value, parameter.max_value
    if kind not in KINDS:
        return True  # an id, which Discord has resolved or not
    if not isinstance(value, KINDS[kind]) or isinstance(value, bool) is not (KINDS[kind] is bool):
        return False
    size: Any = len(value) if isinstance(value, str) else value
    return (least is None or least <= size) and (most is None or size <= most)
