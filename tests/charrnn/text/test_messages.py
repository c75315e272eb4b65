import doctest
import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text import messages
from charrnn.text.messages import Cleaner, LeftOut, Message, join_messages, readable
from charrnn.vocabulary import clean


def cleaned(content: str, names: Mapping[str, str] = {}) -> str | None:
    return Cleaner().clean(Message("ada", content, names=names))


def test_the_examples_in_the_documentation():
    assert doctest.testmod(messages).failed == 0


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (Message("robo", "Beep.", automatic=True), LeftOut.AUTOMATIC),
        (Message("ada", "Joined the server.", system=True), LeftOut.SYSTEM),
        (Message("bo", "not mine"), LeftOut.OPTED_OUT),
        (Message("ada", "!play despacito"), LeftOut.COMMAND),
        (Message("", "", cut_off=True), LeftOut.CUT_OFF),
        (Message("ada", " \u200b https://example.com\n```x = 1```"), LeftOut.EMPTY),
    ],
)
def test_messages_left_out_are_counted_by_reason(message: Message, why: LeftOut):
    cleaner = Cleaner(opted_out={"bo"})
    assert cleaner.clean(message) is None
    assert cleaner.counts.left_out == {why: 1}
    assert cleaner.counts.messages == cleaner.counts.characters == len(cleaner.counts.authors) == 0


def test_messages_kept_are_counted_with_newlines_and_authors():
    cleaner = Cleaner()
    kept = [cleaner.clean(Message(author, f"{author} 1")) for author in ("ada", "bo", "")]
    kept.append(cleaner.clean(Message("ada", "again")))
    assert kept == ["ada 1", "bo 1", "1", "again"]
    assert cleaner.counts.messages == 4
    assert cleaner.counts.characters == len("ada 1\nbo 1\n1\nagain\n")
    assert cleaner.counts.authors == {"ada", "bo"}


def test_repeats_are_left_out_whatever_their_author_case_and_spacing():
    cleaner = Cleaner()
    said = [("ada", "Good morning"), ("bo", "good  MORNING"), ("ada", "good morning `all`")]
    lines = [cleaner.clean(Message(author, content)) for author, content in said]
    assert lines == ["Good morning", None, "good morning all"]
    assert cleaner.counts.left_out == {LeftOut.REPEATED: 1}


def test_lines_beyond_the_memory_of_a_cleaner_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(messages, "MAX_REMEMBERED", 1)
    cleaner = Cleaner()
    lines = [cleaner.clean(Message("ada", content)) for content in ("a", "b", "a", "b")]
    assert lines == ["a", "b", None, "b"]


@pytest.mark.parametrize(
    "command",
    [
        *("!play x", "/roll", ".help me", "?rank", "$x", "-skip", " !roll", "p!catch"),
        *("!ask|bo", "!Übung", "/msg bo hunter2"),
    ],
)
def test_commands_are_left_out(command: str):
    assert cleaned(command) is None


@pytest.mark.parametrize(
    "chat",
    [
        *("...", "...what", "!!", "!", "-5", "-_-", "-.-", "?", "$5 please", ".5 of it"),
        *("/ or \\", "!?", "/etc/fstab is broken", ".bashrc, I think", "-- so be it", "oh!no"),
        *("No! Not that", ":-D"),
    ],
)
def test_chat_that_resembles_a_command_is_kept(chat: str):
    assert cleaned(chat) == chat


def test_members_who_opted_out_are_not_named():
    mention = Message("1", "<@8> and <@9>", names={"8": "Ada", "9": "Bo"})
    assert Cleaner(opted_out={"8"}).clean(mention) == "@someone and @Bo"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("hi @Sam, @sam_s and @sam_s#1234!", "hi @someone, @someone and @someone#1234!"),
        ("@Samantha: @Sams hat, @Sam", "@Samantha: @Sams hat, @someone"),
        ("ask @Samantha or @Sams hat", "ask @Samantha or @someones hat"),
        ("Sam said sam@Samos, mail @Sa", "Sam said sam@Samos, mail @Sa"),
        ("@Bo Lind and @Bo", "@someone and @Bo"),
        ("@@エイダさん", "@@someoneさん"),
    ],
)
def test_members_who_opted_out_are_not_named_by_an_exporter_either(content: str, line: str):
    ids = {"Sam": "8", "sam_s": "8", "Samantha": "9", "Bo": "9", "Bo Lind": "8", "エイダ": "8"}
    assert Cleaner(opted_out={"8"}).clean(Message("1", content, ids=ids)) == line
    assert Cleaner(opted_out={"7"}).clean(Message("1", content, ids=ids)) == content


