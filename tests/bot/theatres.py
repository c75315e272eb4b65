"""Servers in a simulated Discord, each with an admin, a member, and models."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
import simcord

from bot.client import Services
from bot.storage.records import StoredModel, TrainingJob
from tests.bot.guilds import SCORES


@dataclass
class Theatre:
    """A server, one that `has` the bot, which keeps its models in `state`."""

    guild: simcord.GuildHandle
    channel: simcord.ChannelHandle
    admin: simcord.MemberActor
    member: simcord.MemberActor
    has: Services
    state: Path

    def queue(self, name: str, *authors: int, file: bool = False) -> TrainingJob:
        """A training that waits for its turn, of a file or of the channel."""
        job = self.has.registry.create_job(
            self.guild.id,
            self.admin.id,
            self.channel.id,
            name=name,
            base="chat",
            source="the file a.json" if file else "#general, the newest 10,000 messages",
            source_channel_id=None if file else self.channel.id,
            source_messages=None if file else 10_000,
        )
        return self.has.registry.enqueue(self.guild.id, job.id, authors)

    def make(self, name: str, *authors: int, file: bool = False) -> StoredModel:
        """A model with its files."""
        job = self.queue(name, *authors, file=file)
        assert self.has.registry.start_next(1) == self.has.registry.job(self.guild.id, job.id)
        shutil.copytree(self.has.shakespeare.folder, self.state / job.folder)
        return self.has.registry.finish(self.guild.id, job.id, SCORES, 14_000_000)

    def names(self) -> list[str]:
        """Of its models, the oldest first."""
        return [model.name for model in self.has.registry.models(self.guild.id)]

    def in_use(self) -> str | None:
        model = self.has.registry.model_in_use(self.guild.id)
        return model and model.name


def open_theatre(env: simcord.Env, name: str, has: Services, state: Path) -> Theatre:
    guild = env.create_guild(name)
    admins = guild.create_role("admins", permissions=discord.Permissions(manage_guild=True))
    admin = guild.add_member(env.create_user(f"admin of {name}"), roles=[admins])
    member = guild.add_member(env.create_user(f"member of {name}"))
    return Theatre(guild, guild.create_text_channel("general"), admin, member, has, state)


def labels(message: simcord.ResponseMessage | discord.Message) -> list[str]:
    """Of the buttons under a message."""
    if isinstance(message, discord.Message):
        rows: list[Any] = [row.to_dict() for row in message.components]
    else:
        rows = message.components
    return [button["label"] for row in rows for button in row["components"]]


def told(result: simcord.InteractionResult) -> str:
    """The last sentence that came of a command or of a button."""
    return (result.followups or [result.response])[-1].content


async def press(
    who: simcord.MemberActor, channel: simcord.ChannelHandle, env: simcord.Env, button_id: str
) -> simcord.InteractionResult:
    """Press a button that has come to stand in a channel."""
    view = discord.ui.View().add_item(discord.ui.Button(label="press", custom_id=button_id))
    message = await env.bot.get_channel(channel.id).send(view=view)
    return await who.click(message, label="press")
