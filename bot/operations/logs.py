"""The log: one line per event on standard error, as text or as JSON, without any token."""

import logging
import re
import sys
from types import TracebackType
from typing import Any

from pythonjsonlogger import json

from bot.settings import TOKEN_FORM

TEXT = "%(asctime)s %(levelname)-8s %(name)s  %(message)s"
HIDDEN = "[token]"
# Discord's addresses contain the token of an interaction or a webhook.
_ADDRESS = re.compile(r"((?:interactions|webhooks)/\d+/)[\w.=-]+")

log = logging.getLogger("bot")


class TextFormatter(logging.Formatter):
    def __init__(self, token: str | None):
        super().__init__(TEXT)
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        return without_tokens(super().format(record), self._token)


class JsonFormatter(json.JsonFormatter):
    """One object per line: level, logger, message, the record's `extra`, exception, time."""

    def __init__(self, token: str | None):
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            timestamp="time",
            json_ensure_ascii=False,
        )
        self._token = token

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        # Before the values are escaped: the n of \n would look like a part of a token.
        return {
            name: without_tokens(value, self._token) if isinstance(value, str) else value
            for name, value in log_data.items()
        }


FORMATTERS = {"text": TextFormatter, "json": JsonFormatter}


def set_up(style: str = "text", level: str = "INFO", token: str | None = None) -> None:
    """Send all log records, warnings and uncaught exceptions to standard error. `style` is a key
    of FORMATTERS. `token` is replaced wherever it occurs."""
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTERS[style](token))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # At DEBUG, discord.py logs what people write.
    logging.getLogger("discord").setLevel(max(root.level, logging.INFO))
    for name in ("discord.client", "discord.shard"):
        logging.getLogger(name).addFilter(_shorten_reconnect)
    logging.captureWarnings(True)
    sys.excepthook = _log_crash


def _shorten_reconnect(record: logging.LogRecord) -> bool:
    """Log one line for a lost connection. discord.py logs two tracebacks as an error."""
    if record.exc_info and record.exc_info[1] and "Attempting a reconnect" in record.msg:
        record.msg = f"{record.getMessage()}: {record.exc_info[1]!r}"
        record.args, record.exc_info = (), None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def without_tokens(text: str, token: str | None = None) -> str:
    """`text` without `token` and without anything that looks like one."""
    if token:
        text = text.replace(token, HIDDEN)
    return TOKEN_FORM.sub(HIDDEN, _ADDRESS.sub(rf"\1{HIDDEN}", text))


def _log_crash(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    log.critical(
        "The bot has crashed: %r. Start it again; if it crashes again, report this:",
        error,
        exc_info=(kind, error, traceback),
    )
