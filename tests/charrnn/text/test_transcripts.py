"""Which texts are chats, and what is kept of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text.messages import Message
from charrnn.text.transcripts import read_transcript
from tests.conftest import TEXTS

RULE = "=" * 62


def said(text: str) -> list[str]:
    """What people said."""
    messages = read_transcript(text)
    assert messages is not None
    return [m.content for m in messages if m.content and not (m.system or m.automatic)]


# DiscordChatExporter.

HEAD = (
    f"{RULE}\nGuild: Atlas club\nChannel: Talk / maps\nTopic: all maps,\n\nold and new\n{RULE}\n\n"
)
FOOT = f"{RULE}\nExported 1,234 message(s)\n{RULE}\n"
DATES = [
    *(
        "05/12/2024 10:01 PM",
        "12-May-24 10:01 PM",
        "12-Mai-24 22:01",
        "2024-05-12 22:01",
        "12.05.24",
    ),
    *(
        "12.05.2024 22:01:00",
        "2024年5月12日 22:01",
        "2024-05-12T22:01:00.0000000+02:00",
        "١٢/٠٥/٢٠٢٤",
    ),
]


@pytest.mark.parametrize("date", DATES)
def test_what_discord_chat_exporter_writes_around_messages_is_not_kept(date: str):
    messages = (
        f"[{date}] ada_l\nsheet 1 is missing\n\n{{Reactions}}\n\U0001f44d (3)\n\n\n"
        f"[{date}] Ada Lind#1234 (pinned)\ntwo\n\nparagraphs\n\n\n"
        f"[{date}] bo\n\n{{Attachments}}\nhttps://example.com\n\n{{Embed}}\nA site\n\ntext\n\n\n"
        f"[{date}] bo\nJoined the server.\n\n\n"
        f"[{date}] hook#0000\nbuild failed\n\n\n"
        f"[{date}] 12345\n[1] {{Embed}} are brackets\n\n{{Stickers}}\nhttps://example.com\n\n\n"
    )
    assert read_transcript(HEAD + messages + FOOT) == [
        Message("ada_l", "sheet 1 is missing"),
        Message("Ada Lind", "two\n\nparagraphs"),
        Message("bo", ""),
        Message("bo", "Joined the server.", system=True),
        Message("hook", "build failed", automatic=True),
        Message("@12345", "[1] {Embed} are brackets"),
    ]
    assert read_transcript(HEAD + messages)[-1] == Message("", "", cut_off=True)  # type: ignore[index]


def test_the_text_of_old_versions_has_no_foot():
    head = f"{RULE}\nGuild: Atlas\nChannel: maps\nTopic: \nMessages: 1\nRange: \n{RULE}\n\n"
    text = (
        f"{head}[12-May-19 10:01 PM] ada#1234\nhello\n\n{{Attachment}}\nhttps://example.com/a\n\n"
    )
    assert read_transcript(text) == [Message("ada", "hello")]


def test_a_part_of_a_text_is_a_chat_too():
    part = "".join(
        f"[2024-05-12 22:0{n}] {who}\nsheet {n}\n\n\n" for n in range(9) for who in ("ada", "bo")
    )
    assert said("the end of something\n\n" + part)[:2] == ["sheet 0", "sheet 0"]


# WhatsApp.


@pytest.mark.parametrize(
    "when",
    [
        *(
            "12/05/24, 21:15 - ",
            "5/12/24, 9:15 PM - ",
            "5/12/24, 9:15\u202fPM - ",
            "12/05/2024 21:15 - ",
        ),
        *(
            "12/5/24, 9:15 p. m. - ",
            "12/5/24 9:15 p.\u00a0m. - ",
            "2024-05-12, 21:15 - ",
            "12.05.24, 21:15 - ",
        ),
        *(
            "12/05/2024 à 21:15 - ",
            "2024/5/12 下午9:15 - ",
            "12. 5. 2024 21:15 - ",
            "2024. 5. 12. 오후 9:15, ",
        ),
        *("[12/05/2024, 21:15:01] ", "[12.05.24, 21:15:01] ", "[5/12/24, 9:15:01\u202fPM] "),
        *("[12.5.2024 klo 21.15.01] ", "[2024-05-12, 9:15:01 p.m.] ", "[2024/5/12 下午9:15:01] "),
        *(
            "\u200e[12/05/2024, 21:15:01] ",
            "\u200f١٢\u200f/٥\u200f/٢٠٢٤، ٩:١٥ م - ",
            "[\u200f12.5.2024, 21:15:01] ",
        ),
    ],
)
def test_names_and_dates_of_whatsapp_are_not_kept(when: str):
    text = (
        f"{when}Messages and calls are end-to-end encrypted. Tap to learn more.\n"
        f'{when}Ada created group "Trip: Rome"\n'
        f"{when}Ada Lind: hello: you\nall\n\nof you\n"
        f"{when}\u202a+49 170 1234567\u202c: hi @\u2068Ada Lind\u2069 and @491701234567\n"
        f"{when}Bo added Ada\n"
        f"{when}Bo: so be it \u200e<This message was edited>\n"
        f"{when}12: 12:30?\n"
    )
    messages = read_transcript(text)
    assert messages is not None
    assert [message.author for message in messages if not message.system] == [
        *("Ada Lind", "+49 170 1234567", "Bo", "@12"),
    ]
    assert said(text) == [
        "hello: you\nall\n\nof you",
        "hi @Ada Lind and @someone",
        "so be it",
        "12:30?",
    ]


@pytest.mark.parametrize(
    "own",
    [
        *("<Media omitted>", "<Medien ausgeschlossen>", "<メディアは含まれていません>", "null"),
        *(
            "\u200eimage omitted",
            "\u200eBild weggelassen",
            "\u200e<attached: 1-PHOTO.jpg>",
            "image omitted",
        ),
        *("IMG-20240512-WA0001.jpg (file attached)", "\u200eplan.pdf (Datei angehängt)"),
        *(
            "This message was deleted",
            "You deleted this message.",
            "Diese Nachricht wurde gelöscht.",
        ),
        *("\u200eMissed voice call", "location: https://maps.google.com/?q=1.5,2.5"),
    ],
)
def test_what_whatsapp_writes_itself_is_not_kept(own: str):
    text = f"12/05/24, 21:15 - Ada: hi\n12/05/24, 21:16 - Bo: {own}\n12/05/24, 21:17 - Ada: <3\n"
    assert said(text) == ["hi", "<3"]
    assert said(text.replace(own, f"{own}\nlook at this")) == ["hi", "look at this", "<3"]


# IRC.


@pytest.mark.parametrize(
    "when",
    [
        *("[09:00] ", "09:00 ", "", "2024-01-01 09:00:00 ", "[09:00:12] ", "(09:00:12) "),
        *("[2024-01-01 09:00:00] ", "2024-01-01T09:00:00Z ", "Jan 01 09:00:00 ", "[9:00 PM] "),
    ],
)
def test_nicks_times_and_actions_of_irc_are_not_kept(when: str):
    text = (
        "--- Log opened Mon Jan 01 08:59:00 2024\n"
        f"{when}*** Joins: bo (~bo@example.com)\n"
        f"{when}<ana> so: be it\n\n"
        f"{when}<@bo> \x0304,12red\x03 and \x02bold\x02\n"
        f"{when}< cy> hi\n"
        f"{when}* ana waves\n"
        f"{when}<12>\n"
        f"{when}-!- cy [~cy@example.com] has quit\n"
        f"{when}--> ana (~ana@example.com) has joined\n"
        f"{when}<ana> a -> b\n"
    )
    messages = read_transcript(text)
    assert messages is not None
    assert [message for message in messages if not message.system] == [
        Message("ana", "so: be it"),
        Message("bo", "red and bold"),
        Message("cy", "hi"),
        Message("@12", ""),
        Message("ana", "a -> b"),
    ]
    assert len(messages) == 10


def test_a_log_of_weechat_is_read():
    when = "2024-01-01 09:00:00\t"
    text = f"{when}-->\tana (~ana@example.com) has joined #maps\n{when}@ana\thi\n{when}bo\tyo\n"
    assert read_transcript(text) == [
        Message("", "", system=True),
        Message("ana", "hi"),
        Message("bo", "yo"),
    ]


# Other texts.

DIARY = "12.05.2024 21:15 - Rome: at last.\n" + "We walked the whole day.\nIt was warm.\n" * 3
LOG = "".join(f"[2024-05-12 21:15:0{n}] started {n}\n" for n in range(9))
VERSE = "".join(f"[{1990 + n}] The snow of {n}\n\nfell, and fell\n\n" for n in range(9))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "so be it",
            "[Enter HAMLET]\nHAMLET: To be\n" * 99,
            "HAMLET:\nTo be, or not to be\n\n" * 99,
        ),
        *(
            DIARY * 9,
            LOG,
            VERSE,
            "def f(x): return x[2024]\n\n" * 9,
            "2024-05-12: rain, 21:15 snow\n" * 9,
        ),
        *(
            "In 12/05/24, 21:15 - Ada: I\n" * 9,
            "<p> one\n<p> two\n" * 9,
            "<b> one </b>\n<i> two </i>\n" * 9,
            "* one\n* two\n<ana> hi\n<bo> hi\n* three",
            "09:00 breakfast\n10:00 <tour> start\n",
            "2024-01-01 09:00:00\tindoor\t22.5\n" * 9,
            "{Embed}\n\n[2024-05-12] a\n",
            "= Title =\n" + "=" * 62,
        ),
    ],
)
def test_a_text_that_resembles_a_chat_is_none(text: str):
    assert read_transcript(text) is None


LINES = st.sampled_from(
    [
        "[2024-05-12 21:15] ada",
        "",
        "{Embed}",
        RULE,
        "12/05/24, 21:15 - Ada: hi",
        "Exported 1 message(s)",
    ]
)


@given(st.lists(LINES | TEXTS, max_size=12), st.booleans())
def test_any_text_is_a_chat_or_not(lines: list[str], head: bool):
    read_transcript((HEAD if head else "") + "\n".join(lines))


@pytest.mark.parametrize(
    "unit",
    [
        *("[1", "1/", "\u200e<", "=", "[2024-05-12] a\n\n", "12/05/24, ", " :", "a<"),
        *("<a> ", "09:00 ", "* "),
    ],
)
def test_a_long_hostile_text_takes_linear_time(unit: str):
    line = unit * (400_000 // len(unit))
    read_transcript(line)
    read_transcript(HEAD + line)
    read_transcript(f"12/05/24, 21:15 - Ada: hi\n12/05/24, 21:15 - Ada: {line}")
