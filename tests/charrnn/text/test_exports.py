"""Which chat exports are read as messages, and which files are refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CorpusError
from charrnn.text.exports import read_export
from charrnn.text.messages import Cleaner, Message, join_messages
from charrnn.vocabulary import clean
from tests.conftest import JSON, TEXTS

ADA = {"id": "1", "name": "ada", "discriminator": "0000", "nickname": "Ada L.", "isBot": False}
ROBO = {"id": "2", "name": "robo", "discriminator": "1234", "nickname": None, "isBot": True}


def exported(**changes: Any) -> dict[str, Any]:
    """A message as DiscordChatExporter writes it."""
    message = {"id": "7", "type": "Default", "content": "hi", "author": ADA, "mentions": []}
    return message | {"attachments": [{"url": "https://example.com/cat.png"}]} | changes


def export(*written: object, **after: object) -> str:
    return json.dumps({"guild": {"id": "1"}, "channel": {"id": "2"}, "messages": written} | after)


def read(text: str) -> list[Message]:
    messages = read_export(text, "file")
    assert messages is not None
    return messages


def said(text: str) -> list[str]:
    return [message.content for message in read(text)]


# DiscordChatExporter.


def test_an_export_tells_bots_system_messages_and_mentions():
    text = export(
        exported(),
        exported(type="Reply", content="@robo!", mentions=[ROBO]),
        exported(author=ROBO),
        exported(type="GuildMemberJoin", content="Joined the server."),
        exported(type="46"),
        messageCount=5,
    )
    assert read("\n" + text) == [
        Message("1", "hi"),
        Message("1", "@robo!", names={"2": "robo"}, ids={"robo": "2", "robo#1234": "2"}),
        Message("2", "hi", automatic=True),
        Message("1", "Joined the server.", system=True),
        Message("1", "hi", system=True),
    ]


def test_exports_of_old_versions_and_of_the_api_are_read():
    old = {"id": "1", "author": {"id": "1", "name": "ada"}, "content": "hello", "type": 0}
    assert (
        read(json.dumps({"messages": [old, old | {"type": 19}, old | {"type": "19"}]}))
        == [Message("1", "hello")] * 3
    )
    api = {"id": "1", "author": {"id": "1", "username": "ada"}, "content": "<@2>", "type": 0}
    mentioned = {"id": "2", "username": "bo", "global_name": "Bo"}
    webhook = api | {"webhook_id": "3"}
    [first, second] = read(json.dumps([api | {"mentions": [mentioned]}, webhook]))
    assert (first.names, first.automatic, second.automatic) == ({"2": "Bo"}, False, True)


def test_messages_that_are_newest_first_are_turned_round():
    assert said(export(*(exported(id=str(n), content=f"{n}") for n in (30, 9, 1)))) == [
        *("1", "9", "30")
    ]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_export_that_ends_in_the_middle_gives_its_whole_messages(indent: int | None):
    messages = [exported(content='so "be" é'), exported(content="\\"), exported()] * 2
    text = json.dumps({"messages": messages, "messageCount": 6}, indent=indent)
    whole = read(text)
    last = 0
    for end in range(text.index("[") + 1, text.rindex("]") + 1):
        messages = read(text[:end])
        assert messages[:-1] == whole[: len(messages) - 1]
        assert messages[-1].cut_off
        assert len(messages) - 1 >= last
        last = len(messages) - 1
    assert last == 6
    assert read(text[: text.rindex("]") + 1]) == whole


def test_an_export_that_is_damaged_is_refused():
    text = export(*(exported(content=f"number {n}") for n in range(9)))
    with pytest.raises(CorpusError, match=r"file is damaged after 3 messages. Export it again"):
        read(text.replace('"number 3"', "number 3"))


def test_an_export_that_ends_before_its_messages_is_refused():
    with pytest.raises(CorpusError, match="file is JSON that is damaged or ends before its first"):
        read(export(exported())[:40])


def test_an_export_without_the_right_to_see_content_says_so():
    text = export(exported(content=""), exported(content=""), exported(author=ROBO))
    with pytest.raises(
        CorpusError, match=r"No message in file has any text.*Message Content Intent"
    ):
        read(text)
    assert said(export(exported(author=ROBO))) == ["hi"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 100_000, "file is JSON, but no chat"),
        ("[1, 2]", "file is JSON, but no chat"),
        ("{}", "file is JSON, but no chat"),
        ('{"messages": {}}', "file is JSON, but no chat"),
        ('{"messages": ' + "9" * 5000 + "}", "file is JSON that is damaged"),
        ('{"messages": [' + "[" * 100_000, "file is damaged after 0 messages"),
        ('{"messages": [' + "9" * 5000 + "]}", "file is damaged after 0 messages"),
        (export(1), "file is JSON, but no chat"),
        (export({"sender_name": "Ada", "content": "hi"}), "file is JSON, but no chat"),
        (
            export({"type": "m.room.message", "content": {"body": "hi"}}),
            "file is JSON, but no chat",
        ),
        (export(exported(), "hi"), "Message 2 of file is not like those of an exported chat"),
        (export(exported(), exported(content=None)), "Message 2 of file"),
        (export(exported(), exported(author=1)), "Message 2 of file"),
        (export(exported(), exported(mentions=[{"id": []}])), "Message 2 of file"),
        ("<!DOCTYPE html>\n<p>hi", r"file is a web page \(HTML\).*DiscordChatExporter"),
        ("\n<HTML lang=en>", r"file is a web page \(HTML\)"),
        ("<?xml version='1.0'?>", "file is an XML file"),
        ("{\\rtf1 hi}", "file is a formatted text"),
        ("[LINE] Chat history with Ada\n", "file is a chat of LINE"),
    ],
    ids=lambda text: text[:20],
)
def test_a_file_that_is_no_chat_is_refused_with_advice(text: str, sentence: str):
    with pytest.raises(CorpusError, match=sentence):
        read_export(text, "file")


CSV = '"1","ada#1234","05/12/2024 10:01 PM","so, ""be""\nit","",""\n'


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "AuthorID,Author,Date,Content,Attachments,Reactions\n" + CSV,
            [Message("1", 'so, "be"\nit')],
        ),
        (
            "Author;Date;Content;Attachments;\nada;1;so;;\n12;1;be;;",
            [Message("ada", "so"), Message("@12", "be")],
        ),
        (
            "ID,Timestamp,Contents,Attachments\n10,2024,so,\n9,2023,be,\n",
            [Message("", "be"), Message("", "so")],
        ),
        (
            'Author,Date,Content,Attachments\n"h#0000",1,a,\nada,1,Joined the server.,\nada,1,"so',
            [
                Message("h", "a", automatic=True),
                Message("ada", "Joined the server.", system=True),
                Message("", "", cut_off=True),
            ],
        ),
    ],
)
def test_csv_of_discord_is_read(text: str, messages: list[Message]):
    assert read(text) == messages


@pytest.mark.parametrize(
    ("text", "read_before"),
    [
        ('Author,Date,Content,Attachments\nada,1,hi,\nada,1,"', "1 message\\."),
        ('author,content,"x\n', "0 messages\\."),
    ],
)
def test_csv_with_an_endless_field_is_refused(text: str, read_before: str):
    with pytest.raises(CorpusError, match=f"file is damaged after {read_before}"):
        read(text + "so " * 100_000)


@pytest.mark.parametrize("author", ["author", "User", "username", "NAME", "sender", "from", "nick"])
@pytest.mark.parametrize("content", ["content", "Text", "MESSAGE", "body"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_with_authors_and_texts_is_a_chat(author: str, content: str, delimiter: str):
    rows = (
        ("when", author, f'"{content}"'),
        ("1", "ada", '"so, ""be""\nit"'),
        ("2", "12", "hi"),
        ("3", "123456789012345678", "yo"),
    )
    assert read("\n".join(map(delimiter.join, rows))) == [
        Message("ada", 'so, "be"\nit'),
        Message("@12", "hi"),
        Message("123456789012345678", "yo"),
    ]
    assert said(f"{content}{delimiter}{author}\nhi{delimiter}ada\n") == ["hi"]


def test_a_table_needs_no_quotes_for_a_text_in_its_last_column():
    assert said("user,text\nada,so, be it\n") == ["so, be it"]


@pytest.mark.parametrize(
    "text",
    [
        "Author,Title\nAda,So be it\n",
        "text,label\nSo be it,1\n",
        "Dear sender,\nfrom the text below\n",
        "user\nada\n",
    ],
)
def test_csv_of_something_else_is_plain_text(text: str):
    assert read_export(text, "file") is None


# Other apps.


def telegram(text: object, **more: object) -> dict[str, Any]:
    message = {"id": 1, "type": "message", "date": "2024-05-12T21:15:00", "text": text}
    return message | {"from": "Ada", "from_id": "user1"} | more


def test_a_chat_of_telegram_is_read():
    parts = ["see ", {"type": "link", "text": "the map"}, {"type": "pre", "text": "x = 1"}, "!"]
    chat = [
        telegram("hi"),
        telegram(parts, **{"from": None}),
        telegram("news", forwarded_from="Paper"),
        telegram("a cat", via_bot="@pic"),
        telegram("", type="service", actor="Ada", action="pin_message"),
    ]
    assert read(
        json.dumps({"name": "Maps", "type": "personal_chat", "id": 5, "messages": chat})
    ) == [
        Message("Ada", "hi"),
        Message("user1", "see the map```x = 1```!"),
        Message("Ada", ""),
        Message("Ada", "a cat", automatic=True),
        Message("Ada", "", system=True),
    ]


def test_all_chats_of_a_telegram_account_are_read():
    chats = [{"id": n, "messages": [telegram(f"{n}"), telegram("so")]} for n in range(3)]
    account = {"about": "", "chats": {"list": chats}, "left_chats": {"list": chats[:1]}}
    assert said(json.dumps(account)) == ["0", "so", "1", "so", "2", "so", "0", "so"]


def test_a_chat_of_slack_is_read():
    def message(text: str, **more: object) -> dict[str, Any]:
        return {"type": "message", "user": "U1", "text": text, "ts": "1512085950.000216"} | more

    link = "<https://example.com|the map> <https://example.com>"
    text = json.dumps(
        [
            message(f"<@U12AB> &amp; <#C1|maps> <!here> <!subteam^S1|@mods> {link}"),
            message("joined", subtype="channel_join"),
            message("beep", subtype="bot_message", bot_id="B1"),
        ]
    )
    [first, second, third] = read(text)
    assert first == Message("U1", "@someone & #maps @here @mods the map https://example.com")
    assert (second.system, third.automatic) == (True, True)


def test_the_messages_of_discords_data_package_are_read_oldest_first():
    package = [
        {"ID": 9 - n, "Timestamp": "", "Contents": f"{n}", "Attachments": ""} for n in range(3)
    ]
    assert said(json.dumps(package)) == ["2", "1", "0"]


# JSON lines.


@pytest.mark.parametrize("between", ["\n\n", ",\n"], ids=["lines", "list"])
def test_the_author_of_a_message_and_whether_it_is_a_bot_are_optional(between: str):
    objects = (
        '{"bot": true, "content": "", "author": "a"}',
        '{"content": "hi"}',
        '{"content": "so", "author": "b"}',
    )
    text = between.join(objects)
    messages = [Message("a", "", automatic=True), Message("", "hi"), Message("b", "so")]
    assert read(f"[{text}]" if "," in between else text) == messages


@pytest.mark.parametrize(
    "line",
    [
        *("[" * 100_000, "[]", "{}", "nonsense", '{"bot": false, "content": null}'),
        '{"sender_name": "Ada", "content": "hi"}',
        *('{"bot": 0, "content": "hi"}', '{"bot": false, "content": "hi", "author": 1}'),
    ],
)
def test_a_line_that_is_not_a_message_is_named(line: str):
    with pytest.raises(CorpusError, match="Line 2 of file is not a message"):
        read('{"bot": false, "content": "hi"}\n' + line)


def test_lines_that_end_in_the_middle_give_the_whole_ones():
    text = '{"bot": false, "content": "hi"}\n{"bot": false, "content": "h'
    assert read(text) == [Message("", "hi"), Message("", "", cut_off=True)]


# Anything.

OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "type": st.sampled_from(["Default", "Reply", "46", "message"]) | JSON,
        "content": TEXTS | JSON,
        "bot": st.booleans() | JSON,
        "author": st.fixed_dictionaries({"id": JSON, "isBot": st.booleans() | JSON}) | JSON,
        "mentions": st.lists(st.fixed_dictionaries({"id": JSON, "name": JSON}), max_size=2) | JSON,
        "text": st.lists(TEXTS | JSON, max_size=2) | JSON,
        "ts": JSON,
        "date": JSON,
        "Contents": TEXTS | JSON,
        "ID": JSON,
        "Timestamp": JSON,
    },
)


@given(st.lists(OBJECTS | JSON, max_size=3) | JSON, st.integers(0, 2))
def test_any_json_is_a_chat_or_plain_text_or_refused(written: Any, form: int):
    if form == 0:
        text = json.dumps({"messages": written})
    elif form == 1:
        text = json.dumps(written)
    else:
        text = "\n".join(map(json.dumps, written if isinstance(written, list) else [written]))
    try:
        messages = read_export(text, "file")
    except CorpusError:
        return
    if messages is not None:
        cleaner = Cleaner({"8", "Sam"})
        text, counts = join_messages(messages, cleaner)
        assert clean(text) == text
        assert counts.total() == len(messages)
