"""Characters <-> ids, and what becomes of a character the model has never seen."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from charrnn.errors import ModelError

# What keyboards and word processors put in place of plain ASCII.
PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–−", "-"),
        **dict.fromkeys("—―", "--"),
        "…": "...",
        **dict.fromkeys("\u00a0\u1680\u202f\u205f\u3000", " "),
        **dict.fromkeys(map(chr, range(0x2000, 0x200B)), " "),  # spaces of every width
        **dict.fromkeys("\v\f\u0085\u2028", "\n"),
        "\u2029": "\n\n",
        "\ufeff": "",
    }
)

REMEMBERED_SPELLINGS = 10_000


def normalise(text: str) -> str:
    """Unicode NFC with newlines as `\\n`; the form in which texts are compared and counted."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def plain(text: str) -> str:
    """`normalise(text)` with typographic quotes, dashes, ellipses and spaces written as on a
    typewriter."""
    return normalise(text).translate(PLAIN)


def clean(text: str) -> str:
    """`text` with plain quotes and dashes, `\\n` for a newline, and no control characters."""
    return "".join(c for c in plain(text) if c.isprintable() or c in "\n\t")


def describe_characters(characters: str) -> str:
    """Characters for a person to read: those that cannot be shown as `U+…`."""
    return " ".join(c if c.isprintable() and c != " " else f"U+{ord(c):04X}" for c in characters)


@dataclass(frozen=True)
class Encoded:
    """A text as ids, int32 `(T,)`, and the distinct characters it had to leave out."""

    ids: np.ndarray
    dropped: str


class Vocabulary:
    """The characters a model knows, in the order of their ids.

    >>> vocabulary = Vocabulary.of("to be or not")
    >>> vocabulary.characters
    ' benort'
    >>> vocabulary.decode(vocabulary.encode("Bé torn, Bert").ids)
    'be torn bert'
    >>> vocabulary.encode("Bé torn, Bert").dropped
    ','
    """

    def __init__(self, characters: str):
        if not characters:
            raise ModelError("A vocabulary needs at least one character.")
        if len(set(characters)) != len(characters):
            raise ModelError("A vocabulary must not name a character twice.")
        # What a model writes ends up on terminals and in messages.
        if any(unicodedata.category(c) in ("Cc", "Cs") and not c.isspace() for c in characters):
            raise ModelError("A vocabulary must not hold control characters or lone surrogates.")
        self.characters = characters
        self._ids = {character: i for i, character in enumerate(characters)}
        self._spellings: dict[str, str | None] = {}

    @classmethod
    def of(cls, text: str) -> "Vocabulary":
        """The sorted set of the characters in `text`."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Encoded:
        """Ids of `text`. A character the vocabulary lacks is written the nearest way it knows;
        where there is none, it is left out and reported. Never raises, whatever the text."""
        ids: list[int] = []
        dropped: dict[str, None] = {}
        for character in normalise(text):
            spelling = self._spell(character)
            if spelling is None:
                dropped[character] = None
            else:
                ids.extend(self._ids[c] for c in spelling)
        return Encoded(np.array(ids, np.int32), "".join(dropped))

    def decode(self, ids: np.ndarray) -> str:
        """The text of `ids`, int `(T,)`."""
        return "".join(self.characters[i] for i in ids)

    def _spell(self, character: str) -> str | None:
        if character in self._ids:
            return character
        if character in self._spellings:
            return self._spellings[character]
        known = (s for s in _spellings(character) if all(c in self._ids for c in s))
        spelling = next(known, None)
        # Bounded: a stranger's text must not be able to fill memory.
        if len(self._spellings) < REMEMBERED_SPELLINGS:
            self._spellings[character] = spelling
        return spelling


def _spellings(character: str) -> Iterator[str]:
    """Other ways to write a character, the nearest first: plain, without accents, other case."""
    plainer = character.translate(PLAIN)
    bare = "".join(
        c for c in unicodedata.normalize("NFKD", plainer) if not unicodedata.combining(c)
    )
    for spelling in (plainer, bare):
        if spelling:
            yield spelling
            yield spelling.lower()
            yield spelling.upper()
            yield spelling.casefold()
    if character.isspace():
        yield " "
