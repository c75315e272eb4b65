"""Servers in a simulated Discord, each with an admin, a member, and models."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
import simcord

from bot.services import Services
from bot.storage.records import Source, StoredModel, TrainingJob
from bot.storage.registry import Registry
from tests.bot.guilds import COUNTS, SCORES


@dataclass
class Server:
    """A server that has invited the bot."""

    guild: simcord.GuildHandle
    channel: simcord.ChannelHandle
    admin: simcord.MemberActor
    member: simcord.MemberActor
    services: Services  # the bot's
    state: Path  # the bot's state folder

    @property
    def registry(self) -> Registry:
        return self.services.registry

    async def queue(self, name: str, *authors: int, file: bool = False) -> TrainingJob:
        """A job in QUEUED, which learns from a file or from the channel."""
        source = Source("a.json") if file else Source("#general", (self.channel.id,), 10_000)
        where = self.guild.id, self.admin.id, self.channel.id
        job = await self.registry.create_job(*where, name=name, base="chat", source=source)
        await self.registry.ready(self.guild.id, job.id, COUNTS, authors, 60)
        return await self.registry.enqueue(self.guild.id, job.id)

    async def make(self, name: str, *authors: int, file: bool = False) -> StoredModel:
        """A model with its files."""
        job = await self.queue(name, *authors, file=file)
        assert await self.registry.start_next()
        shutil.copytree(self.services.shakespeare.folder, self.state / job.folder)
        model = await self.registry.finish(self.guild.id, job.id, SCORES, 14_000_000)
        await self.registry.mark_shown(self.guild.id, job.id, model)
        return model

    async def names(self) -> list[str]:
        """The names of its models, oldest first."""
        return [model.name for model in await self.registry.models(self.guild.id)]

    async def in_use(self) -> str | None:
        model = await self.registry.model_in_use(self.guild.id)
        return model and model.name


def create_server(env: simcord.Env, name: str, services: Services, state: Path) -> Server:
    guild = env.create_guild(name)
    admins = guild.create_role("admins", permissions=discord.Permissions(manage_guild=True))
    admin = guild.add_member(env.create_user(f"admin of {name}"), roles=[admins])
    member = guild.add_member(env.create_user(f"member of {name}"))
    return Server(guild, guild.create_text_channel("general"), admin, member, services, state)


def labels(message: simcord.ResponseMessage | discord.Message) -> list[str]:
    """The labels of the buttons under a message."""
    if isinstance(message, discord.Message):
        rows: list[Any] = [row.to_dict() for row in message.components]
    else:
        rows = message.components
    return [button["label"] for row in rows for button in row["components"]]


def told(result: simcord.InteractionResult) -> str:
    """The last sentence that answered a command or a button."""
    return (result.followups or [result.response])[-1].content


async def press(
    who: simcord.MemberActor, channel: simcord.ChannelHandle, env: simcord.Env, button_id: str
) -> simcord.InteractionResult:
    """Press a button that stands in some channel."""
    view = discord.ui.View().add_item(discord.ui.Button(label="press", custom_id=button_id))
    message = await env.bot.get_channel(channel.id).send(view=view)
    return await who.click(message, label="press")
