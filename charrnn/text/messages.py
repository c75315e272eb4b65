"""A channel's messages -> lines to learn from: whose are left out, and what goes of the others'.

The text is hostile and of any length, so no pattern here takes more than linear time: a run is
entered at its start only (a look-behind), is not given back (`++`), or is of limited length.
"""

import json
import re
from array import array
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from charrnn.errors import CorpusError
from charrnn.vocabulary import clean

T = TypeVar("T")

SHELVES = 4096
PEOPLES = ("Default", "Reply")  # an export's types of message that people write

# A word right after the prefix: not "...", "-5", "-_-" or "/etc/fstab". After "!" a letter is
# enough, and a bot's initial may stand before it, as in "p!catch".
_COMMAND = re.compile(r"\s*+(?:[a-z]?![^\W\d_]|[/.?$-][^\W\d_]\w*+(?!\S))", re.IGNORECASE)

# Markup comes before what it could hide. What goes leaves a space, so that it cannot join what
# stood around it to something that was looked for before.
_MARKUP = (
    (re.compile(r"```.*?(?:```|\Z)", re.DOTALL), " "),
    (re.compile(r"(?<!`)`++([^`]++)`++"), r"\1"),  # code within a sentence is often its point
    (re.compile(r"\|\|(.+?)\|\|", re.DOTALL), r"\1"),  # spoilers
    (re.compile(r"^(?:>>>|>) ++", re.MULTILINE), ""),  # quotes
    (re.compile(r"\[([^\[\]]++)\]\(<?https?://[^\s\[\]]*\)", re.IGNORECASE), r"\1"),
    (re.compile(r"<a?(:\w+:)\d+>"), r"\1"),  # custom emoji
    (re.compile(r"<(/[^<>:]+):\d+>"), r"\1"),  # mentioned commands
    (re.compile(r"<t:-?\d+(?::\w)?>"), " "),  # times
)
_MENTION = re.compile(r"<(@[!&]?|#)(\d+)>")

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_PRIVATE = (
    re.compile(  # links
        r"<?(?:(?<![a-z0-9+.-])[a-z0-9+.-]++://|(?<![a-z])www\.(?=\w)"
        r"|discord(?:app)?\.(?:gg|com)/)\S*",
        re.IGNORECASE,
    ),
    re.compile(r"(?<![\w.%+-])[\w.%+-]++@[\w-]++(?:\.[\w-]++)+"),  # e-mail addresses
    re.compile(
        r"""
        -----BEGIN\ .*?(?:-----END[^-]*-----|\Z)          # keys
        | \beyJ[\w-]{10,}[\w.-]*                          # JSON web tokens
        | \bA[KS]IA[0-9A-Z]{16}\b                         # Amazon's, and the secret beside it
        | (?<![\w/+])(?=[a-z0-9/+]*+[A-Z])(?=[A-Z0-9/+]*+[a-z])(?=[a-zA-Z/+]*+\d)
            [a-zA-Z0-9/+]{40}(?![\w/+])
        | (?<![\w-])[\w-]{23,28}\.[\w-]{6,7}\.[\w-]{27,}  # Discord's
        # The others: 24 or more letters and digits, if they do not name an :emoji:.
        | (?<![\w-])(?!(?<=:)\w+:)(?=[a-zA-Z_-]*+\d)(?=[\d_-]*+[a-zA-Z])
            [\w-]{24,}[\w.+/=~-]*
        """,
        re.VERBOSE | re.DOTALL | re.ASCII,
    ),
    # IPv4; a version of four such numbers cannot be told from it.
    re.compile(rf"(?<![\w.]){_OCTET}(?:\.{_OCTET}){{3}}(?!\w|\.\d)(?::\d{{1,5}}|/\d\d?)?"),
    # IPv6, and the addresses of network cards: five colons or a double one, which no time has.
    re.compile(
        r"(?<![\w:.])(?=[0-9a-f:]*?(?:::|(?::[0-9a-f]++){5}))(?=[a-f:]*+\d)[0-9a-f:]++(?!\w)",
        re.IGNORECASE | re.ASCII,
    ),
    re.compile(  # telephone numbers, and those of cards
        r"""
        (?<!\w)\+\d(?:[ ().-]{0,3}\d){6,14}(?!\d)          # +44 20 7946 0958
        | (?<!\w)(?<!\d[.,:/-])
          (?: # 030/1234567, 06 12 34 56 78; a date begins like one
            (?!\d\d?([./-])\d\d?(?:\1(?:\d{4}|\d\d))?(?!\1?\d))\(?0\d(?:[ /().-]{0,2}\d){7,12}
          | (?:1[ .-])?(?:\(\d{2,5}\)\ ?\d{3,5}[ .-]?\d{4}|\d{3}(?:[ .-]\d{3,4}){2})
          | \d{5}[ -]\d{5}
          | \d{4}(?:[ -]\d{4}){3}(?:[ -]\d{1,3})?
          | \d{4}[ -]\d{6}[ -]\d{5}
          )(?!\w|[.-]\d)
        | (?<!\d)(?<!\d[.,])\d{9,}\w*                     # but not 3.14159265358979
        """,
        re.VERBOSE | re.ASCII,
    ),
)
_EVERYONE = re.compile(r"(?<!@)@++(?=everyone|here)", re.IGNORECASE)


