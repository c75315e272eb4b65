import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from bot.operations import logs
from tests.discord_server import TOKEN

OTHER = TOKEN.replace("MTIz", "OTg3")  # of the form, and not the configured one
ODD = "not-of-the-form"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level, theirs = root.handlers[:], root.level, logging.getLogger("discord").level
    yield
    logging.captureWarnings(False)
    logging.getLogger("discord").setLevel(theirs)
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)


@pytest.fixture(params=["text", "json"])
def style(request: pytest.FixtureRequest) -> str:
    return request.param


def listen(style: str, level: str = "INFO", token: str = TOKEN) -> io.StringIO:
    """Log there, as the bot does."""
    logs.set_up(style, level, token)
    written = io.StringIO()
    logging.getLogger().handlers[0].setStream(written)
    return written


def test_an_attempt_to_connect_again_is_one_line_that_says_why(style: str):
    written = listen(style)
    try:
        raise OSError("Connect call failed")
    except OSError as error:
        log = logging.getLogger("discord.shard")
        log.error("Attempting a reconnect for shard ID %s in %.2fs", 0, 1.5, exc_info=error)
    [line] = written.getvalue().splitlines()
    assert "WARNING" in line
    assert "reconnect for shard ID 0 in 1.50s: OSError('Connect call failed')" in line


@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_a_token_in_a_message_an_address_or_an_exception_is_not_written(style: str, token: str):
    written = listen(style)
    log = logging.getLogger("discord.http")
    log.warning("Given %s, and at https://discord.example/%s?a=%s", [token], token, token)
    try:
        try:
            raise ValueError(f"Bot {token}\n{token}")
        except ValueError as error:
            raise RuntimeError(f"refused: {token}") from error
    except RuntimeError:
        log.exception("It broke off.")
    assert token not in written.getvalue()
    assert written.getvalue().count(logs.HIDDEN) >= 6


def test_the_configured_token_is_not_written_whatever_its_form(style: str):
    written = listen(style, token=ODD)
    logging.getLogger("bot").error("It is %s", f"x{ODD}y")
    assert ODD not in written.getvalue()


def test_neither_is_what_an_interaction_is_answered_with(style: str):
    written = listen(style)
    address = "https://discord.example/api/v10/webhooks/1/aW50ZXJhY3Rpb24/messages/@original"
    logging.getLogger("discord.http").warning("PATCH %s", address)
    assert "aW50ZXJhY3Rpb24" not in written.getvalue()
    assert "messages/@original" in written.getvalue()


def test_what_ends_the_process_is_logged_like_all_else(style: str):
    written = listen(style)
    error = RuntimeError(TOKEN)
    sys.excepthook(RuntimeError, error, None)
    assert "RuntimeError" in written.getvalue()
    assert TOKEN not in written.getvalue()


def test_text_has_the_time_the_level_and_the_logger():
    written = listen("text")
    logging.getLogger("bot.somewhere").warning("Something %s.", "happened")
    assert written.getvalue().endswith(" WARNING  bot.somewhere  Something happened.\n")


def test_json_is_an_object_a_line_with_the_fields_beside_the_message():
    written = listen("json")
    log = logging.getLogger("bot.somewhere")
    log.warning("Two\nlines: %s", "é", extra={"fields": {"duration_ms": 12}})
    try:
        raise ValueError(f"{TOKEN}\nand more")
    except ValueError:
        log.exception("Failed.")
    first, second = map(json.loads, written.getvalue().splitlines())
    assert first["time"].endswith("+00:00")
    del first["time"]
    assert first == {
        "level": "WARNING",
        "logger": "bot.somewhere",
        "message": "Two\nlines: é",
        "duration_ms": 12,
    }
    assert second["exception"].startswith("Traceback (most recent call last):\n")
    assert second["exception"].endswith(f"ValueError: {logs.HIDDEN}\nand more")


def test_discord_py_never_writes_down_what_people_say():
    written = listen("text", "DEBUG")
    logging.getLogger("discord.gateway").debug("WebSocket event: %s", {"content": "To be"})
    logging.getLogger("bot").debug("This is wanted.")
    assert "This is wanted." in written.getvalue()
    assert "To be" not in written.getvalue()