def test_without_ids_people_are_known_by_their_names():
    cleaner = Cleaner(opted_out={"8", "Sam Lind"})
    assert cleaner.clean(Message("Sam Lind", "hello")) is None
    assert cleaner.clean(Message("Bo", "hi @Sam Lind, or @Sam Lindberg")) == (
        "hi @someone, or @Sam Lindberg"
    )
    assert cleaner.clean(Message("9", "so @Sam Lind", ids={"Sam Lind": "9"})) == "so @Sam Lind"


def test_what_another_chat_has_said_is_a_repeat():
    cleaner = Cleaner()
    first = join_messages([Message("ada", "hello"), Message("bo", "so be it")], cleaner)
    second = join_messages([Message("bo", "So be it"), Message("ada", "and then?")], cleaner)
    assert (first[0], second[0]) == ("hello\nso be it\n", "and then?\n")
    assert (first[1].left_out, second[1].left_out) == ({}, {LeftOut.REPEATED: 1})


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("<@1> and <@!1>, in <#2>", "@Ada and @Ada, in #art"),
        ("<@&3> <@9> <@&9> <#9>", "@Mods @someone @someone #channel"),
        ("use </play:123456789012345678>", "use /play"),
        ("see you <t:1618953630:R>, or <t:1618953630>", "see you , or"),
        ("@everyone @here @@everyone x@here", "everyone here everyone xhere"),
        ("@every``one``", "everyone"),
        ("<@4> <@5>", "everyone here"),
        ("<:kek:123456789012345678><a:wave_2:1234>", ":kek::wave_2:"),
        (":a_name_of_two_dozen_letters_1:", ":a_name_of_two_dozen_letters_1:"),
    ],
)
def test_mentions_and_emoji_become_readable_and_harmless(content: str, line: str):
    names = {"1": "Ada", "2": "art", "3": "Mods", "4": "everyone", "5": "here https://example.com"}
    assert cleaned(content, names) == line


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("see https://example.com/a?b=c#d now", "see now"),
        ("<HTTP://EXAMPLE.COM> www.example.com/x", None),
        ("join discord.gg/abc or discord.com/invite/abc", "join or"),
        ("[the docs](https://example.com/a_(b)) say so", "the docs say so"),
        ("[ftp](<https://example.com>) ftp://example.com", "ftp"),
        ("why?\n```py\nprint(1)\n```\nsee", "why? see"),
        ("look: ```never closed", "look:"),
        ("run `make test`, then ``make `` it", "run make test, then make it"),
        ("||he dies|| at ||the\nend||", "he dies at the end"),
        ("> so\n> be it\n>>> HERO\n>_> x > y", "so be it HERO >_> x > y"),
        ("||https://example.com|| `https://example.com`", None),
        (" two\r\n\r\nlines\tand “quotes”\u2028\x07… ", 'two lines and "quotes" ...'),
        ("from 10.0.0.1-10.0.0.9, tel:030/1234567", "from - , tel:"),
        ("ht\u200btps://example.com h||tt||ps://example.com", None),
    ],
)
def test_links_markup_and_addresses_are_removed(content: str, line: str | None):
    assert cleaned(content) == line


