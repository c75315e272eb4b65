import doctest
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.errors import CorpusError, OptionError
from charrnn.text import corpus
from charrnn.vocabulary import clean


def test_the_examples_in_the_documentation():
    assert doctest.testmod(corpus).failed == 0


def test_a_folder_gives_its_texts_and_chats_in_order(tmp_path: Path):
    (tmp_path / "b.txt").write_text("two")
    (tmp_path / "A.TXT").write_text("one")
    (tmp_path / "c.md").write_text("not read")
    for part, said in (("", "three"), (" [part 2]", "four"), (" [part 10]", "five")):
        chat = tmp_path / f"chat{part}.json"
        chat.write_text(json.dumps([{"ID": 1, "Timestamp": "", "Contents": said}]))
    text = corpus.join(corpus.read_sources([str(tmp_path)]))
    assert text == "one\n\ntwo\n\nthree\n\nfour\n\nfive\n\n"


def test_a_folder_names_what_is_not_read_in_it(tmp_path: Path):
    for name in ("b.html", "a.png", ".hidden", "chat.csv", "irc.LOG", "text.txt.gz"):
        (tmp_path / name).write_text("author,text\nada,so be it")
    (tmp_path / "older").mkdir()
    assert corpus.skipped_in(str(tmp_path)) == ["a.png", "b.html", "older"]
    assert corpus.skipped_in(str(tmp_path / "b.html")) == corpus.skipped_in("plays") == []
    assert corpus.join(corpus.read_sources([str(tmp_path)])).strip() == "so be it"


def test_an_export_of_slack_is_read_from_the_folders_of_its_channels(tmp_path: Path):
    for name in ("users", "channels", "integration_logs", "canvases"):
        (tmp_path / f"{name}.json").write_text(json.dumps([{"id": "U1", "name": "ada"}]))
    message = {"type": "message", "user": "U1", "ts": "1.0"}
    days = [("maps", "2024-01-02", "two"), ("maps", "2024-01-01", "one"), ("art", "2024-01-03", "")]
    for channel, day, said in days:
        (tmp_path / channel).mkdir(exist_ok=True)
        joined = message | {"text": "joined", "subtype": "channel_join"}
        written = [joined, message | {"text": said}] if said else [joined]
        (tmp_path / channel / f"{day}.json").write_text(json.dumps(written))
    assert corpus.join(corpus.read_sources([str(tmp_path)])) == "one\n\ntwo\n\n"
    assert corpus.skipped_in(str(tmp_path)) == []
    with pytest.raises(CorpusError, match=r"art contains no text|2024-01-03.json contains no text"):
        corpus.read_sources([str(tmp_path / "art")])


def test_a_folder_without_texts_is_refused(tmp_path: Path):
    with pytest.raises(CorpusError, match=rf"{tmp_path.name} contains no .txt, .log, .csv"):
        corpus.read_sources([str(tmp_path)])


def test_texts_are_cleaned(tmp_path: Path):
    file = tmp_path / "text.txt"
    file.write_bytes("\ufeff“Well”\u00a0all\r\n\x00done\u202e".encode())
    assert corpus.read_sources([str(file)])[0].text == '"Well" all\ndone'
    assert clean("Tis\tnone,\n\nsir--ay!") == "Tis\tnone,\n\nsir--ay!"


def test_a_text_in_utf_16_needs_a_byte_order_mark(tmp_path: Path):
    file = tmp_path / "text.txt"
    file.write_bytes("Ça va?\r\n".encode("utf-16"))
    assert corpus.read_sources([str(file)])[0].text == "Ça va?\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x81so be it", r"not UTF-8 text \(byte 0\)"),
        (b" \n", "contains no text"),
        (None, "cannot be read"),
        (
            b"PK\x03\x04" + bytes(26) + b"_chat.txt",
            r"is a zip archive. Unpack it, and use [^.]*\.$",
        ),
        (b"PK\x03\x04" + bytes(26) + b"chat.txt", r"is a zip archive. Unpack it, and use [^.]*\.$"),
        (b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml", "is a document. Save its text"),
        (b"%PDF-1.7", "is a PDF. Save its text"),
        (b"SQLite format 3\0", "is a database. Export the chat"),
        (b"\x89PNG\r\n", "is a picture"),
    ],
)
def test_a_source_that_is_not_text_is_named(tmp_path: Path, content: bytes | None, sentence: str):
    file = tmp_path / "play.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CorpusError, match=f"play.*{sentence}"):
        corpus.read_sources([str(file)])


@pytest.fixture(scope="module")
def plays() -> list[corpus.Document]:
    return corpus.read_sources(["plays"])


def test_a_play_that_is_held_out_is_not_among_the_rest(plays: list[corpus.Document]):
    kept = corpus.without(plays, corpus.read_sources(["plays:macbeth"]))
    assert len(kept) == 37
    assert "MACBETH:" not in corpus.join(kept)


def test_files_of_the_same_name_are_held_out_by_path(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "text.txt").write_text(folder)
    one, other = (corpus.read_sources([str(tmp_path / name)]) for name in ("a", "b"))
    assert corpus.without(one, other) == one
    with pytest.raises(CorpusError, match="none left to train on"):
        corpus.without(one, corpus.read_sources([str(tmp_path / "a" / "text.txt")]))


def test_the_last_share_is_held_out():
    assert corpus.hold_out("abcdefghij", 0.3) == ("abcdefg", "hij")
    for share in (0.0, 1.1, -1.0, float("nan")):
        with pytest.raises(OptionError):
            corpus.hold_out("abc", share)


