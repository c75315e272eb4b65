"""The bot's settings: the only reader of the environment and of `.env`.

`.env.example` describes each setting. Its name is that of the attribute in capitals, unless
`_setting` gives another one.
"""

import math
import os
import re
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv.parser import Binding, parse_stream

from bot.errors import SettingsError

PORTAL = "https://discord.com/developers/applications"
# Three parts in URL-safe base64: the bot's id, a timestamp, a signature.
TOKEN_FORM = re.compile(r"[\w-]{18,}\.[\w-]{4,}\.[\w-]{20,}")
SIMILARITY = 0.8  # of a mistyped name, as difflib measures it: about two letters of ten differ
_HOST = r"(?:[\w.-]+|\[[\da-fA-F:.]+\])"  # a name, an IPv4 address, or an IPv6 address in brackets


def _token(value: str) -> str:
    if not TOKEN_FORM.fullmatch(value):
        raise ValueError(
            f"is not a bot token. Copy it from the Bot page of your application at {PORTAL}."
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
    if not re.fullmatch(rf"https?://{_HOST}(:\d{{1,5}})?(/\S*)?", value):
        raise ValueError(f"must be an address like https://discord.com/api/v10, not {value!r}.")
    return value.rstrip("/")


def _scheduler(value: str) -> str:
    parts = re.fullmatch(rf"dask://({_HOST}:(\d{{1,5}}))/?", value)
    if parts is None or int(parts[2]) > 65535:
        raise ValueError(f"must be dask://HOST:PORT, not {value!r}.")
    return parts[1]


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        for choice in choices:
            if value.casefold() == choice.casefold():
                return choice
        raise ValueError(f"must be {', '.join(choices[:-1])} or {choices[-1]}, not {value!r}.")

    return parse


def _yes_or_no(value: str) -> bool:
    return _choice("yes", "no")(value) == "yes"


def _setting(
    default: Any, parse: Callable[[str], Any], name: str | None = None, secret: bool = False
) -> Any:
    """`parse` raises ValueError with the end of a sentence that begins with the name."""
    return field(default=default, repr=not secret, metadata={"parse": parse, "name": name})


@dataclass(frozen=True)
class Settings:
    """The settings of a bot, with their defaults."""

    # None: run the preview.
    token: str | None = _setting(None, _token, name="DISCORD_TOKEN", secret=True)
    model: str = _setting("shakespeare", str)
    words_file: Path | None = _setting(None, Path)  # noqa: RUF009 - immutable
    cooldown_s: float = _setting(2.0, _number(0, 3600))
    batch_limit: int = _setting(32, _number(1, 1024, int))
    queue_limit: int = _setting(256, _number(1, 100_000, int))
    threads: int = _setting(2, _number(1, 256, int))
    model_memory_mb: int = _setting(256, _number(0, 2**20, int))
    # HOST:PORT. None: this machine writes and trains.
    dask_scheduler: str | None = _setting(None, _scheduler, name="EXECUTOR")
    state: Path = _setting(Path("state"), Path)  # noqa: RUF009 - immutable
    mentions: bool = _setting(False, _yes_or_no)
    train_on_channels: bool = _setting(False, _yes_or_no)
    max_trainings: int = _setting(1, _number(1, 64, int))
    training_threads: int = _setting(2, _number(1, 64, int))
    keep_texts: bool = _setting(False, _yes_or_no)
    forget_after_days: float = _setting(30.0, _number(0, 3650))
    shutdown_grace_s: float = _setting(20.0, _number(0, 600))
    preview_port: int = _setting(8765, _number(0, 65535, int))
    preview_browser: bool = _setting(True, _yes_or_no)
    preview_messages: Path | None = _setting(None, Path)  # noqa: RUF009 - immutable
    discord_api: str | None = _setting(None, _address)  # None: Discord's own
    log_level: str = _setting("INFO", _choice("DEBUG", "INFO", "WARNING", "ERROR"))
    log_format: str = _setting("text", _choice("text", "json"))
    health_host: str = _setting("127.0.0.1", str)
    health_port: int | None = _setting(None, _number(1, 65535, int))  # None: not served

    @classmethod
    def load(cls, environment: Mapping[str, str], env_file: Path = Path(".env")) -> "Settings":
        """The settings in `environment` and, for those it lacks, in `env_file`.

        An empty value means the default. Raises SettingsError, which lists everything that is
        wrong and never contains a token."""
        values, problems = _read(env_file)
        values.update({name: value for name, value in environment.items() if value.strip()})
        chosen: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            value = values.get(name, "").strip()
            if value:
                try:
                    chosen[setting.name] = setting.metadata["parse"](value)
                except ValueError as error:
                    # The token may have been pasted into the wrong line.
                    problems.append(TOKEN_FORM.sub("…", f"{name} {error}"))
        if problems:
            raise SettingsError(problems)
        return cls(**chosen)

    @classmethod
    def from_environment(cls) -> "Settings":
        """The settings of this process."""
        return cls.load(os.environ)


SETTINGS = {each.metadata["name"] or each.name.upper(): each for each in fields(Settings)}


@dataclass(frozen=True)
class Supervision:
    """What systemd wants to be told: sd_notify(3), sd_watchdog_enabled(3)."""

    notify_socket: str | None = None  # where to send messages; None: nowhere
    watchdog_s: float | None = None  # the longest pause between two WATCHDOG=1

    @classmethod
    def load(cls, environment: Mapping[str, str]) -> "Supervision":
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = int(environment.get("WATCHDOG_USEC") or 0) if watched else 0
        return cls(environment.get("NOTIFY_SOCKET") or None, microseconds / 1e6 or None)

    @classmethod
    def from_environment(cls) -> "Supervision":
        return cls.load(os.environ)


def on_desktop(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """True if a browser that is opened here appears in front of the person who started this."""
    if "SSH_CONNECTION" in environment:
        return False
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    return platform in ("darwin", "win32") or any(map(environment.get, displays))


def _read(env_file: Path) -> tuple[dict[str, str], list[str]]:
    """The values in a file that may not exist, and what is wrong with its lines."""
    try:
        content = env_file.read_bytes()
        # PowerShell's `>` writes UTF-16.
        utf_16 = content.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        text = content.decode("utf-16" if utf_16 else "utf-8-sig")
    except FileNotFoundError:
        return {}, []
    except UnicodeDecodeError as error:
        raise SettingsError([f"{env_file} is not UTF-8 text. Save it as UTF-8."]) from error
    except OSError as error:
        raise SettingsError([f"{env_file} cannot be read: {error.strerror}."]) from error
    bindings = list(parse_stream(StringIO(text, newline=None)))
    values = {each.key: each.value for each in bindings if each.key and each.value is not None}
    return values, [*_malformed(bindings, env_file), *_mistyped(values, env_file)]


def _malformed(bindings: Iterable[Binding], env_file: Path) -> Iterable[str]:
    """Names the lines by their numbers only, since they may contain a token."""
    for binding in bindings:
        if binding.error or (binding.key is not None and binding.value is None):
            lines = binding.original.string  # empty lines before it belong to it
            number = binding.original.line + len(lines) - len(lines.lstrip("\n"))
            yield f"Line {number} of {env_file} is not NAME=VALUE. Correct it, or put # before it."


def _mistyped(names: Iterable[str], env_file: Path) -> Iterable[str]:
    """Finds names that resemble a setting's. Any other name may belong to another program."""
    for name in names:
        similar = get_close_matches(name.upper(), SETTINGS, 1, SIMILARITY)
        if similar and name not in SETTINGS:
            yield f"{name} in {env_file} is not a setting. Did you mean {similar[0]}?"
