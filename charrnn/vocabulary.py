"""Characters <-> ids, and the nearest known spelling of unknown characters."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import ascii_letters, digits

import numpy as np

from charrnn.errors import ModelError

# Training learns at most so many characters. The 3,000 most frequent ones make up 99 % of a Chinese
# text, and more of a Japanese one. A model that knows them takes twice as long to write as one that
# knows 100.
MAX_CHARACTERS = 3000

# Typographic characters -> plain ASCII.
PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′", "'"),
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

JOINER = "\u200d"  # makes one emoji of two, as in 👩‍🚀
_PICTURES = "\u2190-\u2bff\U0001f000-\U0001faff"  # emoji, arrows and the like
_KEPT = re.compile(f"[\n\t{JOINER}{_PICTURES}]")  # Python's Unicode may be older than an emoji
_LONELY_JOINER = re.compile(f"(?<![{_PICTURES}\ufe0f]){JOINER}|{JOINER}(?![{_PICTURES}])")


def normalise(text: str) -> str:
    """`text` in Unicode NFC, with `\\n` as newline."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def clean(text: str) -> str:
    """`normalise(text)` with plain quotes, dashes and spaces, and without control characters and
    invisible ones, except within emoji."""
    text = normalise(text).translate(PLAIN)
    kept = {c for c in set(text) if c.isprintable() or _KEPT.match(c)}
    return _LONELY_JOINER.sub("", "".join(c for c in text if c in kept))


def describe_characters(characters: str) -> str:
    """List characters for people; those that cannot be printed as `U+…`."""
    return " ".join(c if c.isprintable() and c != " " else f"U+{ord(c):04X}" for c in characters)


@dataclass(frozen=True)
class Encoded:
    """A text as ids."""

    ids: np.ndarray  # int32 (T,)
    dropped: str  # the distinct characters of the text that have no id


class Vocabulary:
    """The characters that a model knows, in the order of their ids.

    >>> vocabulary = Vocabulary.of("to be or not")
    >>> vocabulary.characters
    ' benort'
    >>> vocabulary.decode(vocabulary.encode("Bé torn, Bert").ids)
    'be torn bert'
    >>> vocabulary.encode("Bé torn, Bert").dropped
    ','
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
        """Ids of `text`. Unknown characters get their nearest known spelling; those without one
        are dropped. Works for every text."""
        text = normalise(text)
        spelled = {character: self._spell(character) for character in dict.fromkeys(text)}
        ids = np.array([i for character in text for i in spelled[character]], np.int32)
        return Encoded(ids, "".join(c for c, spelling in spelled.items() if not spelling))

    def unknown(self, counts: Mapping[str, int]) -> Counter[str]:
        """The characters without a known spelling, from `counts` of all characters of a text."""
        return Counter({c: n for c, n in counts.items() if not self._spell(c)})

    def known_share(self, counts: Mapping[str, int]) -> float:
        """The share of a text that is written in characters with a known spelling, from `counts` of
        all its characters. 1 for an empty text."""
        return 1 - self.unknown(counts).total() / max(1, sum(counts.values()))

    def decode(self, ids: np.ndarray) -> str:
        """The text of `ids`, int `(T,)`."""
        return "".join(self.characters[i] for i in ids)

    def _spell(self, character: str) -> list[int]:
        """The ids of the nearest known spelling; empty if there is none."""
        for spelling in _spellings(character):
            if spelling and all(c in self._ids for c in spelling):
                return [self._ids[c] for c in spelling]
        return []


def _spellings(character: str) -> Iterator[str]:
    """Ways to write a character, nearest first: itself, plain, without accents, in other case."""
    yield character
    plain = character.translate(PLAIN)
    decomposed = unicodedata.normalize("NFKD", plain)
    without_accents = "".join(c for c in decomposed if not unicodedata.combining(c))
    for spelling in (plain, without_accents):
        yield from (spelling, spelling.lower(), spelling.upper(), spelling.casefold())
    if character.isspace():
        yield " "
