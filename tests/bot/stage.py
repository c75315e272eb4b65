"""A channel in which an admin trains models."""

from dataclasses import dataclass
from typing import Any

import discord
import simcord

from bot.cogs.retrain import TICK_S
from bot.training.message import EDIT_INTERVAL_S
from tests.bot.servers import told
from tests.bot.trainings import FakeTraining, FakeTrainings

MESSAGES = 60  # together long enough to learn from
SOON_S = 3 * TICK_S


@dataclass
class World:
    """One server, one channel, two people."""

    env: simcord.Env
    guild: simcord.GuildHandle
    channel: simcord.ChannelHandle
    alice: simcord.MemberActor
    bob: simcord.MemberActor


class Stage:
    """A channel with the message of a job, and an admin."""

    def __init__(self, world: World, trainings: FakeTrainings):
        role = world.guild.create_role(
            "admins", permissions=discord.Permissions(manage_guild=True, manage_messages=True)
        )
        self.env, self.guild, self.channel = world.env, world.guild, world.channel
        self.bob = world.bob
        self.admin = world.guild.add_member(world.env.create_user("admin"), roles=[role])
        self.trainings = trainings

    @property
    def message(self) -> discord.Message:
        message = self.channel.last_message
        assert message
        return message

    @property
    def title(self) -> str:
        return self.message.embeds[0].title or ""

    @property
    def text(self) -> str:
        embed = self.message.embeds[0]
        fields = (f"{field.name}: {field.value}" for field in embed.fields)
        return "\n".join([embed.description or "", *fields, embed.footer.text or ""])

    @property
    def buttons(self) -> list[str]:
        view = discord.ui.View.from_message(self.message)
        return [str(button.label) for button in view.children]

    async def wait(self, seconds: float = SOON_S) -> None:
        await self.env.advance_time(seconds)

    async def retrain(self, **options: Any) -> str:
        """Use the command, for this channel if nothing else; what it says when it refuses."""
        if "file" not in options:
            options.setdefault("channel", self.channel)
        result = await self.admin.slash(self.channel, "retrain", **options)
        return told(result) or ""

    async def click(self, label: str) -> None:
        await self.admin.click(self.message, label=label)

    async def train(self) -> FakeTraining:
        await self.retrain(name="mine")
        await self.click("Train")
        await self.wait()
        return self.trainings.started[-1]

    async def finish(self, **scores: Any) -> FakeTraining:
        training = await self.train()
        training.finish(**scores)
        await self.wait(EDIT_INTERVAL_S)
        return training

    async def writes(self, **options: Any) -> str:
        """What Bob gets."""
        result = await self.bob.slash(self.channel, "write", seed="O", private=True, **options)
        return result.response.content

    def shows(self, message: discord.Message) -> bool:
        return message.id in {one.id for one in self.channel.history()}