@dataclass(frozen=True)
class Message:
    """What somebody wrote in a channel. `names` are those of the members, roles and channels that
    the content mentions by id."""

    author: str  # an id or a name, only ever compared; empty where it is unknown
    content: str
    automatic: bool = False  # a bot's or a webhook's
    system: bool = False  # Discord's own, as "Ada joined the server"
    names: Mapping[str, str] = field(default_factory=dict)


class LeftOut(StrEnum):
    """Why a message is none to learn from."""

    AUTOMATIC = "by bots"
    SYSTEM = "by Discord"
    OPTED_OUT = "by members who opted out"
    COMMAND = "as commands"
    EMPTY = "with nothing left"
    REPEATED = "as repeats"


@dataclass
class Counts:
    """What came of the messages that a Cleaner was given.

    >>> print(Counts(5120, 200_000, {"ada", "bo"}, Counter({LeftOut.COMMAND: 40})))
    5,120 messages of 2 people; left out: 40 as commands
    """

    messages: int = 0  # kept
    characters: int = 0  # of those, a newline after each
    authors: set[str] = field(default_factory=set)  # of those
    left_out: Counter[LeftOut] = field(default_factory=Counter)

    def total(self) -> int:
        """How many messages there were, kept or not."""
        return self.messages + self.left_out.total()

    def __str__(self) -> str:
        kept = f"{self.messages:,} messages"
        if people := len(self.authors):
            kept += f" of {people:,} {'person' if people == 1 else 'people'}"
        left_out = [f"{self.left_out[why]:,} {why}" for why in LeftOut if self.left_out[why]]
        return f"{kept}; left out: {', '.join(left_out)}" if left_out else kept


