import doctest
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn import vocabulary
from charrnn.errors import ModelError
from charrnn.vocabulary import Vocabulary, clean, describe_characters, visible

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
        ("“don’t” — she said…", '"don\'t" -- she said...'),
        ("TO BE", "to be"),
        ("straße", "strasse"),
        ("a\u00a0b\tc", "a b c"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("ﬁn", "fin"),
        ("ｆｉｎ", "fin"),
        ("ıstanbul İSTANBUL", "istanbul istanbul"),
    ],
)
def test_an_unknown_character_gets_the_nearest_known_spelling(text: str, spelled: str):
    encoded = PLAIN.encode(text)
    assert PLAIN.decode(encoded.ids) == spelled
    assert encoded.dropped == ""


def test_a_known_character_is_kept():
    fancy = Vocabulary("É’e'")
    assert fancy.decode(fancy.encode("É’").ids) == "É’"


@pytest.mark.parametrize(
    "text", ["été à côté", "tiếng việt ở huế", "한국어", "ᾆ", "क़", "שׁ", "Å", "ガ", "ab"]
)
@pytest.mark.parametrize("learnt", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD", "NFKC", "NFKD"])
def test_a_seed_is_spelt_as_the_alphabet_needs(text: str, learnt: str, typed: str):
    spelled = normalize(learnt, text)
    # The seed's other character makes it differ from the text the alphabet is from.
    encoded = Vocabulary.of(spelled + "'").encode(normalize(typed, text) + "’")
    assert Vocabulary.of(spelled + "'").decode(encoded.ids) == spelled + "'"
    assert encoded.dropped == ""


@pytest.mark.parametrize(
    ("characters", "seed", "spelled"),
    [
        ("tiêng v\u0301\u0323", "tiếng việt", "tiê\u0301ng viê\u0323t"),  # as in code page 1258
        ("’ab ", "'a ‘b", "’a ’b"),
        ("“”a", '"a', "“a"),
        ("ｈｅｌｏ！", "hello!", "ｈｅｌｌｏ！"),
        ("\u3000あ", "あ あ", "あ\u3000あ"),
        ("οδυςσε", "ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
        ("οδυσε", "Οδυσσευς", "οδυσσευσ"),
        ("straße", "STRAẞE", "straße"),
        ("STREstrea", "Straße", "Strasse"),
        ("ISTANBUL", "ıstanbul", "ISTANBUL"),
    ],
)
def test_an_alphabet_of_other_forms_reads_the_usual_ones(characters: str, seed: str, spelled: str):
    vocabulary = Vocabulary(characters)
    encoded = vocabulary.encode(seed)
    assert (vocabulary.decode(encoded.ids), encoded.dropped) == (spelled, "")


def test_what_is_known_as_it_is_written_is_kept_so():
    both = Vocabulary("eé\u0301")
    assert both.encode("ée\u0301").ids.tolist() == [1, 0, 2]


def test_an_accent_that_is_lost_is_reported():
    encoded = PLAIN.encode("cafe\u0301 É ñ ☃")
    assert PLAIN.decode(encoded.ids) == "cafe e n "
    assert encoded.dropped == "\u0301\u0303☃"
    assert describe_characters(encoded.dropped) == "◌\u0301 ◌\u0303 ☃"


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


SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize(
    "written",
    [
        *("می\u200cخواهم", "PDF\u200cها", "۵\u200cساله", "ه\u200d."),  # Persian
        *("क्\u200dष", "ക്\u200d", "ර්\u200dය", "র\u200d্যা", "क्\u200c"),  # after or before viramas
        *("ᠨ\u180bᠠ", "ᠮᠠ\u180eᠠ", "ᠭ\u180b\u200d"),  # Mongolian
        *("葛\U000e0100", "u\u034f\u0308", "ၸ\ufe00"),
        *(
            "👨\u200d👩\u200d👧",
            "👩🏽\u200d🚀",
            "❤\ufe0f\u200d🔥",
            "🏳\ufe0f\u200d⚧\ufe0f",
            "⛹🏽\u200d♂\ufe0f",
        ),
        *("1\ufe0f\u20e3", "☎\ufe0e", "〰\ufe0f", "©\ufe0f", "🇯🇵", SCOTLAND, f"{SCOTLAND}🇩🇪"),
    ],
    ids=ascii,
)
def test_characters_that_belong_to_words_and_emoji_stay(written: str):
    assert visible(written) == written
    assert clean(f"a {written} b") == f"a {normalize('NFC', written)} b"


@pytest.mark.parametrize(
    "abused",
    [
        *(
            "\u202e",
            "\u2066",
            "\u200b",
            "\u200e",
            "\u2060",
            "\xad",
            "\x07",
            "\x1b",
            "\x9b",
            "\ufff9",
        ),
        *("\ud800", "\ufeff", "\u3164", "\u180e", "\u206a", "\ue000", "\U000e0001", "\U000f0000"),
        *(
            "\u200d",
            "\u200c",
            "\u200d\u200c",
            "\u034f",
            "\ufe0f",
            "\ufe00\ufe01",
            "\U000e0100",
            "\u180b",
        ),
        *("\U000e0041\U000e0042", SCOTLAND[1:], "\U000e007f"),
    ],
    ids=ascii,
)
def test_what_could_hide_or_reverse_text_goes(abused: str):
    assert visible(f"a{abused}b") == clean(f"a{abused}b") == "ab"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200db\u200d👩\u200d🚀\u200d\u200d🚀", "ab👩\u200d🚀🚀"),
        ("می\u200c\u200cخواهم می\u200c", "می\u200cخواهم می"),
        ("👍\ufe0f\ufe0f\ufe01", "👍\ufe0f"),
        ("🏴\U000e0068\U000e0069", "🏴"),  # not a flag
        ("1\ufe0f2", "12"),
    ],
)
def test_they_stay_only_where_they_belong(text: str, shown: str):
    assert visible(text) == shown


UNSEEN = "\u200c\u200d\u034f\u180b\u180e\ufe00\ufe0f\U000e0067\U000e007f\U000e0100\u200b\u20e3"
SEEN = "a1 \nم्क🚀🏴ᠠ葛\u0301\u05b4ေ"


@given(st.text(st.characters(exclude_categories=())) | st.text(UNSEEN + SEEN))
def test_cleaning_what_is_clean_changes_nothing(text: str):
    for shown in (visible(text), clean(text)):
        assert visible(shown) == shown


def test_characters_that_cannot_be_printed_are_described():
    assert describe_characters("☃\x00\ud800\ufe0f") == "☃ U+0000 U+D800 U+FE0F"


@pytest.mark.parametrize("characters", ["", "aa", "a\x1b", "a\ud800"])
def test_an_impossible_vocabulary_is_refused(characters: str):
    with pytest.raises(ModelError):
        Vocabulary(characters)
