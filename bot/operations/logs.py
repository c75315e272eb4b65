"""The log: a line an event on standard error, for people or for machines, and never a secret."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from types import TracebackType

from bot.settings import TOKEN_FORM

FORMAT = "%(asctime)s %(levelname)-8s %(name)s  %(message)s"
HIDDEN = "[token]"
# An interaction's or a webhook's token is a part of the address that answers it.
_ADDRESS = re.compile(r"((?:interactions|webhooks)/\d+/)[\w.=-]+")

log = logging.getLogger("bot")


class TextFormatter(logging.Formatter):
    """For a terminal."""

    def __init__(self, token: str | None = None):
        super().__init__(FORMAT)
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        return without_tokens(super().format(record), self._token)


class JsonFormatter(logging.Formatter):
    """An object a line: `time` (ISO 8601, UTC), `level`, `logger`, `message`, the record's
    `fields` beside them, and `exception`, a traceback, where there is one."""

    def __init__(self, token: str | None = None):
        super().__init__()
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # Before JSON escapes it: the n of \n would be taken for a part of a token.
        hidden = {
            name: without_tokens(value, self._token) if isinstance(value, str) else value
            for name, value in line.items()
        }
        return json.dumps(hidden, ensure_ascii=False)


FORMATTERS = {"text": TextFormatter, "json": JsonFormatter}


def set_up(style: str = "text", level: str = "INFO", token: str | None = None) -> None:
    """From now on, log so, discord.py's events and Python's warnings too, and what would end the
    process with a traceback. `style`: a key of FORMATTERS."""
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTERS[style](token))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Below INFO, discord.py writes down all that people say.
    logging.getLogger("discord").setLevel(max(root.level, logging.INFO))
    for name in ("discord.client", "discord.shard"):
        logging.getLogger(name).addFilter(_in_one_line)
    logging.captureWarnings(True)
    sys.excepthook = _crashed


def _in_one_line(record: logging.LogRecord) -> bool:
    """discord.py shows two tracebacks for each attempt to connect again; the error will do."""
    if record.exc_info and record.exc_info[1] and "Attempting a reconnect" in record.msg:
        record.msg = f"{record.getMessage()}: {record.exc_info[1]!r}"
        record.args, record.exc_info = (), None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def without_tokens(text: str, token: str | None = None) -> str:
    """`text` without `token`, and without anything that has the form of one."""
    if token:
        text = text.replace(token, HIDDEN)
    return TOKEN_FORM.sub(HIDDEN, _ADDRESS.sub(rf"\1{HIDDEN}", text))


def _crashed(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    log.critical(
        "The bot has crashed: %r. Start it again; if it crashes again, report this:",
        error,
        exc_info=(kind, error, traceback),
    )
