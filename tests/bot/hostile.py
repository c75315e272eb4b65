"""Texts that try to ping, to break a message, or to hide something in it."""

from hypothesis import strategies as st

from tests.conftest import TEXTS

MARKUP = (
    *("@everyone", "@here", "<@1>", "<@&1>", "<#1>", "</a:1>", "<t:1>", "<:a:1>", "http://a"),
    *("discord.gg/a", "[a](b)", "**", "\\", "`", "```", "||", "\n", "\n\n", "-# a · temperature 1"),
    *("> ", "# ", "1. ", "\u200b", "\u202e", "\ud800", "\0", "😀", "a", " ", "/", "@", "<", "://"),
    *("\u200c", "\u200d", "\ufe0f", "👩", "ب", "क्", "e\u0301", "\U000e0067", "\U000e007f"),
)
WRITTEN = TEXTS | st.lists(st.sampled_from(MARKUP), max_size=40).map("".join)