# Tokens are assembled here, so that secret scanners do not report them.
SECRETS = [
    *("ada@example.com", "a.b+c@mail.example.co.uk", "root@10.0.0.1"),
    ".".join(["MTk4NjIyNDgzNDcxOTI1MjQ4", "Cl2FMQ", "ZnCjm1XVW7vRze4b7Cq4se7kKWs"]),
    ".".join(["MTk4NjIyNDgzNDcxOTI1MjQ", "Cl2FMQ", "Zn-jm1XVW7v_ze4b7Cq4se7kKWs"]),
    ".".join(["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0In0", "dozjgNryP4J3jVmN-l0w5N_XgL0n3I9"]),
    "ghp" + "_16C7e42F292c6912E7710c838347Ae178B4a",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYEXAMPLEKEY",
    "sk" + "-proj-abcDEF123-ghiJKL456_mno",
    "d41d8cd98f00b204e9800998ecf8427e",
    "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3BlbnNz\naC1r\n-----END OPENSSH PRIVATE KEY-----",
    *("+44 20 7946 0958", "+1 (555) 123-4567", "+49 (0)30 1234567", "+33.1.23.45.67.89"),
    *("555-123-4567", "(555) 123-4567", "(555)123-4567", "1-800-555-0199", "5551234567"),
    *("030/1234567", "0171 1234567", "06 12 34 56 78", "01.23.45.67.89", "07700900123"),
    *("8 912 345-67-89", "8(912)345-67-89", "912-345-67-89", "０９０－１２３４－５６７８"),
    *("612 345 678", "98765 43210", "(11) 91234-5678", "06-12345678", "0049 30 1234567"),
    *("4111 1111 1111 1111", "4111111111111111", "3782-822463-10005"),
    *("192.168.1.20", "203.0.113.7:8080", "10.0.0.0/8", "2001:db8::ff00:42:8329"),
    *("fe80::1", "2001:0db8:85a3:0000:0000:8a2e:0370:7334", "00:1A:2b:3c:4d:5e"),
]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_removed(secret: str):
    assert cleaned(f"mine is {secret} and not yours") == "mine is and not yours"


def test_secrets_are_removed_from_a_text_without_spaces():
    assert cleaned("住所は192.168.0.1で、電話は090-1234-5678です") == "住所は で、電話は です"


@pytest.mark.parametrize(
    "chat",
    [
        *("2006-06-01 12:30:45", "on 01.06.2006 12:30", "06/01/2006 or 6/1/06"),
        *("2006-06-01T11:22:00Z", "from 01/02 06/01 to 12/25", "10:30-12:00", "at 1:12:30:45"),
        *("in 2019 2020 2021, 2019-2020", "Linux 2.6.15-23, Python v3.11.2, 10.04.4"),
        *("linux-image-2.6.15-23-generic", "1.2.3.4.5", "1,000,000,000", "1920x1080"),
        *("3.14159265358979", "10 20 30 40", "100-200", "50000 + 1", "std::vector a::b"),
        *("user@host", "@ada", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaah", ":D", "C++"),
        *("Donaudampfschifffahrtsgesellschaft", "一二三四五六七八九十" * 3 + "1"),
        *("👩\u200d🚀👍🏽🇯🇵❤️\u200d🔥1️⃣🏳️\u200d🌈👨\u200d👩\u200d👧\u200d👦", "🩷🫨", "すごい！？"),
    ],
)
def test_text_that_resembles_a_secret_is_kept(chat: str):
    assert cleaned(chat) == chat


def test_names_are_cleaned():
    assert cleaned("hi <@8>, how are you?", {"8": "\ud800b\x07\no"}) == "hi @b o, how are you?"


UNITS = ("@", "a", "aA/", "_a:", "a.", "a-", "[", "<@", "<:a", ":a", "+(", "0.", "1.", "a@", "|")
STARTS = ("`", "||", "[a](http://", "-----BEGIN", "</", ">>> ", "!", "<a:", "eyJ")


@pytest.mark.parametrize(
    "hostile",
    [
        *(unit * 100_000 for unit in UNITS),
        *(f"{start} " * 50_000 + "a" * 100_000 for start in STARTS),
    ],
    ids=[*UNITS, *STARTS],
)
def test_a_long_hostile_message_takes_linear_time(hostile: str):
    assert cleaned(f"so {hostile}").startswith("so")


@given(st.text() | st.from_regex(r"([<>@#:`|!&\[\]()/. \n]|here|everyone|https?|1234567890){1,30}"))
def test_any_message_becomes_one_harmless_line(content: str):
    line = cleaned(content, {"1234567890": "@here"}) or ""
    assert line == " ".join(line.split())
    assert clean(line) == line
    assert not re.search("@(?:everyone|here)|https?://|<[@#][!&]?[0-9]+>", line)


def test_what_people_see_of_a_message_keeps_its_lines_and_links():
    content = "> <@!8>:\n<a:wave:99> see <#7> ||https://example.com|| <@9>"
    message = Message("ada", content, names={"8": "bo", "7": "art"})
    assert readable(message) == "@bo:\n:wave: see #art https://example.com @someone"
