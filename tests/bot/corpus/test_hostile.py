"""Uploaded files and channel messages that nobody would expect."""

import asyncio
import gzip
import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
from hypothesis import example, given
from hypothesis import strategies as st

from bot.corpus.channel import read_channels
from bot.corpus.upload import read_file
from bot.errors import BotError
from tests.bot.corpora import Scroll, Upload, left_behind, message, written
from tests.bot.hostile import WRITTEN
from tests.conftest import JSON, TEXTS


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", content)
    return file.getvalue()


FILE_NAMES = st.sampled_from(["a.txt", "a.json", "a.jsonl", "A.JSON"]) | TEXTS


@given(FILE_NAMES, st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example("a.txt", zipped(bytes(10**7)))
@example("a.txt", gzip.compress(bytes(10**7)))
@example("a.jsonl.gz", gzip.compress(b"so be it"))
@example("a.json", b'{"messages": ' + b"9" * 5000 + b"}")
@example("a.json", b'{"messages": [' + b"[" * 100_000)
@example("a.jsonl", b'{"bot": false, "content": "\\ud800"}')
@example("\0/../../etc/passwd.txt", b"so be it")
@example("a" * 10_000 + ".txt", b"")
@example("", b"so be it")
def test_any_file_is_a_corpus_or_a_sentence(tmp_path: Path, name: str, content: bytes):
    corpus = tmp_path / "job" / "corpus.txt"
    corpus.parent.mkdir(exist_ok=True)
    try:
        asyncio.run(read_file(Upload(name, content), corpus, opted_out=()))
    except BotError as error:
        assert str(error)
        assert not left_behind(corpus)
    else:
        assert written(corpus).strip()
        corpus.unlink()


SNOWFLAKES = st.integers(0, 2**64 - 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(discord.MessageType)),
            WRITTEN,
            st.booleans(),
            st.none() | SNOWFLAKES,
            st.lists(st.tuples(SNOWFLAKES, WRITTEN), max_size=2),
        ),
        max_size=5,
    )
)
@example([(kind, f"so be it {kind.value}", False, None, []) for kind in discord.MessageType])
def test_messages_of_every_kind_are_a_corpus_or_a_sentence(tmp_path: Path, said: list[Any]):
    messages = []
    for number, (kind, content, bot, webhook, names) in enumerate(said):
        one = message(content, author=number)
        one.type, one.author.bot, one.webhook_id = kind, bot, webhook
        one.mentions = [SimpleNamespace(id=i, display_name=name) for i, name in names]
        one.role_mentions = [SimpleNamespace(id=i, name=name) for i, name in names]
        messages.append(one)
    corpus = tmp_path / "job" / "corpus.txt"
    corpus.parent.mkdir(exist_ok=True)
    try:
        counts = asyncio.run(read_channels([Scroll(messages)], corpus, opted_out=()))
    except BotError as error:
        assert str(error)
        assert not left_behind(corpus)
    else:
        assert counts.messages == written(corpus).count("\n") > 0
        assert counts.total() == len(messages)
        corpus.unlink()
