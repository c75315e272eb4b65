"""Chat exports -> messages. The content of a file decides what it is, never its name.

Files may be hostile: one message is decoded at a time, and every pattern takes linear time.
"""

import csv
import io
import json
import re
from collections.abc import Iterator

from charrnn.errors import CorpusError
from charrnn.sentences import counted
from charrnn.text.forms import form_of, plain, typed
from charrnn.text.messages import Message
from charrnn.text.transcripts import SYSTEM_TEXTS, read_transcript, without_tag

# In JSON, only a key is followed by a colon.
_MESSAGES = re.compile(r'"messages"\s*+:\s*+\[')
_SPACE = re.compile(r"\s*+")
_COMMA = re.compile(r"\s*+(?:,\s*+)?")
_OBJECT = re.compile(r'\{\s*+(?:\}|"(?:[^"\\\n]|\\.)*+"\s*+:)')
_OBJECTS = re.compile(r'\[\s*+(?:\]\s*+\Z|\{\s*+["}])')
_DECODER = json.JSONDecoder()

# Names of the columns of a table that is a chat, the likeliest first.
_AUTHORS = ("author", "user", "username", "name", "sender", "from", "nick")
_TEXTS = ("content", "text", "message", "body")
_DISCORD_ID = re.compile(r"\d{17,20}")

INSTEAD = (
    "Export the channel as JSON with DiscordChatExporter, or save what people wrote as plain text, "
    "one message a line."
)
NO_CHAT = f"{{}} is JSON, but no chat that can be read. {INSTEAD}"
# How files begin that are neither text nor a chat, and what they are.
_MARKUP = (
    (re.compile(r"<(?:!doctype\s++html|html|head|body)\b", re.I), "a web page (HTML)"),
    (re.compile(r"<\?xml\b", re.I), "an XML file"),
    (re.compile(r"\{\\rtf"), "a formatted text (RTF)"),
    (re.compile(r"\[LINE\]"), "a chat of LINE"),
)


def read_export(text: str, source: str) -> list[Message] | None:
    """The messages of an exported chat, oldest first; None if `text` is no export but plain text.

    Known are the JSON, CSV and plain text of DiscordChatExporter, Discord's data package, the text
    of WhatsApp and IRC clients, the JSON of Telegram and Slack, tables with an author and a text,
    and JSON lines or a JSON list of objects with `content` and perhaps `author` and `bot`.
    Raises CorpusError, which names `source`, when it is something else that is not plain text."""
    start = _end(_SPACE, text, 0)
    for pattern, kind in _MARKUP:
        if pattern.match(text, start):
            raise CorpusError(f"{source} is {kind}, which cannot be read. {INSTEAD}")
    if text[start : start + 1] in ("{", "["):
        messages = _read_json(text, start, source)
    else:
        messages = _read_csv(text[start:], source)
    if messages is None:
        messages = read_transcript(text)
    if messages is None:
        return None
    said = [m for m in messages if not (m.automatic or m.system or m.cut_off)]
    if said and not any(message.content for message in said):
        raise CorpusError(
            f"No message in {source} has any text. If it was exported from Discord with the token "
            "of a bot, enable Message Content Intent for that bot, on the Bot page of Discord's "
            "developer portal, and export the channel again."
        )
    return messages


def _read_json(text: str, start: int, source: str) -> list[Message] | None:
    if _OBJECTS.match(text, start):
        return _read_list(text, start + 1, source)[0]
    if _OBJECT.match(text, start) and (found := _MESSAGES.search(text, start)):
        messages: list[Message] = []
        while found:  # a Telegram account has several chats
            chat, at = _read_list(text, found.end(), source)
            messages += chat
            found = _MESSAGES.search(text, at)
        return messages
    if _first_of_many(text, start):
        return list(read_lines(text, source))
    _check_text(text, start, source)
    return None


