import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from bot.operations import logs
from tests.discord_payloads import TOKEN

OTHER = TOKEN.replace("MTIz", "OTg3")  # looks like a token, but is not the configured one
ODD = "does-not-look-like-one"


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
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
    """Set up logging as the bot does, and return what will be written."""
    logs.set_up(style, level, token)
    written = io.StringIO()
    logging.getLogger().handlers[0].setStream(written)
    return written


def test_a_reconnect_is_logged_in_one_line_with_its_reason(style: str):
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
def test_a_token_in_a_message_an_address_or_an_exception_is_hidden(style: str, token: str):
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


def test_the_configured_token_is_hidden_even_if_it_does_not_look_like_one(style: str):
    written = listen(style, token=ODD)
    logging.getLogger("bot").error("It is %s", f"x{ODD}y")
    assert ODD not in written.getvalue()


def test_the_token_of_an_interaction_is_hidden(style: str):
    written = listen(style)
    address = "https://discord.example/api/v10/webhooks/1/aW50ZXJhY3Rpb24/messages/@original"
    logging.getLogger("discord.http").warning("PATCH %s", address)
    assert "aW50ZXJhY3Rpb24" not in written.getvalue()
    assert "messages/@original" in written.getvalue()


def test_a_crash_is_logged(style: str):
    written = listen(style)
    error = RuntimeError(TOKEN)
    sys.excepthook(RuntimeError, error, None)
    assert "RuntimeError" in written.getvalue()
    assert TOKEN not in written.getvalue()


def test_text_has_the_time_the_level_and_the_logger():
    written = listen("text")
    logging.getLogger("bot.somewhere").warning("Something %s.", "happened")
    assert written.getvalue().endswith(" WARNING  bot.somewhere  Something happened.\n")


def test_json_is_one_object_per_line_with_the_extra_fields():
    written = listen("json")
    log = logging.getLogger("bot.somewhere")
    log.warning("Two\nlines: %s", "é", extra={"duration_ms": 12})
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


def test_what_people_write_is_not_logged_at_any_level():
    written = listen("text", "DEBUG")
    logging.getLogger("discord.gateway").debug("WebSocket event: %s", {"content": "To be"})
    logging.getLogger("bot").debug("This is wanted.")
    assert "This is wanted." in written.getvalue()
    assert "To be" not in written.getvalue()
