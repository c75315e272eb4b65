"""Sentences for people, and parts of them."""

import shlex
import subprocess
import sys
from pathlib import Path

PLACE = Path(__file__).parents[1]  # a clone, or where packages are installed


def counted(number: int, noun: str) -> str:
    """`1 model`, `2,000 models`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def needs_extra(what: str, package: str | None, extra: str) -> str:
    """A sentence that says which package is missing, and one that says how to install it."""
    return (
        f"{what} needs {package or 'a package'}, which comes with charrnn's extra `{extra}`. "
        f"{how_to_install(extra)}"
    )


def how_to_install(extra: str, place: Path = PLACE) -> str:
    """A sentence with the command that installs one of charrnn's extras for the running Python."""
    words = [sys.executable]
    python = subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
    if (place / "constraints.txt").is_file():
        return f'In your clone, run: {python} -m pip install -c constraints.txt -e ".[{extra}]"'
    return f'Run: {python} -m pip install "charrnn[{extra}]"'
