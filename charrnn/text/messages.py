"""Chat messages -> clean lines to train on.

Messages may be hostile and long, so every pattern here takes linear time: a repetition starts only
at the start of a run (look-behind), does not backtrack (`++`), or has a limited length.
"""

import json
import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from charrnn.errors import CorpusError
from charrnn.vocabulary import clean

T = TypeVar("T")

MAX_REMEMBERED = 1_000_000  # lines; later lines may repeat each other, but not these
WRITTEN_BY_PEOPLE = ("Default", "Reply")  # types of messages in DiscordChatExporter's files

# A command for a bot: a prefix and a word, so not "...", "-5", "-_-" or "/etc/fstab". After "!"
# one letter is enough, and a bot's initial may stand before it, as in "p!catch".
_COMMAND = re.compile(r"\s*+(?:[a-z]?![^\W\d_]|[/.?$-][^\W\d_]\w*+(?!\S))", re.IGNORECASE)

# Markup is removed first, since it could hide private data. Removed text is replaced by a space,
# so that the text around it does not join to something that an earlier pattern would have matched.
_MARKUP = (
    (re.compile(r"```.*?(?:```|\Z)", re.DOTALL), " "),
    (re.compile(r"(?<!`)`++([^`]++)`++"), r"\1"),  # keep inline code: the sentence needs it
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
    re.compile(  # links, with any scheme
        r"<?(?:(?<![a-z0-9+.-])[a-z0-9+.-]++://|(?<![a-z])www\.(?=\w)"
        r"|discord(?:app)?\.(?:gg|com)/)\S*",
        re.IGNORECASE,
    ),
    re.compile(r"(?<![\w.%+-])[\w.%+-]++@[\w-]++(?:\.[\w-]++)+"),  # e-mail addresses
    re.compile(
        r"""
        -----BEGIN\ .*?(?:-----END[^-]*-----|\Z)          # keys
        | \beyJ[\w-]{10,}[\w.-]*                          # JSON web tokens
        | \bA[KS]IA[0-9A-Z]{16}\b                         # AWS key ids, and AWS secrets
        | (?<![\w/+])(?=[a-z0-9/+]*+[A-Z])(?=[A-Z0-9/+]*+[a-z])(?=[a-zA-Z/+]*+\d)
            [a-zA-Z0-9/+]{40}(?![\w/+])
        | (?<![\w-])[\w-]{23,28}\.[\w-]{6,7}\.[\w-]{27,}  # Discord tokens
        # Other tokens: 24 or more letters and digits, but not the name of an :emoji:.
        | (?<![\w-])(?!(?<=:)\w+:)(?=[a-zA-Z_-]*+\d)(?=[\d_-]*+[a-zA-Z])
            [\w-]{24,}[\w.+/=~-]*
        """,
        re.VERBOSE | re.DOTALL | re.ASCII,
    ),
    # IPv4 addresses, and versions of four such numbers, which look the same.
    re.compile(
        rf"(?<![\w.]){_OCTET}(?:\.{_OCTET}){{3}}(?!\w|\.\d)(?::\d{{1,5}}|/\d\d?)?", re.ASCII
    ),
    # IPv6 and MAC addresses: five colons or a double colon, which no time of day has.
    re.compile(
        r"(?<![\w:.])(?=[0-9a-f:]*?(?:::|(?::[0-9a-f]++){5}))(?=[a-f:]*+\d)[0-9a-f:]++(?!\w)",
        re.IGNORECASE | re.ASCII,
    ),
    re.compile(  # telephone and card numbers
        r"""
        (?<!\w)\+\d(?:[ ().-]{0,3}\d){6,14}(?!\d)          # +44 20 7946 0958
        | (?<!\w)(?<!\d[.,:/-])
          (?: # 030/1234567, 06 12 34 56 78, but not a date
            (?!\d\d?([./-])\d\d?(?:\1(?:\d{4}|\d\d))?(?!\1?\d))\(?0\d(?:[ /().-]{0,2}\d){7,12}
          | (?:1[ .-])?(?:\(\d{2,5}\)\ ?\d{3,5}[ .-]?\d{4}|\d{3}(?:[ .-]\d{3,4}){2})
          | (?:8[ -]?)?\(?\d{3}\)?[ -]?\d{3}[ -]\d\d[ -]\d\d  # 8 (912) 345-67-89
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
    """A message in a channel."""

    author: str  # an id or a name; empty if unknown
    content: str
    automatic: bool = False  # written by a bot or a webhook
    system: bool = False  # written by Discord, as "Ada joined the server"
    # Id -> name of the members, roles and channels that the content mentions.
    names: Mapping[str, str] = field(default_factory=dict)


class LeftOut(StrEnum):
    """Why a message is left out."""

    AUTOMATIC = "by bots"
    SYSTEM = "by Discord"
    OPTED_OUT = "by members who opted out"
    COMMAND = "as commands"
    EMPTY = "with nothing left"
    REPEATED = "as repeats"


@dataclass
class Counts:
    """How many messages a Cleaner kept and left out.

    >>> print(Counts(5120, 200_000, {"ada", "bo"}, Counter({LeftOut.COMMAND: 40})))
    5,120 messages of 2 people; left out: 40 as commands
    """

    messages: int = 0  # kept
    characters: int = 0  # in the messages kept, with a newline after each
    authors: set[str] = field(default_factory=set)  # of the messages kept
    left_out: Counter[LeftOut] = field(default_factory=Counter)

    def total(self) -> int:
        """The number of messages, kept or left out."""
        return self.messages + self.left_out.total()

    def __str__(self) -> str:
        kept = f"{self.messages:,} messages"
        if people := len(self.authors):
            kept += f" of {people:,} {'person' if people == 1 else 'people'}"
        left_out = [f"{self.left_out[why]:,} {why}" for why in LeftOut if self.left_out[why]]
        return f"{kept}; left out: {', '.join(left_out)}" if left_out else kept


class Cleaner:
    """Turns the messages of a channel, one after another, into lines to train on.

    >>> cleaner = Cleaner(opted_out={"bo"})
    >>> cleaner.clean(Message("ada", "see <#7>,\\n<@8>: https://example.com", names={"7": "art"}))
    'see #art, @someone:'
    >>> cleaner.clean(Message("bo", "hello"))
    >>> cleaner.counts.left_out
    Counter({<LeftOut.OPTED_OUT: 'by members who opted out'>: 1})
    """

    def __init__(self, opted_out: Container[str] = (), *, newest_first: bool = False):
        self.counts = Counts()
        self._opted_out = opted_out
        self._newest_first = newest_first  # then a repeat is the earlier message
        self._seen: set[int] = set()  # hashes, which take less memory than lines

    def clean(self, message: Message) -> str | None:
        """The message as one line without a newline; None if it is left out. If messages come
        newest first, also a line that repeats a later one, which the caller then leaves out."""
        why = self._unwanted(message)
        line = "" if why else _line(message, self._opted_out)
        why = why or self._empty_or_repeated(line)
        if why:
            self.counts.left_out[why] += 1
            if not (self._newest_first and why is LeftOut.REPEATED):
                return None
        else:
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

    def _empty_or_repeated(self, line: str) -> LeftOut | None:
        if not line:
            return LeftOut.EMPTY
        key = hash(line.casefold())
        if key in self._seen:
            return LeftOut.REPEATED
        if len(self._seen) < MAX_REMEMBERED:
            self._seen.add(key)
        return None


def read_lines(text: str, source: str) -> Iterator[Message]:
    """Read the messages of a `.jsonl` file: one object a line, with `content`, `bot` and
    optionally `author`. Raises CorpusError, which names `source`."""
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
                f"Line {number} of {source} is not a message. It must be a JSON object with "
                "`content` and `bot`."
            ) from error


def read_export(text: str, source: str) -> Iterator[Message]:
    """Read the messages of a `.json` file that DiscordChatExporter has written. Raises CorpusError,
    which names `source`."""
    try:
        export = _typed(dict, json.loads(text.removeprefix("\ufeff")))
        messages = _typed(list, export["messages"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorpusError(
            f"{source} is not a channel. It must be a JSON file from DiscordChatExporter, with a "
            "list of `messages`."
        ) from error
    for number, message in enumerate(messages, start=1):
        try:
            yield _exported(message)
        except (KeyError, TypeError) as error:
            raise CorpusError(
                f"Message {number} of {source} is not from DiscordChatExporter. It must be an "
                "object with `type`, `content` and `author`."
            ) from error


def _exported(message: object) -> Message:
    fields = _typed(dict, message)
    author = _typed(dict, fields["author"])
    mentioned = [_typed(dict, user) for user in _typed(list, fields.get("mentions", []))]
    return Message(
        author=_typed(str, author["id"]),
        content=_typed(str, fields["content"]),
        automatic=_typed(bool, author["isBot"]),
        system=_typed(str, fields["type"]) not in WRITTEN_BY_PEOPLE,
        names={user["id"]: _typed(str, user.get("nickname") or user["name"]) for user in mentioned},
    )


def _typed(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value


def without_private(line: str) -> str:
    """Remove what looks like a link, an e-mail or IP address, a telephone or card number, or a
    token."""
    for pattern in _PRIVATE:
        line = pattern.sub(" ", line)
    return line


def _line(message: Message, opted_out: Container[str]) -> str:
    def name(mention: re.Match[str]) -> str:
        sign, number = mention[1][0], mention[2]
        known = None if number in opted_out else message.names.get(number)
        nameless = "channel" if sign == "#" else "someone"
        return sign + clean(known or nameless)  # an export may contain any name

    text = clean(message.content)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    text = without_private(_MENTION.sub(name, text))
    return " ".join(_EVERYONE.sub("", text).split())
