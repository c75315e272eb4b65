"""Buttons that keep working after a restart."""

import re
from enum import StrEnum
from typing import Any, Self

import discord
from discord import ui

from bot.errors import BotError


def not_yours(owner_id: int, instead: str) -> BotError:
    """A button is for the person whose command it belongs to. `instead`: what others can do."""
    return BotError(f"These buttons are <@{owner_id}>'s. {instead}", kind="not_yours")


def view_of(*buttons: ui.Item[Any]) -> ui.View:
    """A view of buttons that do not expire."""
    view = ui.View(timeout=None)
    for button in buttons:
        view.add_item(button)
    return view


class CogButton(ui.DynamicItem[ui.Item[Any]], template=r"(?!)"):
    """A button whose id says what it does: `kind:action:number`, such as `model:delete:7`. The id
    may go on after another colon, and the item may be a select.

    Its cog handles it: `press(interaction, action, number)`, once for each click."""

    _kind: str
    _actions: type[StrEnum]
    _cog: str

    def __init_subclass__(cls, *, kind: str, actions: type[StrEnum], cog: str) -> None:
        template = rf"{kind}:(?P<action>{'|'.join(actions)}):(?P<number>\d+)(?::.*)?"
        super().__init_subclass__(template=template)
        cls._kind, cls._actions, cls._cog = kind, actions, cog

    def __init__(
        self, action: StrEnum, number: int, *, item: ui.Item[Any] | None = None, **look: Any
    ):
        """`item`: the item itself, with its id. Without it, `look` describes the button: label,
        style, emoji, disabled, as for ui.Button."""
        self._action = action
        self._number = number
        super().__init__(item or ui.Button(custom_id=f"{self._kind}:{action}:{number}", **look))

    @classmethod
    def names(cls) -> list[str]:
        """The names in log and metrics of all buttons of this kind."""
        return [f"{cls._kind}:{action}" for action in cls._actions]

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str]
    ) -> Self:
        del interaction, item
        return cls(cls._actions(match["action"]), int(match["number"]))

    async def interaction_check(self, interaction: discord.Interaction[Any]) -> bool:
        return interaction.client.tree.is_new(interaction)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        cog = interaction.client.get_cog(self._cog)
        await cog.press(interaction, self._action, self._number)
