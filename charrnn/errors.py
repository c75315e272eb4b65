"""Everything charrnn raises on purpose, so that one `except CharRNNError` catches it all.

CharRNNError
├── CorpusError      a text that cannot be read or is too short
├── ModelError       a model that is missing, damaged, or not what it says it is
├── OptionError      an option outside its limits
├── Stopped          a training run that was asked to stop
└── TrainingError    a training run that cannot start or go on
"""

import shlex
import sys


def needs_extra(what: str, package: str | None, extra: str) -> str:
    """The sentence about a package that is not installed, and how to install it."""
    return (
        f"{what} needs {package}, which comes with charrnn's extra `{extra}`. Where charrnn was "
        f"cloned: {install(extra)}"
    )


def install(extra: str) -> str:
    """The command that installs one of charrnn's extras beside this very Python."""
    editable = "" if "site-packages" in __file__ else "-e "  # as charrnn itself was
    return f"{shlex.quote(sys.executable)} -m pip install -c constraints.txt {editable}'.[{extra}]'"


class CharRNNError(Exception):
    """Base class; the message is a sentence for a person."""


class CorpusError(CharRNNError):
    """A text cannot be read, or there is too little of it."""


class ModelError(CharRNNError):
    """A model is missing, damaged, or does not fit its own description."""


class OptionError(CharRNNError):
    """An option lies outside its limits."""


class Stopped(CharRNNError):  # noqa: N818 - nothing went wrong
    """A training run was asked to stop, and did."""


class TrainingError(CharRNNError):
    """A training run cannot start or go on."""
