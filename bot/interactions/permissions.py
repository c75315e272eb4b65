"""The permissions that the bot needs, and their names as Discord shows them."""

import discord

NEEDED_TO_ANSWER = discord.Permissions(
    view_channel=True, send_messages=True, embed_links=True, attach_files=True
)
NEEDED_TO_READ = discord.Permissions(view_channel=True, read_message_history=True)
NEEDED_TO_READ_VOICE = NEEDED_TO_READ | discord.Permissions(connect=True)
# What the invite link asks for.
NEEDED = NEEDED_TO_ANSWER | NEEDED_TO_READ | discord.Permissions(send_messages_in_threads=True)

RENAMED = {"read_messages": "View Channel"}  # where discord.py's name is not Discord's


def missing(needed: discord.Permissions, granted: discord.Permissions) -> discord.Permissions:
    """The permissions that are needed and not granted; false if there are none."""
    return needed & ~granted


def names(permissions: discord.Permissions) -> str:
    """Permissions as Discord shows them: `View Channel and Send Messages`."""
    names = [name for name, present in permissions if present]
    return " and ".join(RENAMED.get(name, name.replace("_", " ").title()) for name in names)