class Cleaner:
    """Takes a channel's messages, one after another, and gives the lines to learn from.

    >>> cleaner = Cleaner(opted_out={"bo"})
    >>> cleaner.clean(Message("ada", "see <#7>,\\n<@8>: https://example.com", names={"7": "art"}))
    'see #art, @someone:'
    >>> cleaner.clean(Message("bo", "hello"))
    >>> cleaner.counts.left_out
    Counter({<LeftOut.OPTED_OUT: 'by members who opted out'>: 1})
    """

    def __init__(self, opted_out: Container[str] = ()):
        self.counts = Counts()
        self._opted_out = opted_out
        self._seen = _Seen()

    def clean(self, message: Message) -> str | None:
        """What `message` says, as one line without its newline; None if it is left out."""
        line = ""
        why = self._unwanted(message)
        if why is None:
            line = _line(message, self._opted_out)
            why = self._useless(line)
        if why is not None:
            self.counts.left_out[why] += 1
            return None
        self.counts.messages += 1
        self.counts.characters += len(line) + 1
        if message.author:
            self.counts.authors.add(message.author)
        return line

    def _unwanted(self, message: Message) -> LeftOut | None:
        if message.automatic:
            return LeftOut.AUTOMATIC
        if message.system:
            return LeftOut.SYSTEM
        if message.author in self._opted_out:
            return LeftOut.OPTED_OUT
        if _COMMAND.match(message.content):
            return LeftOut.COMMAND
        return None

    def _useless(self, line: str) -> LeftOut | None:
        if not line:
            return LeftOut.EMPTY
        return None if self._seen.add(line) else LeftOut.REPEATED


class _Seen:
    """Which lines there have been, whatever their case. Of each it keeps a hash of 8 bytes, where
    a set of Python's would take 70, on a shelf so short that it is searched at once: among a
    million lines, two are mistaken for each other with a probability of 3e-8."""

    def __init__(self) -> None:
        self._shelves = [array("q") for _ in range(SHELVES)]

    def add(self, line: str) -> bool:
        """Whether it is new."""
        key = hash(line.casefold())
        shelf = self._shelves[key % SHELVES]
        if key in shelf:
            return False
        shelf.append(key)
        return True


def read_lines(text: str, source: str) -> Iterator[Message]:
    """The messages of a `.jsonl` file: an object a line, with `content` and `bot`, and with
    `author` or not. Raises CorpusError, which names the `source`."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            message = _typed(dict, json.loads(line))
            yield Message(
                author=_typed(str, message.get("author", "")),
                content=_typed(str, message["content"]),
                automatic=_typed(bool, message["bot"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorpusError(
                f"Line {number} of {source} is no message: an object with `content` and `bot`."
            ) from error


def read_export(text: str, source: str) -> Iterator[Message]:
    """The messages of a channel as DiscordChatExporter writes it to a `.json` file.

    Raises CorpusError, which names the `source`."""
    try:
        export = _typed(dict, json.loads(text.removeprefix("\ufeff")))
        messages = _typed(list, export["messages"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorpusError(
            f"{source} is no channel: the JSON of DiscordChatExporter, an object with `messages`."
        ) from error
    for number, message in enumerate(messages, start=1):
        try:
            yield _exported(message)
        except (KeyError, TypeError) as error:
            raise CorpusError(
                f"Message {number} of {source} is none of DiscordChatExporter's: an object with "
                "`type`, `content` and `author`."
            ) from error


def _exported(message: object) -> Message:
    fields = _typed(dict, message)
    author = _typed(dict, fields["author"])
    mentioned = [_typed(dict, user) for user in _typed(list, fields.get("mentions", []))]
    return Message(
        author=_typed(str, author["id"]),
        content=_typed(str, fields["content"]),
        automatic=_typed(bool, author["isBot"]),
        system=_typed(str, fields["type"]) not in PEOPLES,
        names={user["id"]: _typed(str, user.get("nickname") or user["name"]) for user in mentioned},
    )


def _typed(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value


def without_private(line: str) -> str:
    """A line without links, e-mail and IP addresses, telephone and card numbers and tokens, as far
    as they can be told by their looks."""
    for pattern in _PRIVATE:
        line = pattern.sub(" ", line)
    return line


def _line(message: Message, opted_out: Container[str]) -> str:
    def name(mention: re.Match[str]) -> str:
        sign, number = mention[1][0], mention[2]
        known = None if number in opted_out else message.names.get(number)
        nameless = "channel" if sign == "#" else "someone"
        return sign + clean(known or nameless)  # an export may hold whatever name

    text = clean(message.content)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    text = without_private(_MENTION.sub(name, text))
    return " ".join(_EVERYONE.sub("", text).split())
