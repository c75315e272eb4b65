"""What of an uploaded file is written to a text file, and which files are refused."""

import gzip
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.corpus.upload import (
    MAX_BRACKETS,
    MAX_FILE_BYTES,
    PIECE_CHARACTERS,
    _pieces,
    name_of,
    read_file,
)
from bot.errors import BotError
from bot.storage.records import Source
from charrnn.text.corpus import read_sources
from charrnn.text.messages import Counts, LeftOut
from tests.bot.corpora import Upload, left_behind, written


def exported(content: str, author: str = "1", **more: object) -> dict[str, Any]:
    person = {"id": author, "name": f"person{author}", "isBot": False}
    return {"type": "Default", "content": content, "author": person, **more}


def export(*messages: object) -> str:
    return json.dumps({"messages": messages})


def line(content: str, author: str = "1", bot: bool = False) -> str:
    return json.dumps({"author": author, "content": content, "bot": bot}) + "\n"


TEXT = "“Well”,\tI said…\r\n\u2028\n\x07Done: so be it\n"
CHANNEL = [("hello", "1"), ("!play", "1"), ("hello there", "2"), ("hello", "3")]
FILES = [
    ("a.txt", TEXT.encode()),
    ("A.TXT", TEXT.encode("utf-8-sig")),
    ("b.txt", TEXT.encode("utf-16")),
    ("no newline at the end.txt", b"so be it"),
    ("long.txt", "“So be it”\n".encode() * 20_000),
    ("c.jsonl", "".join(line(*message) for message in CHANNEL).encode()),
    ("d.json", export(*(exported(*message) for message in CHANNEL)).encode()),
    ("e.json", export(*(exported(*message) for message in CHANNEL)).encode("utf-16")),
    ("f.txt", gzip.compress(export(*(exported(*message) for message in CHANNEL)).encode())),
    ("g.json", "".join(f"12/05/24, 21:15 - {who}: {said}\n" for said, who in CHANNEL).encode()),
    ("so be it", b"so be it"),
]


@pytest.mark.parametrize(("name", "content"), FILES, ids=[name for name, _ in FILES])
async def test_a_file_is_read_as_the_command_line_reads_it(
    tmp_path: Path, corpus: Path, name: str, content: bytes
):
    file = tmp_path / name
    file.write_bytes(content)
    [document] = read_sources([str(file)])
    counts = await read_file(Upload(name, content), corpus, opted_out=())
    assert written(corpus) == document.text
    assert counts == (document.counts or Counts(characters=len(document.text)))


def test_a_text_without_lines_is_cut_between_words():
    text = "so be it, said he " * 100_000
    pieces = list(_pieces(text))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 4 * PIECE_CHARACTERS
    assert all(piece.endswith(" ") for piece in pieces)


async def test_a_text_loses_the_private_data_that_messages_lose(corpus: Path):
    told = "Ask ada@example.com\n or +44 20 7946 0958, see https://example.com/ada, 10.1.2.3 too\n"
    await read_file(Upload("a.txt", told.encode()), corpus, opted_out=())
    assert written(corpus).split() == ["Ask", "or", ",", "see", "too"]
    assert written(corpus).count("\n") == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", line("yes", "1") + line("no", "2")),
        ("a.json", export(exported("yes", "1"), exported("no", "2"))),
    ],
)
async def test_messages_of_people_who_opted_out_are_left_out(corpus: Path, name: str, content: str):
    counts = await read_file(Upload(name, content.encode()), corpus, opted_out={"2"})
    assert written(corpus) == "yes\n"
    assert counts == Counts(1, 4, {"1"}, Counter({LeftOut.OPTED_OUT: 1}))


MENTIONED = {"id": "2", "name": "bo_l", "nickname": "Bo Lind", "isBot": False}


@pytest.mark.parametrize(
    "content",
    [
        export(exported("hi @Bo Lind, @bo_l and @Bo", mentions=[MENTIONED]), exported("no", "2")),
        export(exported("hi <@2>, @bo_l and @Bo", mentions=[MENTIONED]), exported("no", "2")),
        "AuthorID,Author,Date,Content,Attachments\n"
        '1,ada,1,"hi @Bo Lind, @bo_l and @Bo",\n2,new name,1,no,\n',
        "Author,Date,Content,Attachments\n"
        'ada,1,"hi @Bo Lind, @bo_l and @Bo",\nbo_l#1234,1,no,\nbo_l,1,no,\n',
        f"{'=' * 62}\nGuild: a\nChannel: b\n{'=' * 62}\n\n"
        "[12/05/2024 21:15] ada\nhi @Bo Lind, @bo_l and @Bo\n\n\n"
        "[12/05/2024 21:15] bo_l#1234\nno\n",
        "12/05/24, 21:15 - Ada: hi @\u2068Bo Lind\u2069, @bo_l and @Bo\n"
        "12/05/24, 21:15 - Bo Lind: no\n",
    ],
)
async def test_people_who_opted_out_are_neither_authors_nor_named(corpus: Path, content: str):
    opted_out = {"2", "bo_l", "Bo Lind"}
    await read_file(Upload("a", content.encode()), corpus, opted_out=opted_out)
    assert written(corpus) == "hi @someone, @someone and @Bo\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("one\ntwo\nthree\n", "two\nthree\n"),
        ("one\ntwo two\nthree\n", "three\n"),
        ("one\ntwo\nseventh\n", "two\nseventh\n"),
        ("one\ntwo\nthree", "two\nthree"),
        ("one\ntwo, three and four\n", "ee and four\n"),
        ("one, two, three and four", "ree and four"),
    ],
)
async def test_the_last_lines_of_a_long_file_are_kept(corpus: Path, text: str, kept: str):
    upload = Upload("a.txt", text.encode())
    counts = await read_file(upload, corpus, opted_out=(), max_characters=12)
    assert written(corpus) == kept
    assert counts == Counts(characters=len(kept))


