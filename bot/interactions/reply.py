"""A text -> a message that Discord accepts and nobody can abuse; and back.

A reply is the seed in bold, the text, and a small last line. Everything that a button needs is
read back from the message itself, so buttons outlive the bot's process without a database.
"""

import re
from dataclasses import dataclass
from math import ceil

from bot.interactions.markup import (
    _INVISIBLE,
    MESSAGE_LIMIT,
    escape,
    unescape,
    utf16_length,
    visible,
)
from charrnn.vocabulary import describe_characters

DROPPED_LIMIT = 12  # characters named in the last line

_FOOTER = re.compile(
    r"(?:^|\n)-# (?P<model>.*) · temperature (?P<temperature>[\d.]+)"
    r" · random seed (?P<rng_seed>\d+)(?: · left out: .+)?$"
)

# Bold does not reach across an empty line.
_GAP = r"\n\s*\n\s*"
# An asterisk of the seed or the text is escaped; only the bold's own are bare.
_BOLD = r"\*\*(?:\\.|[^\\*])*\*\*"
_SEED = re.compile(rf"{_BOLD}(?:{_GAP}{_BOLD})*", re.DOTALL)
_BARE_STARS = re.compile(r"(\\.)|\*\*", re.DOTALL)


@dataclass(frozen=True)
class Reply:
    """What a message shows: the text that goes on from a seed, and how it came about."""

    seed: str  # `as_shown`
    text: str
    model: str
    temperature: float  # of two decimals
    rng_seed: int
    dropped: str = ""  # characters of the seed that the model cannot say

    def render(self) -> str:
        """The message's content, at most 2000 UTF-16 units. Of a seed that is too long for it,
        the end is shown. Raises ValueError when the text alone is too long."""
        footer = (
            f"\n-# {escape(self.model)} · temperature {self.temperature:g}"
            f" · random seed {self.rng_seed}"
        )
        if self.dropped:
            more = "…" if len(self.dropped) > DROPPED_LIMIT else ""
            named = describe_characters(self.dropped[:DROPPED_LIMIT]) + more
            footer += f" · left out: {escape(named)}"
        rest = escape(self.text) + footer
        seed = self.seed
        content = _bold(seed) + rest
        while (excess := utf16_length(content) - MESSAGE_LIMIT) > 0:
            if len(seed) <= 1:
                raise ValueError("the text alone is too long for a message")
            # A character takes at most three units: itself, its backslash, and its share of the
            # stars around a paragraph. So this never takes away much too much.
            seed = "…" + seed.removeprefix("…")[ceil(excess / 3) :]
            content = _bold(seed) + rest
        return content

    @classmethod
    def parse(cls, content: str) -> "Reply":
        """The reply that `content` was rendered from, its seed as far as it was shown.

        Raises ValueError when it is not one."""
        footer = _FOOTER.search(content)
        if footer is None:
            raise ValueError("not a reply of this bot")
        body = content[: footer.start()]
        bold = _SEED.match(body)
        seed = _BARE_STARS.sub(r"\1", bold[0]) if bold else ""
        text = body[bold.end() :] if bold else body
        return cls(
            unescape(seed),
            unescape(text),
            unescape(footer["model"]),
            float(footer["temperature"]),
            int(footer["rng_seed"]),
        )


def as_shown(seed: str) -> str:
    """`seed` as a reply can show it, and give it back: of a long one, the end."""
    return visible(seed).strip()[-MESSAGE_LIMIT:].lstrip()


def _bold(seed: str) -> str:
    # The zero-width space: bold may not end between punctuation and a letter.
    paragraphs = re.split(f"({_GAP})", seed)
    bold = (f"**{escape(p)}{_INVISIBLE}**" if p.strip() else p for p in paragraphs)
    return "".join(bold)
