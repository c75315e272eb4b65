"""Whatever people, files, settings and Discord itself may send is answered in words."""

import asyncio
import gzip
import io
import json
import re
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.http import Route
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bot.corpus.channel import read_channel
from bot.corpus.upload import read_file
from bot.errors import HistoryError, SettingsError
from bot.interactions.answering import answer_error
from bot.interactions.markup import MESSAGE_LIMIT, utf16_length, visible
from bot.interactions.reply import Reply, as_shown
from bot.settings import _READERS, Settings
from charrnn.store import Model
from tests.bot.conftest import bot_with
from tests.bot.corpora import left_behind, written
from tests.bot.corpus.test_channel import Scroll, message
from tests.bot.corpus.test_upload import Upload
from tests.discord_server import TOKEN, DiscordServer

# The same cases every time; each leaves what they share as it was.
same = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TEXTS = st.text(st.characters(exclude_categories=()))
MARKUP = (
    *("@everyone", "@here", "<@1>", "<@&1>", "<#1>", "</a:1>", "<t:1>", "<:a:1>", "http://a"),
    *("discord.gg/a", "[a](b)", "**", "\\", "`", "```", "||", "\n", "\n\n", "-# a · temperature 1"),
    *("> ", "# ", "1. ", "\u200b", "\u202e", "\ud800", "\0", "😀", "a", " ", "/", "@", "<", "://"),
)
WRITTEN = TEXTS | st.lists(st.sampled_from(MARKUP), max_size=40).map("".join)
ESCAPED = re.compile(r"\\.", re.DOTALL)
PINGS = re.compile(
    r"@(?:everyone|here)|<(?:[@#][!&]?\d|/.+:\d|t:\d|a?:\w+:\d)|https?://|discord(?:app)?\.(?:gg|com)"
)


# Replies.


@same
@given(WRITTEN, WRITTEN, WRITTEN)
@example("\ud800" * 10_000, "a", "\0")
@example("@everyone " * 1000, "@here" * 100, "@")
@example("```\n\n" * 2000, "\\" * 500, "\u202e")
@example("😀" * 10_000, "😀" * 500, "😀" * 500)
def test_any_reply_fits_pings_nobody_and_is_read_back(seed: str, text: str, dropped: str):
    reply = Reply(as_shown(seed), text[:500], "tiny", 0.7, 5, dropped)
    content = reply.render()
    assert utf16_length(content) <= MESSAGE_LIMIT
    assert not PINGS.search(ESCAPED.sub("*", content))
    parsed = Reply.parse(content.strip())
    assert parsed.text.strip() == visible(reply.text).strip()
    if not parsed.seed.startswith("…"):
        assert parsed.seed == reply.seed
    assert replace(parsed, seed="", text="") == replace(reply, seed="", text="", dropped="")


# Files and channels.


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", content)
    return file.getvalue()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
FILE_NAMES = st.sampled_from(["a.txt", "a.json", "a.jsonl", "A.JSON"]) | TEXTS


@same
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
    except HistoryError as error:
        assert str(error)
        assert not left_behind(corpus)
    else:
        assert written(corpus).strip()
        corpus.unlink()


SNOWFLAKES = st.integers(0, 2**64 - 1)


@same
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
        counts = asyncio.run(read_channel(Scroll(messages), corpus, opted_out=()))
    except HistoryError as error:
        assert str(error)
        assert not left_behind(corpus)
    else:
        assert counts.messages == written(corpus).count("\n") > 0
        assert counts.total() == len(messages)
        corpus.unlink()


# Settings.

VALUES = st.from_regex(r"[-+]?[0-9_.eE]{1,8}|dask://.{0,12}|https?://.{0,12}|[\d, -]{1,9}") | TEXTS


@same
@given(st.dictionaries(st.sampled_from(list(_READERS)), VALUES, max_size=4), st.booleans())
@example({"DISCORD_API": "http://["}, False)
@example({"DISCORD_API": "http://a:99999"}, False)
@example({"STATE": "a\0b"}, False)
@example(dict.fromkeys(_READERS, "x"), True)
def test_any_settings_are_read_or_refused_without_a_token(values: dict[str, str], pasted: bool):
    values = {name: value + TOKEN if pasted else value for name, value in values.items()}
    try:
        Settings.load(values, Path("/nonexistent/.env"))
    except SettingsError as error:
        assert error.problems
        for problem in error.problems:
            assert re.match(r"[A-Z_]+ (?:must|is|holds) .*\.$", problem, re.DOTALL)
            assert TOKEN not in problem


# Commands, as a client that keeps to nothing might send them.

PATIENCE_S = 60  # on a busy machine
AUTOCOMPLETE = 4
SENT, CHOICES = 4, 8  # types of a response