async def test_a_long_file_is_counted_as_far_as_it_is_kept(corpus: Path):
    content = "".join(line(f"number {number}") for number in range(10)).encode()
    counts = await read_file(Upload("a.jsonl", content), corpus, opted_out=(), max_characters=20)
    assert written(corpus) == "number 8\nnumber 9\n"
    assert counts == Counts(messages=2, characters=18, authors={"1"})


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"", r"a.txt contains no text. Upload another"),
        ("a.txt", b"\xef\xbb\xbf \n", "a.txt contains no text"),
        ("a.txt", b"\x89PNG\r\n\x1a\n", "a.txt is a picture"),
        ("a.txt", b"\x81so be it", r"a.txt is not UTF-8 text \(byte 0\)"),
        ("a.txt", b"so\x00be it", "a.txt is not a text"),
        ("a.txt", "so be it".encode("utf-16-le"), "a.txt is not a text"),
        ("a.txt", b"\xff\xfea", "a.txt contains no text"),
        ("a.txt", b"{}", "a.txt is JSON, but no chat"),
        ("a.txt", b"[" * 100_000, "a.txt is JSON, but no chat"),
        ("a.json", b'{"messages": [1]}', "a.json is JSON, but no chat"),
        ("a.json", b'{"messages": []}', "a.json contains no text"),
        ("a.jsonl", line("so").encode() + b"be it", "Line 2 of a.jsonl is not a message"),
        ("a.jsonl", line("beep", bot=True).encode(), r"no text to learn from"),
        ("a.json", b"[[]" + b",[]" * MAX_BRACKETS + b"]", "a.json has too many parts"),
        ("a.json", b" [[]" + b",[]" * MAX_BRACKETS + b"]", "a.json has too many parts"),
        ("a.gz", gzip.compress(bytes(MAX_FILE_BYTES + 1)), "a.gz is too large.*at most 25 MB"),
        ("a.txt", b"%PDF-1.7", r"a.txt is a PDF. Save its text as a plain text \(.txt\)"),
        ("**a**.txt", b"", r"\\\*\\\*a\\\*\\\*.txt contains no text"),
        ("a.txt", b"a" * (MAX_FILE_BYTES + 1), "a.txt is too large.*at most 25 MB"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
async def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    corpus: Path, name: str, content: bytes, sentence: str
):
    with pytest.raises(BotError, match=sentence):
        await read_file(Upload(name, content), corpus, opted_out=())
    assert not left_behind(corpus)


async def test_a_file_that_discord_does_not_send_is_asked_for_again(corpus: Path):
    response = SimpleNamespace(status=404, reason="Not Found")
    upload = Upload("a.txt", b"", fails=discord.NotFound(response, "asset not found"))
    with pytest.raises(BotError, match=r"Discord did not send me a.txt. Upload it again."):
        await read_file(upload, corpus, opted_out=())


async def test_a_name_in_an_export_is_cleaned(corpus: Path):
    named = {"id": "2", "name": "\ud800\nb\x07o"}
    content = export(exported("hello <@2>", mentions=[named])).encode()
    await read_file(Upload("a.json", content), corpus, opted_out=())
    assert written(corpus) == "hello @ bo\n"


async def test_a_full_disk_is_explained_and_leaves_no_file(full_disk: Path):
    with pytest.raises(BotError, match="disk of the bot's machine is full"):
        await read_file(Upload("a.txt", b"so be it"), full_disk, opted_out=())
    assert not left_behind(full_disk)


@pytest.mark.parametrize(
    ("filename", "title", "name", "stem"),
    [
        ("our_log.txt", None, "our_log.txt", "our_log"),
        ("txt", "наш чат", "наш чат.txt", "наш чат"),
        ("x1.json", "日本語.json", "日本語.json", "日本語"),
        ("messages", None, "messages", "messages"),
    ],
)
def test_a_file_has_the_name_that_people_gave_it(
    filename: str, title: str | None, name: str, stem: str
):
    file = SimpleNamespace(filename=filename, title=title)
    assert name_of(file) == name
    assert Source(name).stem == stem
