"""Text as Discord shows it: escaping, lengths, dates, durations."""

import re
import unicodedata

import discord

MESSAGE_LIMIT = 2000  # UTF-16 units

HIDDEN = ("Cc", "Cf", "Cs")  # Unicode categories: control, format, surrogate

_INVISIBLE = "\u200b"  # zero-width space: shows nothing, breaks links and mentions

# Only what would be markup where it stands: copied messages show the backslashes.
_MARKUP = re.compile(r"[\\*_~`|<\[\]]|:(?=[^\s:]{1,64}:)|(?m:^)[ \t]*(?:[>#-]|\d+[.)])")

_LINK = re.compile(r"(?<=/)(?=/)|(?<=@)|(?i:(?<=discord)|(?<=discordapp))(?=\.)")

_ESCAPED = re.compile(r"\\([^0-9A-Za-z\s])")


def visible(text: str) -> str:
    """`text` without control characters, invisible formatting and lone surrogates: a seed must
    not be able to turn the rest of a message around."""
    kept = (c for c in text if c in "\n\t\u200d" or unicodedata.category(c) not in HIDDEN)
    return "".join(kept)


def escape(text: str) -> str:
    """`text` such that Discord shows it character by character: no markup, mention, link,
    invite, or timestamp."""
    return _LINK.sub(_INVISIBLE, _MARKUP.sub(_backslash, visible(text)))


def unescape(content: str) -> str:
    """The text that `escape` was given, less what `visible` takes away."""
    return _ESCAPED.sub(r"\1", content.replace(_INVISIBLE, ""))


def utf16_length(text: str) -> int:
    """Length as Discord counts it."""
    return len(text.encode("utf-16-le")) // 2


def _backslash(match: re.Match[str]) -> str:
    return match[0][:-1] + "\\" + match[0][-1]


GOOD, NEUTRAL, BAD = discord.Colour.green(), discord.Colour.blurple(), discord.Colour.red()


def duration(seconds: float) -> str:
    """About how long something takes."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"


def counted(number: int, noun: str) -> str:
    """A number of things, as people say it."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def day(seconds: int) -> str:
    """A time in seconds since 1970, as Discord shows it to each in their own language."""
    return f"<t:{seconds}:d>"
