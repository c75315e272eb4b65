import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn import vocabulary
from charrnn.errors import ModelError
from charrnn.vocabulary import Vocabulary, clean, describe_characters

PLAIN = Vocabulary("\n \"'-.abcdefghijklmnopqrstuvwxyz")


def test_the_examples_in_the_documentation():
    assert doctest.testmod(vocabulary).failed == 0


@given(st.text(PLAIN.characters))
def test_decoding_what_was_encoded_gives_the_text_back(text: str):
    encoded = PLAIN.encode(text)
    assert PLAIN.decode(encoded.ids) == text
    assert encoded.dropped == ""


@given(st.text(st.characters()))
def test_every_character_is_encoded_or_reported(text: str):
    encoded = PLAIN.encode(text)
    assert set(PLAIN.decode(encoded.ids)) <= set(PLAIN.characters)
    for character in set(vocabulary.normalise(text)) - set(encoded.dropped):
        assert len(PLAIN.encode(character).ids) > 0


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("e\u0301", "e"),  # composed, then without its accent
        ("É", "e"),
        ("“don’t” — she said…", '"don\'t" -- she said...'),
        ("TO BE", "to be"),
        ("straße", "strasse"),
        ("a\u00a0b\tc", "a b c"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("ﬁn", "fin"),
    ],
)
def test_an_unknown_character_gets_the_nearest_known_spelling(text: str, spelled: str):
    encoded = PLAIN.encode(text)
    assert PLAIN.decode(encoded.ids) == spelled
    assert encoded.dropped == ""


def test_a_known_character_is_kept():
    fancy = Vocabulary("É’e'")
    assert fancy.decode(fancy.encode("É’").ids) == "É’"


def test_a_decomposed_accent_is_composed():
    assert Vocabulary("eé").encode("e\u0301").ids.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("", ""),
        ("☃☃", "☃"),
        ("שלום", "שלום"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("a\x00\x1b", "\x00\x1b"),
        ("\ud800", "\ud800"),
    ],
)
def test_each_character_without_a_spelling_is_reported_once(text: str, dropped: str):
    assert PLAIN.encode(text).dropped == dropped


def test_only_emoji_are_joined():
    assert clean("a\u200db\u200d👩\u200d🚀\u200d\u200d🚀") == "ab👩\u200d🚀🚀"


def test_characters_that_cannot_be_printed_are_described():
    assert describe_characters("☃\x00\ud800") == "☃ U+0000 U+D800"


@pytest.mark.parametrize("characters", ["", "aa", "a\x1b", "a\ud800"])
def test_an_impossible_vocabulary_is_refused(characters: str):
    with pytest.raises(ModelError):
        Vocabulary(characters)
