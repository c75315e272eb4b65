"""The errors that charrnn raises on purpose. `except CharRNNError` catches all of them.

CharRNNError
├── CorpusError      a text cannot be read or is too short
├── ModelError       a model is missing, damaged or inconsistent
├── OptionError      an option is out of range
├── Stopped          a training run was asked to stop
└── TrainingError    a training run cannot start or continue
"""

import shlex
import subprocess
import sys


def needs_extra(what: str, package: str | None, extra: str) -> str:
    """A sentence that says which package is missing and how to install it."""
    return (
        f"{what} needs {package}, which comes with charrnn's extra `{extra}`. In a clone of "
        f"charrnn, run: {install(extra)}"
    )


def install(extra: str) -> str:
    """The command that installs one of charrnn's extras for the running Python."""
    editable = "" if "site-packages" in __file__ else "-e "  # as charrnn itself was installed
    words = [sys.executable]
    python = subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
    return f'{python} -m pip install -c constraints.txt {editable}".[{extra}]"'


class CharRNNError(Exception):
    """Base class of charrnn's errors. The message is a sentence for people."""


class CorpusError(CharRNNError):
    """A text cannot be read or is too short."""


class ModelError(CharRNNError):
    """A model is missing, damaged or inconsistent."""


class OptionError(CharRNNError):
    """An option is out of range."""


class Stopped(CharRNNError):  # noqa: N818 - nothing went wrong
    """A training run stopped because it was asked to."""


class TrainingError(CharRNNError):
    """A training run cannot start or continue."""
