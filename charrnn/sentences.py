"""Sentences for people, and parts of them."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]  # a clone, or where packages are installed


def counted(number: int, noun: str) -> str:
    """`1 model`, `2,000 models`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def few(names: Sequence[str], limit: int) -> str:
    """The first `limit` names, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def needs_extra(what: str, package: str | None, extra: str) -> str:
    """A sentence that says which package is missing, and one that says how to install it."""
    return (
        f"{what} needs {package or 'a package'}, part of charrnn's extra `{extra}`. "
        f"{how_to_install(extra)}"
    )


def how_to_install(extra: str, root: Path = ROOT) -> str:
    """A sentence with the command that installs one of charrnn's extras for the running Python."""
    python = shlex.quote(sys.executable)
    if sys.platform == "win32":
        # PowerShell takes a quoted path for a text unless & precedes it.
        python = f'& "{sys.executable}"' if " " in sys.executable else sys.executable
    if (root / "constraints.txt").is_file():
        return f'In your clone, run: {python} -m pip install -c constraints.txt -e ".[{extra}]"'
    return f'Run: {python} -m pip install "charrnn[{extra}]"'
