"""Text for Discord messages: escaping, lengths, numbers, dates, colours."""

import re
from collections.abc import Sequence

import discord

from charrnn.vocabulary import visible

MESSAGE_LIMIT = 2000  # UTF-16 units
EMBED_LIMIT = 4096  # characters of an embed's description

GOOD, NEUTRAL, BAD = discord.Colour.green(), discord.Colour.blurple(), discord.Colour.red()

INVISIBLE = "\u200b"  # zero-width space: breaks links and mentions without being seen

# Characters are escaped only where they would be markup: copied messages show the backslashes.
_MARKUP = re.compile(r"[\\*_~`|<\[\]]|:(?=[^\s:]{1,64}:)|(?m:^)[ \t]*(?:[>#-]|\d+[.)])")
_LINK = re.compile(r"(?<=/)(?=/)|(?<=@)|(?i:(?<=discord)|(?<=discordapp))(?=\.)")
_ESCAPED = re.compile(r"\\([^0-9A-Za-z\s])")


def escape(text: str) -> str:
    """`text` such that Discord shows each character as it is: no markup, mention, link, invite or
    timestamp."""
    return _LINK.sub(INVISIBLE, _MARKUP.sub(_backslash, visible(text)))


def unescape(content: str) -> str:
    """The inverse of `escape`: returns `visible(text)` for `escape(text)`."""
    return _ESCAPED.sub(r"\1", content.replace(INVISIBLE, ""))


def _backslash(match: re.Match[str]) -> str:
    return match[0][:-1] + "\\" + match[0][-1]


def utf16_length(text: str) -> int:
    """Length in UTF-16 units, as Discord counts it."""
    return len(text.encode("utf-16-le")) // 2


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def listed(names: Sequence[str], limit: int | None = None) -> str:
    """The first `limit` names, and how many more there are: `#general, #memes and 3 more`."""
    shown = list(names[:limit])
    if more := len(names) - len(shown):
        shown.append(f"{more:,} more")
    *first, last = shown
    return f"{', '.join(first)} and {last}" if first else last


def duration(seconds: float) -> str:
    """A rounded duration: `20 seconds`, `5 minutes`, `2 hours`."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"


def day(seconds: int) -> str:
    """A date that Discord shows in each user's language, from seconds since 1970."""
    return f"<t:{seconds}:d>"
