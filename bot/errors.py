"""Everything the bot raises on purpose; the message is what the person is told.

BotError
├── SettingsError    the environment or .env is wrong; raised at the start only
├── BusyError        too many requests are waiting
├── StoppingError    the bot is being stopped
├── ExecutorError    the machines that write and train cannot be reached
├── TooSlowError     a text was not written in time
├── CooldownError    this person asked a moment ago
├── NotYoursError    a button belongs to somebody else
├── NotAllowedError  something that the asker, the bot or its operator does not permit
├── HistoryError     a channel or a file cannot be made a corpus
├── DiskFullError    there is no room for what was asked for
├── RegistryError    the registry's file cannot be read or written
├── NotFoundError    this server has no such model or training
├── InUseError       a model is in use
├── NotInUseError    a model is not the one in use
├── DamagedError     a server's own model cannot be read
├── ModelNameError   a model cannot have this name
├── JobExistsError   this server trains already
└── JobStateError    a training is past what was asked of it
"""


class BotError(Exception):
    """Base class; the message is a sentence for a person."""


class SettingsError(BotError):
    """The settings are wrong; the message has a line for each that is."""

    def __init__(self, problems: list[str]):
        super().__init__("\n".join(problems))
        self.problems = problems


class BusyError(BotError):
    """The queue is full. `wait_s`: seconds until there should be room."""

    def __init__(self, wait_s: float):
        super().__init__(
            f"Too many people are asking at once. Try again in about {wait_s:.0f} "
            f"second{'' if round(wait_s) == 1 else 's'}."
        )
        self.wait_s = wait_s


class StoppingError(BotError):
    """The bot is being stopped, or has been."""

    def __init__(self) -> None:
        super().__init__("I am being restarted. Try again in a minute.")


class ExecutorError(BotError):
    """The machines that write and train cannot be reached, or lose what they are given."""

    def __init__(self) -> None:
        super().__init__("The machines that write for me cannot be reached. Try again in a minute.")


class TooSlowError(BotError):
    """A text was waited for, in vain, for longer than it ever takes."""

    def __init__(self) -> None:
        super().__init__("That takes far too long, so I have given it up. Try again in a minute.")


class CooldownError(BotError):
    """One request at a time. `wait_s`: seconds until the next may come."""

    def __init__(self, wait_s: float):
        shown_s = max(wait_s, 0.1)
        super().__init__(f"One at a time, please: try again in {shown_s:.1f} seconds.")
        self.wait_s = wait_s


class NotYoursError(BotError):
    """The button is for the person who asked. `instead`: what others can do."""

    def __init__(self, owner_id: int, instead: str):
        super().__init__(f"These buttons are <@{owner_id}>'s. {instead}")
        self.owner_id = owner_id


class NotAllowedError(BotError):
    """It is not permitted, here or to this person; the message says what would be needed."""


class HistoryError(BotError):
    """A channel or an uploaded file cannot be read, or holds nothing to learn from; the message
    says what is missing, and who can mend it."""


class DiskFullError(BotError):
    """A file could not be written for want of room."""

    def __init__(self) -> None:
        super().__init__(
            "The disk of the bot's machine is full. Its operator must make room; then try again."
        )


class RegistryError(BotError):
    """The registry's file is damaged, locked, cannot be written, or is too new. Raised when it is
    opened, the message is for the operator and names the file; later, it is for whoever asked, and
    the operator's is in the log. `passing`: whether it may pass by itself."""

    def __init__(self, message: str, passing: bool = False):
        super().__init__(message)
        self.passing = passing


INSTEAD = {
    "model": "/models shows its admins those it has.",
    "training": "/retrain begins another.",
}


class NotFoundError(BotError):
    """What was asked for is gone, or was never this server's. `what`: a key of INSTEAD."""

    def __init__(self, what: str):
        super().__init__(f"This server has no such {what}. {INSTEAD[what]}")


class InUseError(BotError):
    """It may not be discarded in passing."""

    def __init__(self, name: str):
        super().__init__(f"{name} is in use. Roll back first; or delete it, with /models.")


class NotInUseError(BotError):
    """There is nothing to roll back from."""

    def __init__(self, name: str):
        super().__init__(f"{name} is not in use. /models shows which one is.")


class DamagedError(BotError):
    """A server's own model cannot be read; what is wrong with its files is in the log."""

    def __init__(self, name: str):
        super().__init__(
            f"{name} is damaged and cannot be used. An admin of this server can roll it back, or "
            "delete it, with /models; my log tells the operator more."
        )


class ModelNameError(BotError):
    """The name is not allowed, or taken."""


class JobExistsError(BotError):
    """One training a server at a time. `job_id`: the one there is."""

    def __init__(self, job_id: int, name: str):
        super().__init__(
            f"This server has a training under way already, of {name}. Wait until it is done, or "
            "cancel it."
        )
        self.job_id = job_id


class JobStateError(BotError):
    """The training is in a `state` in which this cannot be done to it."""

    def __init__(self, state: str):
        super().__init__(
            f"That cannot be done any more: this training is marked as {state}. /models shows what "
            "has been made, and /retrain shows what is under way or begins another."
        )
        self.state = state
