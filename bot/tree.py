"""What people send, before a command has it: each interaction once, and only what was offered."""

import logging
import re
from collections import OrderedDict
from enum import StrEnum
from typing import Any, Self

import discord
from discord import app_commands, ui

from bot.answers import answer_error
from bot.errors import NotAllowedError
from bot.replies import escape

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


class CogButton(ui.DynamicItem[ui.Button[Any]], template=r"(?!)"):
    """A button that says in its id what it does, and with what or for whom, `kind:action:number`;
    so it outlives the process. What it says, its cog does, once for each time it is pressed."""

    _kind: str
    _actions: type[StrEnum]
    _cog: str

    def __init_subclass__(cls, *, kind: str, actions: type[StrEnum], cog: str) -> None:
        template = rf"{kind}:(?P<action>{'|'.join(actions)}):(?P<number>\d+)"
        super().__init_subclass__(template=template)
        cls._kind, cls._actions, cls._cog = kind, actions, cog

    def __init__(self, action: StrEnum, number: int, **look: Any):
        """`look`: as ui.Button takes it."""
        self._action = action
        self._number = number
        super().__init__(ui.Button(custom_id=f"{self._kind}:{action}:{number}", **look))

    @classmethod
    def names(cls) -> list[str]:
        """Of the buttons there are of this kind, as the log and the metrics call them."""
        return [f"{cls._kind}:{action}" for action in cls._actions]

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str]
    ) -> Self:
        del interaction, item  # all that matters is in the id
        return cls(cls._actions(match["action"]), int(match["number"]))

    async def interaction_check(self, interaction: discord.Interaction[Any]) -> bool:
        return interaction.client.tree.is_new(interaction)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        cog = interaction.client.get_cog(self._cog)
        await cog.press(interaction, self._action, self._number)


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