@pytest.fixture
async def server(
    stateful: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DiscordServer]:
    """A Discord, with the bot connected to it."""
    async with DiscordServer() as discord:
        monkeypatch.setattr(Route, "BASE", discord.api)
        bot = bot_with(stateful, tmp_path)
        running = asyncio.create_task(bot.start(TOKEN))
        await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
        yield discord
        await bot.close()
        await running


async def response(server: DiscordServer, name: str, options: Any, **more: Any) -> Any:
    """What the bot first says to a command."""
    asked = await server.slash(name, options, **more)
    await asyncio.wait_for(asked.acknowledged, PATIENCE_S)
    return server.requests[-1].json


async def test_what_discord_would_never_pass_on_is_refused_in_words(
    server: DiscordServer, caplog: pytest.LogCaptureFixture
):
    for name, options, sentence in [
        ("shakespeare", {"seed": 5}, "`seed` cannot be that"),
        ("shakespeare", {"seed": True}, "`seed` cannot be that"),
        ("shakespeare", {"seed": "a", "temperature": "hot"}, "`temperature` cannot be that"),
        ("shakespeare", {"seed": "a", "temperature": 99.0}, "`temperature` cannot be that"),
        ("shakespeare", {"seed": "a", "temperature": float("nan")}, "`temperature` cannot"),
        ("shakespeare", {"seed": "a", "random_seed": -1}, r"`random\_seed` cannot be that"),
        ("shakespeare", {"seed": "a", "random_seed": 2**80}, r"`random\_seed` cannot be that"),
        ("shakespeare", {"seed": "a", "private": "yes"}, "`private` cannot be that"),
        ("shakespeare", {"seed": "a", "@everyone": "yes"}, "`@\u200beveryone` cannot be that"),
        ("shakespeare", {}, "That command is not what it was"),
        ("nosuch", {}, "That command is not what it was"),
        ("retrain", {"days": 10**9}, "`days` cannot be that"),
        ("retrain", {"messages": -5}, "`messages` cannot be that"),
        ("retrain", {"channel": "general"}, "`channel` cannot be that"),
        ("retrain", {"file": 7}, "`file` cannot be that"),
        ("retrain", {}, "That takes the permission Manage Server"),
    ]:
        said = await response(server, name, options)
        assert said["type"] == SENT
        assert said["data"]["content"].startswith(sentence)
        assert said["data"]["flags"] == discord.MessageFlags(ephemeral=True).value
    assert server.unknown == []
    assert "Traceback" not in caplog.text


async def test_choices_for_a_command_that_is_gone_are_none(server: DiscordServer):
    for name, options in [("nosuch", {"model": "a"}), ("write", {"model": "a"})]:
        said = await response(server, name, options, kind=AUTOCOMPLETE)
        assert said == {"type": CHOICES, "data": {"choices": []}}


class Interaction:
    """As much of one as is answered."""

    id = 7
    type = discord.InteractionType.application_command
    command = guild_id = data = None

    def __init__(self, fails: Exception | None = None):
        self.said: list[str] = []
        self.client = self
        self.response = self
        self._fails = fails

    def is_done(self) -> bool:
        return False

    def dispatch(self, event: str, answered: object) -> None:
        assert event == "answered" and answered

    async def send_message(self, sentence: str, *, ephemeral: bool) -> None:
        assert ephemeral
        if self._fails:
            raise self._fails
        self.said.append(sentence)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (app_commands.NoPrivateMessage(), "You cannot use this command here."),
        (app_commands.CheckFailure("no"), "You cannot use this command here."),
        (app_commands.MissingPermissions(["manage_guild"]), "permission Manage Guild, which you"),
        (app_commands.BotMissingPermissions(["embed_links"]), "permission Embed Links, which I"),
        (app_commands.TransformerError("a", 3, SimpleNamespace(_error_display_name="b")), "option"),
        (HistoryError("😀" * 10_000), "😀…"),
        (RuntimeError("secret"), "Something went wrong on my side"),
    ],
)
async def test_every_refusal_is_a_sentence_that_fits(error: Exception, sentence: str):
    interaction: Any = Interaction()
    await answer_error(interaction, error)
    [said] = interaction.said
    assert sentence in said and "secret" not in said
    assert utf16_length(said) <= MESSAGE_LIMIT


async def test_an_answer_that_does_not_get_through_is_logged_once(
    caplog: pytest.LogCaptureFixture,
):
    interaction: Any = Interaction(fails=ConnectionResetError("gone"))
    await answer_error(interaction, HistoryError("There is nothing to learn from."))
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.message == "Interaction 7 could not be answered: ConnectionResetError('gone')"