def _read_list(text: str, at: int, source: str) -> tuple[list[Message], int]:
    """The messages of the list whose first element is at `at`, oldest first, and where it ends."""
    messages: list[Message] = []
    times: list[float] = []
    at = _end(_SPACE, text, at)
    while not text.startswith("]", at):
        number = len(messages) + 1
        try:
            fields, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            if not _cut_off(error, text):
                raise CorpusError(
                    f"{source} is damaged after {counted(number - 1, 'message')}. Export it again."
                ) from error
            messages.append(Message("", "", cut_off=True))
            at = len(text)
            break
        try:
            read, time = form_of(fields)
            messages.append(read(fields))
            times += _time(fields.get(time))
        except (KeyError, TypeError) as error:
            if number == 1:
                raise CorpusError(NO_CHAT.format(source)) from error
            raise CorpusError(
                f"Message {number} of {source} is not like those of an exported chat. Export the "
                "chat again."
            ) from error
        at = _end(_COMMA, text, at)
    if times and times[0] > times[-1]:
        messages.reverse()
    return messages, at


def _time(value: object) -> list[float]:
    try:
        return [float(str(value))]
    except ValueError:
        return []


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _cut_off(error: Exception, text: str) -> bool:
    """Whether decoding JSON failed because the text ends."""
    return isinstance(error, json.JSONDecodeError) and (
        error.msg.startswith("Unterminated string") or error.pos > len(text) - len("\\u1234")
    )


def _first_of_many(text: str, start: int) -> bool:
    """Whether the first line is a JSON object, and either is a message or not the only line."""
    line, _, more = text[start:].partition("\n")
    try:
        return "content" in typed(dict, json.loads(line)) or more.lstrip().startswith("{")
    except (ValueError, TypeError, RecursionError):
        return False


def _check_text(text: str, start: int, source: str) -> None:
    """Raises CorpusError when a text that begins with a bracket is JSON."""
    try:
        json.loads(text[start:])
    except ValueError as error:
        if not _OBJECT.match(text, start):
            return
        raise CorpusError(
            f"{source} is JSON that is damaged or ends before its first message. Export it again."
        ) from error
    except RecursionError:
        pass
    raise CorpusError(NO_CHAT.format(source))


def read_lines(text: str, source: str) -> Iterator[Message]:
    """Read the messages of a `.jsonl` file: one object a line, with `content` and optionally
    `author` and `bot`. Raises CorpusError, which names `source`."""
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield plain(typed(dict, json.loads(line)))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if number == len(lines) > 1 and line.startswith("{") and _cut_off(error, line):
                yield Message("", "", cut_off=True)
                return
            raise CorpusError(
                f"Line {number} of {source} is not a message. It must be a JSON object with "
                "`content`, and may have `author` and `bot`."
            ) from error


def _read_csv(text: str, source: str) -> list[Message] | None:
    """DiscordChatExporter's CSV, that of Discord's data package, or a table whose header names a
    column for the author and one for the text."""
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    columns = [column.strip(' "').lower() for column in header.split(delimiter)]
    if columns[:3] == ["id", "timestamp", "contents"]:
        author, content = "", 2
    else:
        author = next((name for name in _AUTHORS if name in columns), "")
        column = next((name for name in _TEXTS if name in columns), "")
        if not author or not column:
            return None
        content = columns.index(column)
    # Exports of Discord have a column after the content, which is never missing.
    least = content + 2 if "attachments" in columns[content + 1 :] else content + 1
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    messages: list[Message] = []
    ids: list[str] = []
    try:
        next(rows)  # the header
        for row in rows:
            if len(row) < least:
                messages += [Message("", "", cut_off=True)] if row else []
                continue
            values = dict(zip(columns, row, strict=False))
            ids.append(values.get("id", ""))
            name = values.get(author, "").strip()
            number = values.get("authorid") or (name if _DISCORD_ID.fullmatch(name) else "")
            # In a last column without quotes, the delimiter may be a part of the text.
            last = content + 1 == len(columns)
            said = delimiter.join(row[content:]) if last else row[content]
            messages.append(
                Message(
                    author=number or without_tag(name),
                    content=said,
                    automatic=name.endswith("#0000"),
                    system=bool(SYSTEM_TEXTS.fullmatch(said)),
                )
            )
    except csv.Error as error:
        raise CorpusError(
            f"{source} is damaged after {counted(len(messages), 'message')}. Export it again."
        ) from error
    if ids and ids[0].isdigit() and (len(ids[0]), ids[0]) > (len(ids[-1]), ids[-1]):
        messages.reverse()
    return messages
