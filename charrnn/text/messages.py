"""Chat messages -> clean lines to train on.

Messages may be hostile and long, so every pattern here takes linear time: a repetition starts only
at the start of a run (look-behind), does not backtrack (`++`), or has a limited length.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from charrnn.sentences import counted
from charrnn.vocabulary import clean

MAX_REMEMBERED = 1_000_000  # lines; later lines may repeat each other, but not these

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
_AT = re.compile(r"(?<!<)@(?!@)")
# A name ends before anything but a letter or digit. Scripts without spaces between words have no
# such end.
_NAME_END = re.compile(
    r"(?![^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3])"
)

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
    system: bool = False  # written by the app, as "Ada joined the server"
    cut_off: bool = False  # the file ends in the middle of this message
    # Id -> name of the members, roles and channels that the content mentions as <@id> or <#id>.
    names: Mapping[str, str] = field(default_factory=dict)
    # Name -> id of the members that the content mentions as @name.
    ids: Mapping[str, str] = field(default_factory=dict)


class LeftOut(StrEnum):
    """Why a message is left out."""

    AUTOMATIC = "by bots"
    SYSTEM = "as system messages"
    OPTED_OUT = "by members who opted out"
    COMMAND = "as commands"
    EMPTY = "with nothing left"
    REPEATED = "as repeats"
    CUT_OFF = "where the file ends in the middle"


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
    # Messages kept by channel name; empty if the text came from a file.
    channels: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.messages + other.messages,
            self.characters + other.characters,
            self.authors | other.authors,
            self.left_out + other.left_out,
            self.channels + other.channels,
        )

    def total(self) -> int:
        """The number of messages, kept or left out."""
        return self.messages + self.left_out.total()

    def __str__(self) -> str:
        kept = counted(self.messages, "message")
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

    def __init__(self, opted_out: Collection[str] = (), *, newest_first: bool = False):
        """`opted_out` are ids, and names for messages without ids."""
        self.counts = Counts()
        self._opted_out = frozenset(map(clean, opted_out))
        self._names = {who for who in self._opted_out if not who.isdigit()}
        self._newest_first = newest_first  # then a repeat is the earlier message
        self._seen: set[int] = set()  # hashes, which take less memory than lines

    def clean(self, message: Message) -> str | None:
        """The message as one line without a newline; None if it is left out. If messages come
        newest first, also a line that repeats a later one, which the caller then leaves out."""
        why = self._unwanted(message)
        line = "" if why else self._line(message)
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
        if message.cut_off:
            return LeftOut.CUT_OFF
        if message.automatic:
            return LeftOut.AUTOMATIC
        if message.system:
            return LeftOut.SYSTEM
        if self._opted_out and clean(message.author) in self._opted_out:
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

    def _line(self, message: Message) -> str:
        text = clean(message.content)
        if self._opted_out and "@" in text:
            text = self._anonymous(text, message.ids)
        text = without_private(_readable(text, message.names, self._opted_out))
        return " ".join(_EVERYONE.sub("", text).split())

    def _anonymous(self, text: str, ids: Mapping[str, str]) -> str:
        """Replace `@name` by `@someone` for people who opted out."""
        ids = {clean(name): number for name, number in ids.items() if name}
        found: set[str] = set()
        text = self._replace_names(text, ids, found, endless=())
        # A letter may follow a mention at once, as in "@Adas".
        missing = {number for number in ids.values() if number in self._opted_out} - found
        return self._replace_names(text, ids, found, missing) if missing else text

    def _replace_names(
        self, text: str, ids: Mapping[str, str], found: set[str], endless: Collection[str]
    ) -> str:
        lengths = sorted({*map(len, ids), *map(len, self._names)}, reverse=True)
        parts: list[str] = []
        start = 0
        for at in _AT.finditer(text):
            for end in (at.end() + length for length in lengths):
                name = text[at.end() : end]
                who = ids.get(name, name)
                if name not in ids and name not in self._names:
                    continue
                loose = who in endless and not text[at.start() - 1 : at.start()].isalnum()
                if loose or _NAME_END.match(text, end):
                    found.add(who)
                    if who in self._opted_out:
                        parts += [text[start : at.end()], "someone"]
                        start = end
                    break
        return "".join(parts) + text[start:]


def readable(message: Message) -> str:
    """The message's content as people see it, without markup.

    >>> readable(Message("ada", "see <#7>,\\n||<@8>||", names={"7": "art"}))
    'see #art,\\n@someone'
    """
    return _readable(clean(message.content), message.names)


def _readable(text: str, names: Mapping[str, str], nameless: Collection[str] = ()) -> str:
    def name(mention: re.Match[str]) -> str:
        sign, number = mention[1][0], mention[2]
        known = None if number in nameless else names.get(number)
        instead = "channel" if sign == "#" else "someone"
        return sign + clean(known or instead)  # an export may contain any name

    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return _MENTION.sub(name, text)


def without_private(line: str) -> str:
    """Remove what looks like a link, an e-mail or IP address, a telephone or card number, or a
    token."""
    for pattern in _PRIVATE:
        line = pattern.sub(" ", line)
    return line


def join_messages(
    messages: Iterable[Message], cleaner: Cleaner | None = None
) -> tuple[str, Counts]:
    """Clean messages: a text with a line for each message kept, and the counts of these messages.
    Lines that `cleaner` has seen before are repeats."""
    cleaner = cleaner or Cleaner()
    cleaner.counts = Counts()
    lines = (cleaner.clean(message) for message in messages)
    text = "".join(line + "\n" for line in lines if line is not None)
    return text, cleaner.counts
