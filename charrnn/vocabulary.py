"""Characters <-> ids, and the nearest known spelling of unknown characters."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from string import ascii_letters, digits

import numpy as np

from charrnn.errors import ModelError

# Training learns at most this many characters. The 3,000 most frequent ones make up 99 % of a
# Chinese text, and more of a Japanese one. A model that knows them takes twice as long to write as
# one that knows 100.
MAX_CHARACTERS = 3000

# The share of a text's characters that a model must know to learn from it, or to be measured on it.
LEAST_KNOWN = 0.5

# Typographic characters -> plain ASCII.
PLAIN = str.maketrans(
    {
        **dict.fromkeys("’‘‛′‚", "'"),  # the most usual first
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–−", "-"),
        **dict.fromkeys("—―", "--"),
        "…": "...",
        **dict.fromkeys("\u00a0\u1680\u202f\u205f\u3000", " "),
        **dict.fromkeys(map(chr, range(0x2000, 0x200B)), " "),  # spaces of various widths
        **dict.fromkeys("\v\f\u0085\u2028", "\n"),
        "\u2029": "\n\n",
        "\ufeff": "",
        # Full-width digits and letters, in which numbers and addresses would escape the filters.
        **{chr(0xFEE0 + ord(c)): c for c in f"{digits}{ascii_letters}+-.@"},
    }
)

# `visible` removes invisible characters in two steps. First, everywhere: controls, surrogates,
# private and non-characters, and Unicode's ignorable characters, which reorder text (bidi) or hide
# in it (zero-width spaces).
_HIDDEN = re.compile(
    "[\0-\x08\v-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e00ff"
    "\U000e01f0-\U0010ffff]"
    "|\u200c(?=\u200c)"  # typed twice
)

# Second, where they are out of place, those that are part of how words and emoji are written: the
# grapheme joiner, Mongolian variation selectors and vowel separator, ZWNJ and ZWJ, variation
# selectors, and tags, which spell the name of a flag.
_UNSEEN = "\u034f\u180b-\u180f\u200c\u200d\ufe00-\ufe0f\U000e0020-\U000e007f\U000e0100-\U000e01ef"
_MARKS = "\u0300-\u034e\u0350-\u036f\u0591-\u05bd"  # Latin, Greek, Hebrew
# The blocks of the scripts whose letters join or stack: Arabic to Myanmar, Philippine, Khmer,
# Mongolian to Vedic, and their supplements. In them, joiners decide on the shape (Unicode 23.2).
_JOINING = (
    "\u0600-\u109f\u1700-\u180a\u1810-\u1cff\ua800-\ua8ff\ua930-\ua95f\ua980-\uaaff\uabc0-\uabff"
    "\ufb50-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc\U00010a00-\U00010fff\U00011000-\U00011fff"
    "\U00016100-\U0001613f\U0001e900-\U0001e95f"
)
_VIRAMA = 9  # the combining class of the signs that join two consonants
_VIRAMAS = "".join(
    chr(n)
    for n in (*range(0x900, 0x1C00), *range(0xA800, 0xAC00), *range(0x10A00, 0x12000))
    if unicodedata.combining(chr(n)) == _VIRAMA
)
_MONGOLIAN = "\u1820-\u18aa"
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
_PICTURES = "\u2190-\u2bff\U0001f000-\U0001faff"  # emoji, arrows and the like
_EMOJI = _PICTURES + "\u00a9\u00ae\u203c\u2049\u2122\u2139\u3030\u303d\u3297\u3299"
# Matches each of _UNSEEN, as `kept` where it is in place. A look-behind comes after the character,
# which its `.` stands for: `X(?<=[A].)` is an X that follows an A.
_IN_PLACE = re.compile(
    # Joiners between letters, between a word and its ending, and after a virama.
    rf"""(?P<kept>
      [\u200c\u200d](?:(?<=[{_JOINING}].)(?=[{_JOINING}\w]) | (?<=[^\s{_UNSEEN}].)(?=[{_JOINING}])
        | (?<=[{_VIRAMAS}].) )
    | \u200d(?<=[{_JOINING}].)  # shows the form that a letter has before another
    | \u034f(?<=[^\s{_UNSEEN}].)(?=[{_MARKS}])  # keeps two marks in their order
    | [\u180b-\u180f](?<=[{_MONGOLIAN}].)
    | [\u180e\u200c\u200d](?<=[{_MONGOLIAN}][\u180b-\u180d\u180f].)
    # Pictures joined; pictures, ideographs and Myanmar letters with a variation selector; keycaps.
    | \u200d(?:(?<=[{_PICTURES}].) | (?<=[{_PICTURES}]\ufe0f.))(?=[{_PICTURES}])
    | [\ufe00\ufe0e\ufe0f](?<=[{_EMOJI}].)
    | [\ufe0e\ufe0f](?<=[#*0-9].)(?=\u20e3)
    | [\ufe00-\ufe02\U000e0100-\U000e01ef](?<=[{_IDEOGRAPHS}].)
    | \ufe00(?<=[\u1000-\u109f\ua840-\ua87f\uaa60-\uaa7f].)
    # The flag of a part of a country, as of Scotland.
    | \U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{3,6}}\U000e007f
    ) | [{_UNSEEN}]""",
    re.VERBOSE,
)


def normalise(text: str) -> str:
    """`text` in Unicode NFC, with `\\n` as newline."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def clean(text: str) -> str:
    """`visible(normalise(text))` with plain quotes, dashes and spaces."""
    return visible(normalise(text).translate(PLAIN))


def visible(text: str, instead: Callable[[str], str] = lambda _: "") -> str:
    """`text` without characters that could hide or reverse something: controls, and invisible ones
    where they are not part of how a word or an emoji is written. `instead` returns what stands in
    the place of one.

    >>> visible("a\\u202eb\\u200dc") == "abc"
    True
    >>> visible("👩\\u200d🚀") == "👩\\u200d🚀"
    True
    """
    text = _HIDDEN.sub(lambda match: instead(match[0]), text)
    return _IN_PLACE.sub(lambda match: match["kept"] or instead(match[0]), text)


def describe_characters(characters: str) -> str:
    """List characters for people; those that cannot be seen as `U+…`."""
    return " ".join(map(_described, characters))


def _described(character: str) -> str:
    if not character.isprintable() or character == " " or not visible(character):
        return f"U+{ord(character):04X}"
    return f"◌{character}" if unicodedata.combining(character) else character


@dataclass(frozen=True)
class Encoded:
    """A text as ids."""

    ids: np.ndarray  # int32 (T,)
    dropped: str  # distinct characters, and accents of others, that could not be spelled


class Vocabulary:
    """The characters that a model knows, in the order of their ids.

    >>> vocabulary = Vocabulary.of("to be or not")
    >>> vocabulary.characters
    ' benort'
    >>> vocabulary.decode(vocabulary.encode("Bé torn, Bert").ids)
    'be torn bert'
    >>> vocabulary.encode("Bé torn, Bert").dropped == "\N{COMBINING ACUTE ACCENT},"
    True
    """

    def __init__(self, characters: str):
        """Raises ModelError when `characters` cannot be a vocabulary."""
        if not characters:
            raise ModelError("A vocabulary needs at least one character.")
        if len(set(characters)) != len(characters):
            raise ModelError("A vocabulary must not contain a character twice.")
        # Generated texts are shown on terminals and in Discord.
        if any(unicodedata.category(c) in ("Cc", "Cs") and not c.isspace() for c in characters):
            raise ModelError("A vocabulary must not contain control characters or surrogates.")
        self.characters = characters
        self._ids = {character: i for i, character in enumerate(characters)}
        self._lowercase = characters == characters.lower()
        self._substitutes = self._ids | {
            plain: self._ids[other]
            for other, plain in reversed(list(_plain_forms(characters)))
            if plain not in self._ids
        }
        # Some characters have a code point of their own that NFC replaces by two.
        self._apart = [(c, form) for c in characters if len(form := normalise(c)) > 1]

    @classmethod
    def of(cls, text: str) -> "Vocabulary":
        """The sorted set of the characters in `text`."""
        return cls("".join(sorted(set(text))))

    @classmethod
    def learnt(
        cls, counts: Mapping[str, int], least_occurrences: int, known: str = ""
    ) -> "Vocabulary":
        """`known`, and then, sorted, the other characters that can be learnt from a text in which
        they occur so often: the most frequent ones, MAX_CHARACTERS in all."""
        others = (c for c, n in Counter(counts).most_common() if n >= least_occurrences)
        new = [c for c in others if c not in known][: max(0, MAX_CHARACTERS - len(known))]
        return cls(known + "".join(sorted(new)))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Encoded:
        """Ids of `text`: as it is written if all its characters are known. Otherwise each unknown
        character gets its nearest known spelling; those without one are dropped. Works for every
        text."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        for written in (text, text.lower()) if self._lowercase else (text,):
            if all(character in self._ids for character in set(written)):
                return Encoded(np.array([self._ids[c] for c in written], np.int32), "")
        text = normalise(text)
        for character, form in self._apart:
            text = text.replace(form, character)
        spelled = {character: self._spell(character) for character in dict.fromkeys(text)}
        ids = np.array([i for character in text for i in spelled[character][0]], np.int32)
        return Encoded(ids, "".join(dict.fromkeys("".join(lost for _, lost in spelled.values()))))

    def unknown(self, counts: Mapping[str, int]) -> Counter[str]:
        """The characters without a known spelling, from `counts` of all characters of a text."""
        return Counter({c: n for c, n in counts.items() if not self._spell(c)[0]})

    def known_share(self, counts: Mapping[str, int]) -> float:
        """The share of a text that is written in characters with a known spelling, from `counts` of
        all its characters. 1 for an empty text."""
        return 1 - self.unknown(counts).total() / max(1, sum(counts.values()))

    def decode(self, ids: np.ndarray) -> str:
        """The text of `ids`, int `(T,)`."""
        return "".join(self.characters[i] for i in ids)

    def _spell(self, character: str) -> tuple[list[int], str]:
        """The ids of the nearest known spelling, and what it loses: accents, or if there is none,
        the character."""
        for spelling, lost in _spellings(character):
            for ids in (self._ids, self._substitutes):
                if spelling and all(c in ids for c in spelling):
                    return [ids[c] for c in spelling], lost
        return [], character


def _plain_forms(characters: str) -> Iterator[tuple[str, str]]:
    """The characters that stand for a plainer one where an alphabet lacks that, most usual first:
    typographic ones, and those that NFKC replaces."""
    for number, plain in PLAIN.items():
        if chr(number) in characters and len(plain) == 1:
            yield chr(number), plain
    for character in characters:
        if len(plain := unicodedata.normalize("NFKC", character)) == 1:
            yield character, plain


def _spellings(character: str) -> Iterator[tuple[str, str]]:
    """Ways to write a character, nearest first, and the accents that each loses: itself, plain, in
    other case, and without accents."""
    plain = character.translate(PLAIN)
    for form in (character, plain, unicodedata.normalize("NFKC", plain)):
        for cased in _cases(form):
            for spelling in _compositions(cased):
                yield spelling, ""
    decomposed = unicodedata.normalize("NFKD", plain)
    accents = "".join(c for c in decomposed if unicodedata.combining(c))
    for cased in _cases("".join(c for c in decomposed if not unicodedata.combining(c))):
        yield cased, accents
    if character.isspace():
        yield " ", ""


def _cases(text: str) -> Iterator[str]:
    lower = text.lower().replace("i\u0307", "i")  # of the Turkish İ
    yield from (text, lower, text.casefold(), text.upper(), text.upper().lower())


def _compositions(text: str) -> Iterator[str]:
    """The canonically equivalent spellings of a character, the most composed first: one code point,
    a letter with some of its accents and the others apart, all apart."""
    if len(text) != 1:
        yield from (text, unicodedata.normalize("NFD", text))
        return
    decomposed = unicodedata.normalize("NFD", text)
    base, marks = decomposed[0], decomposed[1:]
    for apart in range(len(marks) + 1):
        for rest in combinations(range(len(marks)), apart):
            joined = "".join(mark for n, mark in enumerate(marks) if n not in rest)
            spelling = unicodedata.normalize("NFC", base + joined) + "".join(marks[n] for n in rest)
            if unicodedata.normalize("NFD", spelling) == decomposed:  # not for reordered Hangul
                yield spelling