def test_the_opening_fills_the_window_and_ends_with_a_speech():
    text = "HERO:\nAnd one for thee, and one for me.\n\nURSULA:\nSo be it.\n\nHERO:\nGone."
    opening = corpus.opening(text, 50)
    assert len(opening) == 50
    assert opening.endswith("So be it.\n\n")


def test_a_file_that_ends_within_a_character_is_read(tmp_path: Path):
    file = tmp_path / "text.txt"
    file.write_bytes("so be ☃".encode()[:-1] + bytes(100))
    assert corpus.read_sources([str(file)])[0].text == "so be "


MESSAGES = [
    {"author": "ada", "bot": False, "content": "“hi”\u2028all"},
    {"author": "robo", "bot": True, "content": "Beep."},
    {"author": "bo", "bot": False, "content": " \x07"},
    {"author": "bo", "bot": False, "content": "hello\nthere ☃"},
]


LINES = "".join(json.dumps(m, ensure_ascii=False) + "\n" for m in MESSAGES)


@pytest.mark.parametrize("name", ["channel.jsonl", "CHANNEL.JSONL", "channel.txt", "channel.gz"])
@pytest.mark.parametrize(
    "content",
    [
        LINES.encode(),
        LINES.encode("utf-8-sig"),
        LINES.encode("utf-16"),
        gzip.compress(LINES.encode(), mtime=0),
        gzip.compress(LINES[:9].encode(), mtime=0) + gzip.compress(LINES[9:].encode(), mtime=0),
    ],
    ids=["utf-8", "utf-8-sig", "utf-16", "gzip", "gzip in two parts"],
)
def test_a_channel_of_any_name_becomes_a_line_a_message_without_bots_and_authors(
    tmp_path: Path, name: str, content: bytes
):
    (tmp_path / name).write_bytes(content)
    [document] = corpus.read_sources([str(tmp_path / name)])
    assert document.text == '"hi" all\nhello there ☃\n'
    assert str(document.counts) == (
        "2 messages of 2 people; left out: 1 by bots, 1 with nothing left"
    )


def test_a_channel_can_come_from_discord_chat_exporter(tmp_path: Path):
    author = {"id": "1", "name": "ada", "nickname": "Ada", "isBot": False}
    message = {"type": "Default", "content": "hi\nall", "author": author, "mentions": []}
    (tmp_path / "export.json").write_text(json.dumps({"messages": [message, message]}))
    [document] = corpus.read_sources([str(tmp_path / "export.json")])
    assert document.text == "hi all\n"
    assert str(document.counts) == "1 message of 1 person; left out: 1 as repeats"


def test_what_several_channels_have_in_common_is_kept_once(tmp_path: Path):
    for name, numbers in (("a", range(6)), ("b", range(4, 9)), ("c", range(3))):
        said = [{"ID": n, "Timestamp": "", "Contents": f"number {n}"} for n in numbers]
        (tmp_path / name).write_text(json.dumps(said))
    documents = corpus.read_sources([str(tmp_path / name) for name in "abc"])
    text = corpus.join(documents)
    assert [line for line in text.split("\n") if line] == [f"number {n}" for n in range(9)]
    assert str(documents[1].counts) == "3 messages; left out: 2 as repeats"
    assert str(documents[2].counts) == "0 messages; left out: 3 as repeats"


def test_a_channel_without_messages_is_refused_with_the_reason(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('\n{"bot": true, "content": "Beep."}\n')
    sentence = r"^a.jsonl contains no text \(0 messages; left out: 1 by bots\)"
    with pytest.raises(CorpusError, match=sentence):
        corpus.read_sources([str(tmp_path / "a.jsonl")])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x1f\x8b", "its end is missing"),
        (gzip.compress(b"so be it" * 9, mtime=0)[:-9], "its end is missing"),
        (gzip.compress(b"so be it", mtime=0) + b"so be it", "Compress it again"),
        (gzip.compress(bytes(200), mtime=0), "too large when it is unpacked"),
    ],
)
def test_a_damaged_gzip_file_is_refused(content: bytes, sentence: str):
    with pytest.raises(CorpusError, match=rf"a\.gz is .*{sentence}"):
        corpus.decode(content, "a.gz", max_bytes=199)


def test_json_in_a_gzip_file_without_its_end_is_read_as_far_as_it_goes(tmp_path: Path):
    said = [{"ID": n, "Timestamp": "", "Contents": f"number {n * n % 997}"} for n in range(499)]
    (tmp_path / "a.json").write_bytes(gzip.compress(json.dumps(said).encode(), mtime=0)[:-300])
    [document] = corpus.read_sources([str(tmp_path / "a.json")])
    assert document.text.startswith("number 0\nnumber 1\nnumber 4\n")
    assert str(document.counts).endswith("left out: 1 where the file ends in the middle")


@given(st.binary(), st.sampled_from([".txt", ".json", ".jsonl", ".jsonl.gz"]))
@example(gzip.compress(b"so be it", mtime=0), ".txt")
@example(b"PK\x03\x04" + bytes(26), ".txt")
@example(b"\xff\xfe\x00\xd8", ".txt")
def test_any_file_is_a_text_or_a_corpus_error(tmp_path: Path, content: bytes, suffix: str):
    file = tmp_path / f"file{suffix}"
    file.write_bytes(content)
    try:
        [document] = corpus.read_sources([str(file)])
    except CorpusError:
        return
    assert document.text.strip()
