"""The message that asks which channels to learn from.

It also remembers them: Discord sends the channels when somebody selects them, but not when somebody
presses a button below the select. So nothing needs to be stored, and a restart does no harm."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import discord
from discord import ui

from bot.corpus.channel import CHANNEL_TYPES
from bot.interactions.buttons import CogButton, view_of

MAX_CHANNELS = 25  # Discord's limit


class ChoiceAction(StrEnum):
    """What the select and the buttons do."""

    CHOOSE = "choose"
    COUNT = "count"
    CANCEL = "cancel"


class ChoiceItem(CogButton, kind="channels", actions=ChoiceAction, cog="RetrainCog"):
    """The select, or a button below it."""

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str]
    ) -> Self:
        del interaction
        return cls(ChoiceAction(match["action"]), int(match["number"]), item=item)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.client.get_cog(self._cog).choose(interaction, self._action)


@dataclass(frozen=True)
class ChannelChoice:
    """The options of /retrain, and the channels that are chosen at the moment."""

    asker_id: int  # who may choose
    channel_ids: tuple[int, ...]
    messages: int
    days: int | None
    base: str
    name: str | None

    @classmethod
    def shown_in(cls, message: discord.Message) -> Self:
        """Read a choice back from the message with its `view`."""
        rows: list[Any] = message.components
        [select], [count, _] = (row.children for row in rows)
        _, _, asker_id, base = select.custom_id.split(":", 3)
        _, _, messages, days, name = count.custom_id.split(":", 4)
        return cls(
            int(asker_id),
            tuple(channel.id for channel in select.default_values),
            int(messages),
            int(days) or None,
            base,
            name or None,
        )

    def __str__(self) -> str:
        """What people are told."""
        days = f" of the last {self.days:,} days" if self.days else ""
        return (
            f"Which channels shall I learn from? Choose up to {MAX_CHANNELS}, then press **Count**."
            f" I read the newest {self.messages:,} messages{days} of all of them together. For a "
            "thread or a post of a forum, use /retrain there."
        )

    def view(self) -> ui.View:
        # No id exceeds Discord's 100 characters: names have up to 32, ids of people up to 20.
        select = ui.ChannelSelect(
            custom_id=f"channels:{ChoiceAction.CHOOSE}:{self.asker_id}:{self.base}",
            channel_types=CHANNEL_TYPES,
            placeholder="The channels to learn from",
            max_values=MAX_CHANNELS,
            default_values=[discord.Object(channel_id) for channel_id in self.channel_ids],
        )
        options = f"{self.messages}:{self.days or 0}:{self.name or ''}"
        count = ui.Button(
            custom_id=f"channels:{ChoiceAction.COUNT}:{options}",
            label="Count",
            style=discord.ButtonStyle.success,
        )
        cancel = ui.Button(
            custom_id=f"channels:{ChoiceAction.CANCEL}:{self.asker_id}",
            label="Cancel",
            style=discord.ButtonStyle.danger,
        )
        return view_of(
            ChoiceItem(ChoiceAction.CHOOSE, self.asker_id, item=select),
            ChoiceItem(ChoiceAction.COUNT, self.messages, item=count),
            ChoiceItem(ChoiceAction.CANCEL, self.asker_id, item=cancel),
        )
