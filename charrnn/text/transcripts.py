"""Chats that were exported as plain text -> messages.

Nothing but their form tells them from other texts, so it is checked strictly.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from charrnn.text.messages import Message

SAMPLE_LINES = 2000  # that decide whether a text is a chat

# What DiscordChatExporter writes in place of system messages.
SYSTEM_TEXTS = re.compile(
    r"(?:Joined the server|Pinned a message|Started a thread|Left the group"
    r"|Changed the channel (?:icon|name)|(?:Added|Removed) [^\n]{1,100}(?: to| from) the group"
    r"|(?:Added|Removed) a recipient|Started a call that lasted [\d,.]+ minutes)\."
    r"|Changed the channel name: [^\n]*"
)
_RULE = re.compile(r"={20,}")
_HEAD = re.compile(r"={20,}\n(?:Guild|Server): [^\n]*\nChannel: ")
_FOOT = re.compile(r"Exported [^\n]{1,20} message\(s\)")
_BLOCK = re.compile(r"\{(?:Attachments?|Embeds?|Stickers?|Reactions?)\}")
# "[05/12/2024 10:01 PM] ada" or "[12-Mai-24 22:01] ada": any date with four digits or more.
_HEADER = re.compile(r"\[((?:[^\]\n\d]{0,12}\d){4}[^\]\n]{0,40})\] (\S[^\n]{0,100})")

_TAG = re.compile(r"(?<=.)#\d{4}$")

_LRM = "\u200e"  # begins what WhatsApp itself writes, in any language
_MARKS = dict.fromkeys(
    map(ord, "\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
)
_WHEN = (
    r"\d{1,4}[./年년-] ?\d{1,2}[./月월-] ?\d{1,4}[^\d\n\[\]]{1,12}"  # a date, in any order
    r"\d{1,2}[:.]\d{2}(?:[:.]\d{2})?[^\d\n\[\]:,–-]{0,12}"
)
_WHATSAPP = re.compile(rf"{_LRM}?(?:\[{_WHEN}\] ?|{_WHEN}(?:[-–]|: |, ))([^\n]*)")
_SAID = re.compile(r" ?([^:\n]{1,100}):(?: |$)([^\n]*)")
_QUOTED = re.compile(r'["“„«]')  # in what looks like an author: 'Ada named the group "Rome'
_OWN_WORDS = re.compile(
    rf"{_LRM}.*|<[^<>]{{3,80}}>|null"
    r"|(?:IMG|VID|PTT|AUD|STK|DOC)-\d{8}-WA\d+\.\w+.*"
    r"|(?:image|video|audio|sticker|GIF|document|Contact card) omitted"
    r"|[^\n:]{2,30}: https://maps\.google\.com/\?q=\S+"
    r"|(?:Missed (?:voice|video|group) call|Waiting for this message.*)\.?"
    r"|Messages and calls are end-to-end encrypted.*"
    r"|(?:This message was deleted|You deleted this message"
    r"|Diese Nachricht wurde gelöscht|Du hast diese Nachricht gelöscht"
    r"|Se eliminó este mensaje|Este mensaje fue eliminado|Eliminaste este mensaje"
    r"|Mensagem apagada|Essa mensagem foi apagada|Você apagou esta mensagem|Mensagem eliminada"
    r"|Ce message a été supprimé|Vous avez supprimé ce message"
    r"|Questo messaggio è stato eliminato|Hai eliminato questo messaggio"
    r"|Dit bericht is verwijderd|U hebt dit bericht verwijderd|Je hebt dit bericht verwijderd"
    r"|Данное сообщение удалено|Вы удалили данное сообщение|Pesan ini dihapus"
    r"|Anda menghapus pesan ini|Bu mesaj silindi|Bu mesajı sildiniz|Ta wiadomość została usunięta"
    r")\.?"
)
_NOTE = re.compile(rf"(?: {_LRM}?|{_LRM})<[^<>]{{3,80}}>$")  # <This message was edited>
# What IRC clients log: "[09:00] <@ana> hi", "2024-01-01 09:00:00 * ana waves", "<ana> hi", or with
# tabs, as WeeChat does.
_DAY = r"(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?|(?:[^\W\d_]{2,9}\.?,? {1,2}){1,2}\d{1,2},?)"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,6})?)?(?: ?[AaPp][Mm])?(?:Z|[+-]\d{2}:?\d{2})?"
_TIME = rf"(?P<time>[\[(]?(?:{_DAY}[ T])?{_CLOCK}[\])]?[ \t]{{1,4}})"
_IRC = re.compile(
    rf"{_TIME}?<[ ~&@%+!]?(?P<nick>[^\s<>/=\"][^<>=\"\n]{{0,39}})>(?:[ \t](?P<said>[^\n]*))?"
)
_WEECHAT = re.compile(rf"{_TIME}[~&@%+!]?(?P<nick>[^\s<>*=-][^\t\n]{{0,39}})\t(?P<said>[^\n]*)")
# Actions, and who joins or leaves.
_IRC_SYSTEM = re.compile(
    rf"{_TIME}?[ \t]{{0,4}}(?:\*{{1,4}}|-!-|-{{2,3}}>?|<-{{1,3}}|=!=|-[^\s-][^\s]{{0,39}}-"
    r"|Session (?:Start|Close|Time|Ident):)(?:[ \t][^\n]*)?"
)
_IRC_FORMAT = re.compile(r"\x03(?:\d{1,2}(?:,\d{1,2})?)?|[\x02\x0f\x11\x16\x1d-\x1f]")

_NUMBER = re.compile(r"@\+?\d{6,16}(?!\d)")  # a mention of somebody without a name


def as_author(name: str) -> str:
    """The author of a message without an id: a name that cannot be taken for an id of Discord."""
    return f"@{name}" if name.isdigit() else name


def without_tag(name: str) -> str:
    """The author `ada#1234` of Discord without the number."""
    return as_author(_TAG.sub("", name))


def read_transcript(text: str) -> list[Message] | None:
    """The messages of a chat that DiscordChatExporter, WhatsApp or an IRC client wrote as text;
    None if it is not such a chat."""
    lines = text.split("\n")
    if _HEAD.match(text):
        return list(_discord(lines))
    for said in (_IRC, _WEECHAT):
        if _is_irc(lines, said):
            return [_irc_message(line, said) for line in lines if line.strip()]
    if _is_discord(lines):
        return list(_discord(lines))
    return list(_whatsapp(lines)) if _is_whatsapp(lines) else None


def _sample(lines: Sequence[str]) -> int:
    return sum(map(bool, islice(lines, SAMPLE_LINES)))


def _is_discord(lines: Sequence[str]) -> bool:
    """Whether a part of a file without its beginning is a chat: a header before each message."""
    before = islice(["", *lines], SAMPLE_LINES)
    headers = [
        _HEADER.fullmatch(line) for last, line in zip(before, lines, strict=False) if not last
    ]
    authors = [header[2] for header in headers if header]
    return len(authors) >= max(3, 2 * len(set(authors)), _sample(lines) / 6)


def _discord(lines: Sequence[str]) -> Iterator[Message]:
    author = ""  # of the message that is being read; empty before the first
    body: list[str] = []
    said, blank, whole = False, True, not _RULE.fullmatch(lines[0])
    for number, line in enumerate(lines):
        if blank and (header := _HEADER.fullmatch(line)):
            if author:
                yield _discord_message(author, body)
            author, body, said = header[2].removesuffix(" (pinned)"), [], True
        elif not author:
            whole = whole or line.startswith("Messages: ")  # an old version, which writes no foot
        elif _RULE.fullmatch(line) and _FOOT.fullmatch("".join(lines[number + 1 : number + 2])):
            whole = True
            break
        elif (blank or not body) and _BLOCK.fullmatch(line):
            said = False  # attachments and the like, up to the next message
        elif said:
            body.append(line)
        blank = not line
    if author:
        yield _discord_message(author, body)
    if not whole:
        yield Message("", "", cut_off=True)


def _discord_message(author: str, body: list[str]) -> Message:
    content = "\n".join(body).strip("\n")
    return Message(
        author=without_tag(author),
        content=content,
        automatic=author.endswith("#0000"),  # a webhook
        system=bool(SYSTEM_TEXTS.fullmatch(content)),
    )


def _is_irc(lines: Sequence[str], said: re.Pattern[str]) -> bool:
    sample = [line for line in islice(lines, SAMPLE_LINES) if line.strip()]
    found = [match for line in sample if (match := said.fullmatch(line))]
    system = [match for line in sample if (match := _IRC_SYSTEM.fullmatch(line))]
    if len(found) < 2 or len(found) + len(system) < len(sample) * 3 / 4:
        return False
    if said is _WEECHAT:  # a table may have the same form, but has no such lines
        return any(match["time"] for match in system)
    if sum(bool(match["time"]) for match in found) >= len(found) / 2:
        return True
    # Without times it could be markup.
    several = len({match["nick"] for match in found}) > 1
    return several and len(found) >= len(sample) / 2 and not any("</" in line for line in sample)


def _irc_message(line: str, said: re.Pattern[str]) -> Message:
    match = said.fullmatch(line)
    if not match:
        return Message("", "", system=True)
    content = _IRC_FORMAT.sub("", match["said"] or "")
    return Message(as_author(_IRC_FORMAT.sub("", match["nick"]).strip()), content)


def _is_whatsapp(lines: Sequence[str]) -> bool:
    authors = [
        said[1] for line in islice(lines, SAMPLE_LINES) if (said := _said(line.translate(_MARKS)))
    ]
    return len(authors) >= max(2, _sample(lines) / 4)


def _said(line: str) -> re.Match[str] | None:
    """Author and text of a line that begins a message."""
    found = _WHATSAPP.fullmatch(line)
    said = _SAID.fullmatch(found[1]) if found else None
    return None if said and _QUOTED.search(said[1]) else said


def _whatsapp(lines: Sequence[str]) -> Iterator[Message]:
    author: str | None = None  # of the message that is being read
    body: list[str] = []
    for line in lines:
        line = line.translate(_MARKS)
        if _WHATSAPP.fullmatch(line):
            if author is not None:
                yield _whatsapp_message(author, body)
            said = _said(line)
            author, body = (said[1].strip(f"{_LRM} "), [said[2]]) if said else ("", [])
        elif author:
            body.append(line)
    if author is not None:
        yield _whatsapp_message(author, body)


def _whatsapp_message(author: str, body: list[str]) -> Message:
    kept = [line for line in body if not _OWN_WORDS.fullmatch(line)]
    content = _NOTE.sub("", "\n".join(kept).strip("\n"))
    return Message(
        author=as_author(author),
        content=_NUMBER.sub("@someone", content).replace(_LRM, ""),
        system=not author or (not content and kept != body),
    )
