"""Read texts from files, folders, channels and plays, join them, and split off a part."""

import gzip
import io
import re
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charrnn.errors import CorpusError, OptionError
from charrnn.text import plays
from charrnn.text.exports import read_export
from charrnn.text.messages import Cleaner, Counts, LeftOut, join_messages
from charrnn.vocabulary import clean

HELD_OUT_SHARE = 0.1  # default share of a text that is not trained on, but measured on

MAX_BYTES = 2**30  # of a file that is unpacked

# How files begin that are no text, what they are, and what to do.
_ARCHIVE = "Unpack it, and use the file in it that has the messages."
_DOCUMENT = "Save its text as a plain text (.txt)."
_PICTURE = "Only texts and exported chats can be learnt from."
_SIGNATURES = (
    # A zip archive names its first file at byte 30.
    (rb"PK\x03\x04.{26}(?:\[Content_Types\]|mimetype|_rels/|docProps/)", "a document", _DOCUMENT),
    (rb"PK\x03\x04", "a zip archive", _ARCHIVE),
    (rb"%PDF", "a PDF", _DOCUMENT),
    (rb"\xd0\xcf\x11\xe0", "an Office document", _DOCUMENT),
    (rb"SQLite format 3", "a database", "Export the chat from its app instead."),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _ARCHIVE),
    (rb"Rar!\x1a\x07", "a RAR archive", _ARCHIVE),
    (rb"\xfd7zXZ", "an xz archive", _ARCHIVE),
    (rb"\x28\xb5\x2f\xfd", "a zstd archive", _ARCHIVE),
    (rb"\x89PNG", "a picture", _PICTURE),
    (rb"\xff\xd8\xff", "a picture", _PICTURE),
    (rb"GIF89a", "a picture", _PICTURE),
)
_GZIP = b"\x1f\x8b"
# In a folder, files with other suffixes are not read.
_IN_FOLDERS = re.compile(r".*\.(?:txt|log|csv|tsv|jsonl?)(?:\.gz)?", re.IGNORECASE | re.DOTALL)
# In an unpacked export of Slack, these name people and channels. Each channel has its own folder.
_SLACK = {"channels.json", "groups.json", "dms.json", "mpims.json"}
_PART = re.compile(r" \[part (\d+)\]")  # DiscordChatExporter's name for a part but the first


@dataclass(frozen=True)
class Document:
    """A cleaned text and where it comes from."""

    source: str  # unique: a resolved path or `plays:NAME`
    text: str
    counts: Counts | None = None  # only for channels


def read_sources(sources: Sequence[str]) -> list[Document]:
    """Read the documents of `sources`, in order. A source is a text, an exported chat (one message
    a line; see `read_export`), a folder of them (see `skipped_in`), an unpacked export of Slack,
    `plays` (all of Shakespeare's plays) or `plays:macbeth` (one of them). Texts and chats may be
    gzipped. What several chats have in common is kept once.

    Raises CorpusError when a source is missing, empty, or not text.
    """
    cleaner = Cleaner()
    documents: list[Document] = []
    for source in sources:
        read = _read_source(source, cleaner)
        if not any(map(_has_text, read)):
            counts = f" ({read[0].counts})" if len(read) == 1 and read[0].counts else ""
            name = Path(read[0].source if len(read) == 1 else source).resolve().name
            raise CorpusError(f"{name} contains no text{counts}.")
        documents += read
    return documents


def _has_text(document: Document) -> bool:
    """Whether it has text, or had text that is left out as another document has it."""
    repeats = document.counts.left_out[LeftOut.REPEATED] if document.counts else 0
    return bool(document.text.strip() or repeats)


def skipped_in(source: str) -> list[str]:
    """The names of what is not read in a folder: files but .txt, .log, .csv, .tsv, .json and
    .jsonl, gzipped or not, and folders. Hidden files are not named."""
    folder = Path(source)
    if not folder.is_dir() or _is_slack(folder):
        return []
    return sorted(
        file.name
        for file in folder.iterdir()
        if (file.is_dir() or not _IN_FOLDERS.fullmatch(file.name)) and file.name[0] != "."
    )


def _is_slack(folder: Path) -> bool:
    names = {file.name for file in folder.iterdir()}
    return "users.json" in names and bool(names & _SLACK)


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
    texts = (document.text.rstrip("\n") for document in documents)
    return "".join(f"{text}\n\n" for text in texts if text)


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


def _read_source(source: str, cleaner: Cleaner) -> list[Document]:
    kind, _, name = source.partition(":")
    if kind == plays.SOURCE:
        found = plays.read_plays(name)
        return [Document(f"{kind}:{play}", speeches) for play, speeches in found.items()]
    path = Path(source)
    if path.is_dir():
        inside = path.glob("*/*.json") if _is_slack(path) else path.iterdir()
        files = [file for file in inside if file.is_file() and _IN_FOLDERS.fullmatch(file.name)]
        if not files:
            raise CorpusError(
                f"The folder {path.resolve().name} contains no .txt, .log, .csv, .tsv, .json or "
                ".jsonl files."
            )
        return [_read_file(file, cleaner) for file in sorted(files, key=_in_order)]
    return [_read_file(path, cleaner)]


def _in_order(file: Path) -> tuple[Path, str, int]:
    part = _PART.search(file.name)
    return file.parent, _PART.sub("", file.name), int(part[1]) if part else 1


def _read_file(path: Path, cleaner: Cleaner) -> Document:
    text = read_text(path)
    messages = read_export(text, path.name)
    if messages is None:
        return Document(str(path.resolve()), clean(text))
    return Document(str(path.resolve()), *join_messages(messages, cleaner))


def read_text(path: Path) -> str:
    """The text of a file, unpacked if it is gzipped, with `\\n` as newline. Raises CorpusError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path.name} cannot be read: {error.strerror}.") from error
    return decode(content, path.name)


def decode(content: bytes, source: str, max_bytes: int = MAX_BYTES) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark, gzipped or not, with `\\n` as newline. What a
    file lacks that broke off, the text lacks too. Raises CorpusError, which names `source`."""
    if content.startswith(_GZIP):
        content = _unpack(content, source, max_bytes)
    for signature, kind, advice in _SIGNATURES:
        if re.match(signature, content, re.DOTALL):
            raise CorpusError(f"{source} is {kind}. {advice}")
    utf_16 = content.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    try:
        # A crash may leave zeros at the end of a file.
        text = _decode(content, "utf-16") if utf_16 else _decode(content.rstrip(b"\0"), "utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{source} is not UTF-8 text (byte {error.start}). Save it as UTF-8 and try again."
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _decode(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if error.start < len(content) - 3:
            raise
        return content[: error.start].decode(encoding)  # the file ends within a character


def _unpack(content: bytes, source: str, max_bytes: int) -> bytes:
    """Unpack gzip; JSON as far as it goes when its end is missing. Raises CorpusError."""
    unpacked = bytearray()
    try:
        with gzip.open(io.BytesIO(content)) as file:
            while part := file.read1(2**16):
                unpacked += part
                if len(unpacked) > max_bytes:
                    raise CorpusError(
                        f"{source} is too large when it is unpacked. Use a part of it, at most "
                        f"{max_bytes // 1_000_000:,} MB."
                    )
    except EOFError as error:
        if not unpacked.lstrip().startswith((b"{", b"[")):
            raise CorpusError(f"{source} is damaged: its end is missing. Copy it again.") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise CorpusError(f"{source} is damaged. Compress it again.") from error
    return bytes(unpacked)
