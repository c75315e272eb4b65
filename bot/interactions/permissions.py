"""What the bot and people may do in a place, and the links that ask for what the bot needs."""

import discord

from bot.errors import BotError
from bot.interactions.markup import listed

VOICE = (discord.VoiceChannel, discord.StageChannel)

NEEDED_TO_READ = discord.Permissions(view_channel=True, read_message_history=True)
EMBEDS, FILES = discord.Permissions(embed_links=True), discord.Permissions(attach_files=True)
TO_SHOW = discord.Permissions(view_channel=True) | EMBEDS | FILES
TO_WRITE = discord.Permissions(send_messages=True)
TO_WRITE_IN_THREADS = discord.Permissions(send_messages_in_threads=True)
# What the invite link asks for.
SERVER_SCOPES = ("bot", "applications.commands")
NEEDED = NEEDED_TO_READ | TO_SHOW | TO_WRITE | TO_WRITE_IN_THREADS
# What a person is asked for who installs the bot for themselves.
USER_SCOPES = ("applications.commands",)

GUILD_INSTALL, USER_INSTALL = "0", "1"  # kinds of installation, as Discord numbers them

RENAMED = {  # where discord.py's name is not Discord's
    "read_messages": "View Channel",
    "send_messages_in_threads": "Send Messages in Threads",
}

NOT_IN_THREAD = (
    "I am not in this private thread, so I cannot show a training here. Mention me, which adds me, "
    "and try again."
)
NOT_IN_SERVER = (
    "That works only in a server that has invited me. An admin of the server can invite me with "
    "this link: <{link}>"
)
LOCKED = "This thread is locked. Unlock it, or use /retrain in another channel."


def invite_link(application_id: int) -> str:
    """The page on which a server's admin adds the bot, with the permissions that it needs."""
    return discord.utils.oauth_url(application_id, permissions=NEEDED, scopes=SERVER_SCOPES)


def install_links(application: discord.AppInfo, *, user_install: bool) -> str:
    """Where people add the bot to a server and, if that is possible, to their account."""
    server = f"Add me to a server: {invite_link(application.id)}"
    if not user_install:
        return server
    if application.bot_public and not application.custom_install_url:
        page = f"https://discord.com/oauth2/authorize?client_id={application.id}"
        return f"Add me to a server or to your account: {page}"
    account = discord.utils.oauth_url(application.id, scopes=USER_SCOPES)
    return f"{server}\nAdd me to your account: {account}&integration_type={USER_INSTALL}"


def server_of(interaction: discord.Interaction) -> discord.Guild | None:
    """The server where somebody used a command, if the bot is in it. Where only a person has
    installed the bot, `interaction.guild` is an object without members, roles and channels."""
    return interaction.client.get_guild(interaction.guild_id or 0)


def admitted(interaction: discord.Interaction) -> discord.Guild:
    """The server of somebody with Manage Server. Raises BotError for everybody else."""
    guild = server_of(interaction)
    if guild is None:
        link = invite_link(interaction.application_id)
        raise BotError(NOT_IN_SERVER.format(link=link), "not_allowed")
    if not interaction.permissions.manage_guild:
        sentence = "You need the permission Manage Server for that."
        raise BotError(sentence, "not_allowed")
    return guild


def needed_to_read(place: object) -> discord.Permissions:
    """What it takes to read the messages in a place. Connect opens the text of voice channels."""
    return NEEDED_TO_READ | discord.Permissions(connect=isinstance(place, VOICE))


def needed_to_answer(place: object) -> discord.Permissions:
    """What it takes to post and edit a message with an embed and a file in a place."""
    write = TO_WRITE_IN_THREADS if isinstance(place, discord.Thread) else TO_WRITE
    return TO_SHOW | write | discord.Permissions(connect=isinstance(place, VOICE))


def granted_in(
    place: discord.abc.GuildChannel | discord.Thread, me: discord.Member
) -> discord.Permissions | None:
    """What the bot may do in a channel, or in a thread, which follows its channel. None if that
    cannot be known, since the thread's channel is deleted or hidden."""
    channel = place.parent if isinstance(place, discord.Thread) else place
    if channel is None:
        return None
    # The channel's own `permissions_for` returns no permission at all without View Channel.
    return discord.abc.GuildChannel.permissions_for(channel, me)


def missing_to_reply(place: object, me: discord.Member) -> discord.Permissions | None:
    """What the bot lacks to reply to a message in a place; false if nothing. In a forum, messages
    are in its posts, which are threads. None: nobody can allow it, or what is allowed cannot be
    known."""
    if not isinstance(place, discord.abc.GuildChannel | discord.Thread):
        return None
    granted = granted_in(place, me)
    if granted is None:
        return None
    if isinstance(place, discord.Thread) and place.locked and not granted.manage_threads:
        return None
    in_thread = isinstance(place, discord.Thread | discord.ForumChannel)
    needed = needed_to_read(place) | (TO_WRITE_IN_THREADS if in_thread else TO_WRITE)
    return missing(needed, granted)


def may_send(interaction: discord.Interaction, needed: discord.Permissions) -> bool:
    """Whether an answer may have EMBEDS or FILES. In a server that has not invited the bot, it may
    have what the person may send who asks."""
    return interaction.guild_id is None or not missing(needed, interaction.app_permissions)


def missing(needed: discord.Permissions, granted: discord.Permissions) -> discord.Permissions:
    """The permissions that are needed and not granted; false if there are none."""
    return needed & ~granted


def names(permissions: discord.Permissions) -> str:
    """Permissions as Discord shows them: `View Channel and Send Messages`."""
    names = [name for name, present in permissions if present]
    return listed([RENAMED.get(name, name.replace("_", " ").title()) for name in names])


def remedy(me: discord.Member) -> str:
    """What an admin can do when the bot lacks a permission."""
    if me.timed_out_until is not None and me.is_timed_out():
        until = discord.utils.format_dt(me.timed_out_until)
        return f"I am timed out until {until}. End that, or try again then."
    return "Allow me that in the channel's settings and try again."


def check_can_answer(interaction: discord.Interaction, me: discord.Member) -> None:
    """Raises BotError when the bot's messages could not be shown where somebody used a command."""
    place, granted = interaction.channel, interaction.app_permissions
    if lacking := missing(needed_to_answer(place), granted):
        raise BotError(
            f"To show a training here I need {names(lacking)}. {remedy(me)}", "not_allowed"
        )
    if isinstance(place, discord.Thread) and place.locked and not granted.manage_threads:
        raise BotError(LOCKED, "not_allowed")


async def check_in_thread(interaction: discord.Interaction, me: discord.Member) -> None:
    """Raises BotError when a command was used in a private thread that is closed to the bot. The
    permissions are the parent channel's; only Discord knows the members of a private thread."""
    place = interaction.channel
    if not isinstance(place, discord.Thread) or not place.is_private():
        return
    if interaction.app_permissions.manage_threads:
        return
    try:
        await place.fetch_member(me.id)
    except (discord.Forbidden, discord.NotFound) as error:
        raise BotError(NOT_IN_THREAD, "not_allowed") from error
