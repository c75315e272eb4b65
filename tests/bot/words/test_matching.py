import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import BotError
from bot.interactions.reply import Reply, as_shown
from bot.words.matching import MASK, WORD_LIMIT, WordFilter, WordList, checked
from tests.conftest import TEXTS

WORDS = ["ass", "Foo", "bad phrase", "don't", "god", "馬鹿", "กขค", "फूल", "바보", "ばか", "🖕", "q"]
never_said = WordFilter((WordList(["shakespeare"]), WordList(WORDS)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("You foo!", "You f▮▮!"),
        ("FOO föo ſhakespeare", "F▮▮ f▮▮ ſ▮▮▮▮▮▮▮▮▮▮"),
        ("ｆｏｏ 𝒻𝑜𝑜 ⓕⓞⓞ", "ｆ▮▮ 𝒻▮▮ ⓕ▮▮"),
        ("f\u200bo\u00ado f̶ó̤o", "f▮▮▮▮ f▮▮▮▮"),
        ("f o o, f.o.o, f_o_o, _foo_", "f ▮ ▮, f.▮.▮, f_▮_▮, _f▮▮_"),
        ("I am a f o o", "I am a f ▮ ▮"),
        ("foooooo, goood and good", "f▮▮▮▮▮▮, g▮▮▮▮ and good"),
        ("Bad,\nphrase; a b-a-d p.h.r.a.s.e", "B▮▮,\n▮▮▮▮▮▮; a b-▮-▮ ▮.▮.▮.▮.▮.▮"),
        ("I don’t", "I d▮▮’▮"),
        ("この馬鹿者、ばかもの", "この馬▮者、ば▮もの"),
        ("มกขคง", "มก▮▮ง"),
        ("फूल फू ल", "फ▮▮ फ▮ ▮"),
        ("바보! 바 보", "바▮! 바 ▮"),
        ("oh 🖕🏽 Q", "oh ▮🏽 ▮"),
    ],
)
def test_a_listed_word_is_masked_however_it_is_written(text: str, shown: str):
    assert never_said.mask(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "class, assassin, pass the bass",
        "as so, as soon as she can",
        "as s",
        "fo o, fo.o",
        "food, foo2, tomfoo",
        "bad. A phrase",
        "phrase bad",
        "good gods",
        "馬と鹿",
        "はか",  # without its voicing, another word
        "फल",  # without its vowel, another word
        "바보야",
        "▮▮▮",
    ],
)
def test_innocent_words_stay(text: str):
    assert never_said.find(text) == []


@given(st.lists(st.sampled_from([*WORDS, "f.o.o", "c", "So", "\n", "\u0301"]) | TEXTS))
def test_a_masked_text_has_its_length_and_no_listed_word_and_fits_a_reply(parts: list[str]):
    text = as_shown(" ".join(parts))[:500]
    shown = never_said.mask(text)
    assert len(shown) == len(text)
    assert never_said.find(shown) == []
    assert as_shown(shown) == shown
    reply = Reply("So", shown, "tiny", 0.7, 5)
    assert Reply.parse(reply.render()) == reply


def test_overlapping_phrases_are_masked_as_a_whole():
    overlapping = WordFilter((WordList(["one two", "two three"]),))
    assert overlapping.mask("one two three") == "o▮▮ ▮▮▮ ▮▮▮▮▮"


@given(TEXTS)
def test_an_entry_that_is_accepted_is_found_in_its_own_text(text: str):
    try:
        entry = checked(text)
    except BotError:
        return
    assert len(entry) <= WORD_LIMIT
    assert MASK in WordFilter((WordList([entry]),)).mask(f"so, {entry}!")


@pytest.mark.parametrize("entry", ["", " ", "...", "\u200b", "-_-", "a" * (WORD_LIMIT + 1)])
def test_an_entry_without_a_letter_or_too_long_is_refused(entry: str):
    with pytest.raises(BotError, match="1 to 50 characters"):
        checked(entry)
