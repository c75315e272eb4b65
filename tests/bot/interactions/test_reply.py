import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.interactions.markup import MESSAGE_LIMIT, escape, unescape, utf16_length, visible
from bot.interactions.reply import Reply, as_shown
from tests.bot.hostile import WRITTEN

ESCAPED = re.compile(r"\\.", re.DOTALL)
PINGS = re.compile(
    r"@(?:everyone|here)|<(?:[@#][!&]?\d|/.+:\d|t:\d|a?:\w+:\d)|https?://|discord(?:app)?\.(?:gg|com)"
)

TEXT = "And, sweet sprites, the burthen bear.\nHark, hark!"


def reply(seed: str = "So", text: str = TEXT, **changes: object) -> Reply:
    options = {"model": "tiny", "temperature": 0.7, "rng_seed": 5} | changes
    return Reply(seed=as_shown(seed), text=text, **options)


def test_verse_keeps_its_lines_under_the_seed_in_bold():
    assert reply("The sprites:", " " + TEXT).render() == (
        "**The sprites:\u200b** And, sweet sprites, the burthen bear.\nHark, hark!"
        "\n-# tiny · temperature 0.7 · random seed 5"
    )


def test_each_paragraph_of_the_seed_is_bold():
    content = reply("IAGO:\nSo *be* it.\n\nHERO:").render()
    assert content.startswith("**IAGO:\nSo \\*be\\* it.\u200b**\n\n**HERO:\u200b**And,")
    assert Reply.parse(content).seed == "IAGO:\nSo *be* it.\n\nHERO:"


def test_an_empty_seed_leaves_no_empty_bold():
    assert reply("").render().startswith("And, sweet")
    assert reply(" \n").render().startswith("And, sweet")


@settings(deadline=None, derandomize=True)
@given(WRITTEN, WRITTEN, WRITTEN, st.integers(0, 200))
@example("\ud800" * 10_000, "a", "\0", 70)
@example("@everyone " * 1000, "@here" * 100, "@", 70)
@example("```\n\n" * 2000, "\\" * 500, "\u202e", 70)
@example("😀" * 10_000, "😀" * 500, "😀" * 500, 70)
def test_any_reply_fits_pings_nobody_and_is_read_back(
    seed: str, text: str, dropped: str, hundredths: int
):
    original = reply(seed, text[:500], dropped=dropped, temperature=hundredths / 100)
    content = original.render()
    assert utf16_length(content) <= MESSAGE_LIMIT
    assert not PINGS.search(ESCAPED.sub("*", content))
    parsed = Reply.parse(content.strip())  # Discord strips white space from both ends
    assert parsed.text.strip() == visible(original.text).strip()
    if not parsed.seed.startswith("…"):
        assert parsed.seed == original.seed
    assert replace(parsed, seed="", text="") == replace(original, seed="", text="", dropped="")


@pytest.mark.parametrize(
    "seed", ["*" * 6000, "☃" * 6000, "😀" * 6000, "word " * 1200, ":" * 6000, "a\n\n" * 2000]
)
def test_a_seed_that_is_too_long_loses_its_start(seed: str):
    content = reply(seed, "*" * 500).render()
    assert MESSAGE_LIMIT - 10 <= utf16_length(content) <= MESSAGE_LIMIT
    parsed = Reply.parse(content)
    assert parsed.seed.startswith("…")
    assert seed.rstrip().endswith(parsed.seed[1:])
    assert len(parsed.seed) > 100


@given(st.text(st.characters()))
def test_unescape_reverses_escape_except_for_invisible_characters(text: str):
    assert unescape(escape(text)) == visible(text)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("@everyone", "@\u200beveryone"),
        ("<@1>", "\\<@\u200b1>"),
        ("https://evil", "https:/\u200b/evil"),
        ("discord.gg/evil DISCORDAPP.com", "discord\u200b.gg/evil DISCORDAPP\u200b.com"),
        ("*a* _b_ `c` ~~d~~ ||e||", r"\*a\* \_b\_ \`c\` \~\~d\~\~ \|\|e\|\|"),
        ("# a\n > b\n- c\n-# d\n1. e", "\\# a\n \\> b\n\\- c\n\\-# d\n1\\. e"),
        ("[a](b)", r"\[a\](b)"),
        (":skull: <:a:1>: no: 3:4", r"\:skull: \<\:a\:1>: no: 3:4"),
        ("well-known; 3 > 2; No. 1.", "well-known; 3 > 2; No. 1."),
    ],
)
def test_only_what_would_be_markup_is_escaped(text: str, escaped: str):
    assert escape(text) == escaped


def test_a_text_that_looks_like_a_footer_is_not_read_as_one():
    forged = reply(text="a\n-# evil · temperature 2 · random seed 9")
    parsed = Reply.parse(forged.render())
    assert parsed.model == "tiny"
    assert parsed.text == forged.text


@pytest.mark.parametrize("written", ["می\u200cخواهم", "👩\u200d🚀 ❤\ufe0f\u200d🔥"])
def test_joiners_of_words_and_emoji_are_shown_and_read_back(written: str):
    shown = reply(f"{written}\u202e", f" {written} a\u200db")
    content = shown.render()
    assert content.startswith(f"**{written}\u200b** {written} ab\n")
    assert Reply.parse(content) == replace(shown, text=f" {written} ab")


@pytest.mark.parametrize("content", ["", "hello", "**a** b"])
def test_other_messages_are_not_replies(content: str):
    with pytest.raises(ValueError, match="not a reply"):
        Reply.parse(content)


def test_a_text_too_long_for_any_message_is_an_error():
    with pytest.raises(ValueError, match="too long for a message"):
        reply("So", "*" * 1000).render()


def test_only_the_first_characters_left_out_are_named():
    content = reply(dropped="".join(map(chr, range(0x4E00, 0x4F00)))).render()
    assert content.endswith("…")
    assert utf16_length(content) < 300
