"""A text -> a message that fits Discord and that nobody can abuse; and back.

A reply is the seed in bold, the text, and a small footer. Buttons read everything that they need
from the message, so they work after a restart without a database.
"""

import re
from dataclasses import dataclass
from math import ceil

from bot.interactions.markup import (
    INVISIBLE,
    MESSAGE_LIMIT,
    escape,
    unescape,
    utf16_length,
)
from charrnn.vocabulary import describe_characters, normalise, visible

DROPPED_LIMIT = 12  # characters named in the footer

_FOOTER = re.compile(
    r"(?:^|\n)-# (?P<model>.*) · temperature (?P<temperature>[\d.]+)"
    r" · random seed (?P<rng_seed>\d+)(?: · left out: .+)?$"
)

# Bold ends at an empty line, so each paragraph of a seed has its own stars.
_GAP = r"\n\s*\n\s*"
# The asterisks of seed and text are escaped; bare ones are only those of the bold.
_BOLD = r"\*\*(?:\\.|[^\\*])*\*\*"
_SEED = re.compile(rf"{_BOLD}(?:{_GAP}{_BOLD})*", re.DOTALL)
_BARE_STARS = re.compile(r"(\\.)|\*\*", re.DOTALL)


@dataclass(frozen=True)
class Reply:
    """A generated text, the seed it continues, and how it was generated."""

    seed: str  # as returned by `as_shown`
    text: str
    model: str
    temperature: float  # two decimals
    rng_seed: int
    dropped: str = ""  # characters of the seed that the model cannot read

    def render(self) -> str:
        """The message's content, at most 2000 UTF-16 units. A seed that is too long loses its
        start. Raises ValueError if the text alone is too long."""
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
            # stars around a paragraph. So this removes hardly more than needed.
            seed = "…" + seed.removeprefix("…")[ceil(excess / 3) :]
            content = _bold(seed) + rest
        return content

    @classmethod
    def parse(cls, content: str) -> "Reply":
        """The reply that was rendered as `content`, with the seed as it is shown there.

        Raises ValueError if `content` is not a reply."""
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
    """The part of `seed` that a reply can show and `Reply.parse` can read back: the end of a long
    one."""
    end = normalise(visible(seed)).strip()[-MESSAGE_LIMIT:]
    return visible(end).strip()  # the cut may have gone through an emoji


def _bold(seed: str) -> str:
    # The zero-width space: Discord does not end bold between punctuation and a letter.
    paragraphs = re.split(f"({_GAP})", seed)
    bold = (f"**{escape(p)}{INVISIBLE}**" if p.strip() else p for p in paragraphs)
    return "".join(bold)
