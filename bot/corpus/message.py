"""A message of Discord -> what charrnn reads of it."""

import discord

from charrnn.text.messages import Message

WRITTEN_BY_PEOPLE = (discord.MessageType.default, discord.MessageType.reply)


def as_message(message: discord.Message) -> Message:
    """The message, with the names of those that it mentions."""
    mentioned = (
        *((user.id, user.display_name) for user in message.mentions),
        *((role.id, role.name) for role in message.role_mentions),
        *((channel.id, channel.name) for channel in message.channel_mentions),
    )
    return Message(
        author=str(message.author.id),
        content=message.content,
        automatic=message.author.bot or message.webhook_id is not None,
        system=message.type not in WRITTEN_BY_PEOPLE,
        names={str(number): name for number, name in mentioned},
    )
