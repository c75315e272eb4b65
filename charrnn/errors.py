"""The errors that charrnn raises on purpose. `except CharRNNError` catches all of them.

CharRNNError
├── CorpusError      a text cannot be read or is too short
├── ModelError       a model is missing, damaged or inconsistent
├── OptionError      an option is out of range
├── Stopped          a training run was asked to stop
└── TrainingError    a training run cannot start or continue
"""


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
