"""Find listed words in a text, whatever their case, accents and spacing; and mask them.

A text is folded (Unicode NFKD, case folding, no accents, nothing invisible) and split into words.
An entry of a list is a sequence of such words, or of its single letters: so `foo` matches `F.ö o`,
but neither `food` nor `fo o`. In scripts that put no spaces between words, each character counts as
a word, and so does an emoji: there an entry matches anywhere.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from bot.errors import BotError
from charrnn.vocabulary import normalise, visible

WORD_LIMIT = 50  # characters of an entry
MASK = "▮"

# Canonical combining classes of what can be left out of a word: Latin, Greek and Cyrillic accents,
# Hebrew points, Arabic vowels. The others are vowels, tones and the voicing of kana.
_ACCENTS = {1, *range(10, 37), *range(200, 241)}
# How the names of characters begin in scripts without spaces.
_UNSPACED = (
    *("CJK ", "IDEOGRAPHIC ", "HIRAGANA ", "KATAKANA", "THAI ", "LAO ", "KHMER ", "MYANMAR "),
    *("TAI ", "NEW TAI "),
)
# A character, with the sign of its voicing if it is a kana.
_CHARACTER = re.compile("(?s:.)[\u3099\u309a\uff9e\uff9f]?")
_WORD = re.compile(r"\S+")
_LETTER = re.compile(r"\w[^\w]*")  # with its vowel signs, which are no \w
_STRETCHED = re.compile(r"([^\W\d_])\1{2,}")  # one letter or two, in a word that is stretched

Span = tuple[int, int]  # start and end
_Tree = dict[str | None, Any]  # word of an entry -> what may come after it; "" where an entry ends


class WordList:
    """Words and phrases, to be looked for in texts."""

    def __init__(self, entries: Iterable[str]):
        self.entries = tuple(entries)
        self._tree: _Tree = {}
        self._words: set[str] = set()  # that the entries are made of
        for entry in self.entries:
            words = _words_of(entry)
            letters = [letter for word in words for letter in _LETTER.findall(word) or [word]]
            for form in (words, letters):
                self._words.update(form)
                node = self._tree
                for word in form:
                    node = node.setdefault(word, {})
                node[""] = {}

    def find(self, words: Sequence[str]) -> Iterator[Span]:
        """The longest entry at each of the words, as the numbers of its words."""
        listed = [self._listed(word) for word in words]
        for start, word in enumerate(listed):
            if word not in self._tree:
                continue
            node, found = self._tree, 0
            for end in range(start, len(listed)):
                node = node.get(listed[end])
                if node is None:
                    break
                if "" in node:
                    found = end + 1
            if found:
                yield start, found

    def _listed(self, word: str) -> str | None:
        """The word of an entry that `word` is, perhaps with stretched letters."""
        if word in self._words:
            return word
        if _STRETCHED.search(word):
            for shorter in (_STRETCHED.sub(r"\1", word), _STRETCHED.sub(r"\1\1", word)):
                if shorter in self._words:
                    return shorter
        return None


@dataclass(frozen=True)
class WordFilter:
    """What is never said in a place."""

    lists: tuple[WordList, ...] = ()

    def find(self, text: str) -> list[Span]:
        """Where the text has a listed word. Takes time in proportion to the text's length."""
        if not any(each.entries for each in self.lists):
            return []
        characters = _CHARACTER.findall(text)
        folded = [_fold(character) for character in characters]
        matches = list(_WORD.finditer("".join(folded)))
        words = [match[0] for match in matches]
        found = [span for each in self.lists for span in each.find(words)]
        if not found:
            return []
        ends = list(accumulate(map(len, characters)))
        origin = [n for n, piece in enumerate(folded) for _ in piece]  # folded -> characters
        spans = []
        for start, end in found:
            first, last = origin[matches[start].start()], origin[matches[end - 1].end() - 1]
            spans.append((ends[first] - len(characters[first]), ends[last]))
        return spans

    def mask(self, text: str) -> str:
        """The text with listed words masked."""
        return masked(text, self.find(text))


def masked(text: str, spans: Iterable[Span]) -> str:
    """`text`, of the same length, with only the first letter left of what the spans cover; of a
    word of one letter nothing is left."""
    shown = list(text)
    for start, end in spans:
        letters = [n for n in range(start, end) if not _fold(text[n]).isspace()]
        for n in letters[1:] or letters:
            shown[n] = MASK
    return "".join(shown)


def checked(entry: str) -> str:
    """An entry in the form in which it is kept. Raises BotError if it cannot be looked for."""
    entry = " ".join(visible(normalise(entry)).casefold().split())
    if not 1 <= len(entry) <= WORD_LIMIT or not _words_of(entry):
        raise BotError(
            f"A word or phrase is 1 to {WORD_LIMIT} characters, with a letter, a digit or an emoji "
            "among them.",
            "words",
        )
    return entry


def _words_of(text: str) -> list[str]:
    characters = _CHARACTER.findall(normalise(text))
    return "".join(_fold(character) for character in characters).split()


@lru_cache(2**14)
def _fold(character: str) -> str:
    """What is compared of a character: a space instead of what is between words, spaces around what
    is a word by itself, nothing instead of what can be left out."""
    decomposed = unicodedata.normalize("NFKD", character).casefold()
    kept = (c for c in unicodedata.normalize("NFKD", decomposed) if not _is_ignored(c))
    return "".join(map(_in_words, unicodedata.normalize("NFC", "".join(kept))))


def _is_ignored(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Cf", "Me")  # joiners and the like; enclosing circles
        or unicodedata.combining(character) in _ACCENTS
        or character == "\u034f"  # keeps accents apart
        or unicodedata.name(character, "").startswith("VARIATION SELECTOR")
    )


def _in_words(character: str) -> str:
    category = unicodedata.category(character)
    if category == "So" or unicodedata.name(character, "").startswith(_UNSPACED):
        return f" {character} "
    return character if character.isalnum() or category[0] == "M" else " "
