"""The bot's settings: the only reader of the environment and of `.env`."""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv.parser import Binding, parse_stream

from bot.errors import SettingsError

# Three parts in URL-safe base64: the bot's id, a timestamp, a signature.
TOKEN_FORM = re.compile(r"[\w-]{18,}\.[\w-]{4,}\.[\w-]{20,}")

LIKENESS = 0.8  # as difflib counts it: one or two letters of ten may differ


@dataclass(frozen=True)
class Settings:
    """What `.env.example` explains, line by line."""

    token: str | None = field(default=None, repr=False)
    model: str = "shakespeare"
    cooldown_s: float = 2.0
    batch_limit: int = 32  # requests written side by side
    queue_limit: int = 256  # requests waiting
    threads: int = 2  # that write, a batch each
    model_memory_mb: int = 256  # for the models used last
    dask_scheduler: str | None = None  # HOST:PORT; None: this machine writes and trains
    shard_ids: tuple[int, ...] = ()  # the shards of this process; none: all there are
    shard_count: int | None = None  # of all processes together; None: as many as Discord says
    state: Path = Path("state")  # the folder of the servers' models
    train_on_channels: bool = False
    max_trainings: int = 1  # at the same time
    training_threads: int = 1  # of each
    keep_texts: bool = False  # after training
    forget_after_days: float = 30  # a server that has removed the bot
    shutdown_grace_s: float = 20.0  # for what is under way when the bot is to stop
    preview_port: int = 8765
    preview_messages: Path | None = None  # a .jsonl of messages for the preview's channel
    discord_api: str | None = None  # another base address of the REST API, for proxies and tests
    log_level: str = "INFO"
    log_format: str = "text"
    health_host: str = "127.0.0.1"
    health_port: int | None = None  # None: no endpoint

    @classmethod
    def load(cls, environment: Mapping[str, str], env_file: Path = Path(".env")) -> "Settings":
        """The settings in `environment` and, where it is silent, in `env_file`. An empty value
        is the default. Raises SettingsError that names every setting that is wrong; no message
        ever holds a token."""
        try:
            text = env_file.read_text("utf-8-sig")
        except FileNotFoundError:
            text = ""
        except UnicodeDecodeError as error:
            raise SettingsError([f"{env_file} is not UTF-8 text. Save it as UTF-8."]) from error
        except OSError as error:
            raise SettingsError([f"{env_file} cannot be read: {error.strerror}."]) from error
        bindings = list(parse_stream(StringIO(text)))
        values = {binding.key: binding.value for binding in bindings if binding.key is not None}
        problems = [*_malformed(bindings, env_file), *_mistyped(values, env_file)]
        values.update({name: value for name, value in environment.items() if value.strip()})
        chosen: dict[str, Any] = {}
        for name, (attribute, parse) in _READERS.items():
            value = (values.get(name) or "").strip()
            if "\0" in value:
                problems.append(f"{name} holds a null character. Type it anew.")
            elif value:
                try:
                    chosen[attribute] = parse(value)
                except ValueError as error:
                    # A token may have been pasted in the wrong line.
                    problems.append(TOKEN_FORM.sub("…", f"{name} {error}"))
        if problems := problems or _shard_problems(chosen):
            raise SettingsError(problems)
        return cls(**chosen)

    @classmethod
    def from_environment(cls) -> "Settings":
        """The settings of this process."""
        return cls.load(os.environ)


@dataclass(frozen=True)
class Supervision:
    """What systemd tells a service about itself, in variables that are no settings; see
    sd_notify(3) and sd_watchdog_enabled(3)."""

    notify_socket: str | None = None  # where to tell it things
    watchdog_s: float | None = None  # so often at least it wants to be told WATCHDOG=1

    @classmethod
    def load(cls, environment: Mapping[str, str]) -> "Supervision":
        if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            environment = {**environment, "WATCHDOG_USEC": ""}  # it is another that is watched
        microseconds = environment.get("WATCHDOG_USEC") or 0
        return cls(environment.get("NOTIFY_SOCKET") or None, int(microseconds) / 1e6 or None)

    @classmethod
    def from_environment(cls) -> "Supervision":
        return cls.load(os.environ)


def _malformed(bindings: Iterable[Binding], env_file: Path) -> list[str]:
    """Lines that set nothing, and may hold a token."""
    return [
        f"Line {binding.original.line + _leading(binding.original.string)} of {env_file} is no "
        "NAME=VALUE. Mend it, or put a # before it."
        for binding in bindings
        if binding.error or (binding.key is not None and binding.value is None)
    ]


def _leading(lines: str) -> int:
    """How many of them are empty, before the first that is not."""
    return len(lines) - len(lines.lstrip("\n"))


