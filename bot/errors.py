"""Errors that the bot raises on purpose. The message is the sentence that a person is told.

BotError               the request cannot be done; `kind` says why, for the log and the metrics
├── SettingsError      the environment or .env is wrong; raised at the start only
├── RegistryError      the registry's file cannot be read or written
└── ExecutorError      the Dask cluster cannot be reached, or lost the work

A subclass exists only where somebody catches it.
"""

from typing import Literal

Kind = Literal[
    "busy",
    "cooldown",
    "corpus",
    "damaged",
    "discord",
    "disk_full",
    "executor",
    "in_use",
    "job_exists",
    "job_state",
    "name",
    "no_words",
    "not_allowed",
    "not_found",
    "not_in_use",
    "not_yours",
    "opted_out",
    "registry",
    "settings",
    "stopping",
    "too_slow",
    "words",
]


class BotError(Exception):
    """A request that cannot be done. The message is a sentence for a person."""

    def __init__(self, message: str, kind: Kind):
        super().__init__(message)
        self.kind: Kind = kind


class SettingsError(BotError):
    """The settings are wrong. `problems`: one line for each wrong setting."""

    def __init__(self, problems: list[str]):
        super().__init__("\n".join(problems), kind="settings")
        self.problems = problems


class RegistryError(BotError):
    """The registry's file is damaged, locked, read-only or too new.

    When the file is opened, the message is for the operator and names the file. Later the message
    is for the person who asked, and the log has the details. `passing`: a retry may succeed.
    """

    def __init__(self, message: str, passing: bool = False):
        super().__init__(message, kind="registry")
        self.passing = passing


class ExecutorError(BotError):
    """The Dask cluster cannot be reached, or lost the work."""

    def __init__(self) -> None:
        message = "The machines that write for me cannot be reached. Try again in a minute."
        super().__init__(message, kind="executor")


def not_found(what: Literal["model", "training"]) -> BotError:
    """This server has no such model or training."""
    hint = {
        "model": "/models shows the models that it has.",
        "training": "Use /retrain to start a new one.",
    }
    return BotError(f"This server has no such {what}. {hint[what]}", kind="not_found")


def stopping() -> BotError:
    """The bot is shutting down."""
    return BotError("I am being restarted. Try again in a minute.", kind="stopping")
