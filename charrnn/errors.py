"""Everything charrnn raises on purpose, so that one `except CharRNNError` catches it all.

CharRNNError
├── CorpusError      a text that cannot be read or is too short
├── ModelError       a model that is missing, damaged, or not what it says it is
├── OptionError      an option outside its limits
├── Stopped          a training run that was asked to stop
└── TrainingError    a training run that cannot start or go on
"""


def needs_extra(what: str, error: ModuleNotFoundError, extra: str) -> str:
    """The sentence about a package that is not installed, and how to install it."""
    return (
        f"{what} needs {error.name}, which comes with charrnn's extra `{extra}`: "
        f"pip install '.[{extra}]' where charrnn was cloned."
    )


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