def _mistyped(names: Iterable[str], env_file: Path) -> list[str]:
    """Names in the file that are nearly those of settings. Others may be for other programs."""
    likely = {name: get_close_matches(name.upper(), _READERS, 1, LIKENESS) for name in names}
    return [
        f"{name} in {env_file} is no setting. Did you mean {meant[0]}?"
        for name, meant in likely.items()
        if meant and name not in _READERS
    ]


def _token(value: str) -> str:
    if not TOKEN_FORM.fullmatch(value):
        raise ValueError(
            "is not a bot token. Copy it from the Bot page of your application at "
            "https://discord.com/developers/applications."
        )
    return value


def _number(least: float, most: float, kind: type = float) -> Callable[[str], Any]:
    def parse(value: str) -> Any:
        try:
            number = kind(value)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            noun = "whole number" if kind is int else "number"
            raise ValueError(f"must be a {noun} from {least:g} to {most:g}, not {value!r}.")
        return number

    return parse


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if not right:
        raise ValueError(f"must be an address such as https://discord.com/api/v10, not {value!r}.")
    return value.rstrip("/")


def _scheduler(value: str) -> str:
    parts = re.fullmatch(r"dask://(?P<host>[\w.-]+|\[[\da-fA-F:.]+\]):(?P<port>\d{1,5})/?", value)
    if parts is None or not 1 <= int(parts["port"]) <= 65535:
        raise ValueError(f"must be dask://HOST:PORT, a Dask scheduler's, not {value!r}.")
    return f"{parts['host']}:{parts['port']}"


def _shards(value: str) -> tuple[int, ...]:
    ids: set[int] = set()
    for part in value.split(","):
        span = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", part)
        last = int(span[2] or span[1]) if span else -1
        if span is None or last < int(span[1]):
            raise ValueError(f"must be shards such as 0-3 or 0,1,2, not {value!r}.")
        ids.update(range(int(span[1]), last + 1))
    return tuple(sorted(ids))


def _shard_problems(chosen: Mapping[str, Any]) -> list[str]:
    """What is wrong with the two settings of shards together."""
    ids, count = chosen.get("shard_ids"), chosen.get("shard_count")
    if ids and count and ids[-1] >= count:
        return [f"SHARD_IDS must be below SHARD_COUNT, which is {count}: there is no {ids[-1]}."]
    if ids and not count:
        return ["SHARD_COUNT must be set with SHARD_IDS: how many shards all processes share."]
    if count and not ids:
        return ["SHARD_IDS must be set with SHARD_COUNT: which of the shards this process serves."]
    return []


def _yes_or_no(value: str) -> bool:
    if value.casefold() not in ("yes", "no"):
        raise ValueError(f"must be yes or no, not {value!r}.")
    return value.casefold() == "yes"


def _level(value: str) -> str:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    if value.upper() not in levels:
        raise ValueError(f"must be one of {', '.join(levels)}, not {value!r}.")
    return value.upper()


def _format(value: str) -> str:
    if value.casefold() not in ("text", "json"):
        raise ValueError(f"must be text or json, not {value!r}.")
    return value.casefold()


_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "DISCORD_TOKEN": ("token", _token),
    "MODEL": ("model", str),
    "COOLDOWN_S": ("cooldown_s", _number(0, 3600)),
    "BATCH_LIMIT": ("batch_limit", _number(1, 1024, int)),
    "QUEUE_LIMIT": ("queue_limit", _number(1, 100_000, int)),
    "THREADS": ("threads", _number(1, 256, int)),
    "MODEL_MEMORY_MB": ("model_memory_mb", _number(0, 2**20, int)),
    "EXECUTOR": ("dask_scheduler", _scheduler),
    "SHARD_IDS": ("shard_ids", _shards),
    "SHARD_COUNT": ("shard_count", _number(1, 100_000, int)),
    "STATE": ("state", Path),
    "TRAIN_ON_CHANNELS": ("train_on_channels", _yes_or_no),
    "MAX_TRAININGS": ("max_trainings", _number(1, 64, int)),
    "TRAINING_THREADS": ("training_threads", _number(1, 64, int)),
    "KEEP_TEXTS": ("keep_texts", _yes_or_no),
    "FORGET_AFTER_DAYS": ("forget_after_days", _number(0, 3650)),
    "SHUTDOWN_GRACE_S": ("shutdown_grace_s", _number(0, 600)),
    "PREVIEW_PORT": ("preview_port", _number(0, 65535, int)),
    "PREVIEW_MESSAGES": ("preview_messages", Path),
    "DISCORD_API": ("discord_api", _address),
    "LOG_LEVEL": ("log_level", _level),
    "LOG_FORMAT": ("log_format", _format),
    "HEALTH_HOST": ("health_host", str),
    "HEALTH_PORT": ("health_port", _number(1, 65535, int)),
}
