"""The registry: jobs, models, opt-outs, removals, mentions and words in one SQLite file.

A job and the model that it makes share one id and one folder. A job's row is written before
anything is done for it, and a model's row is deleted before its files. So after a crash at any
moment, `unfinished` lists the jobs to go on with, and a folder outside `folders` can be deleted.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bot.storage.database import Database
from bot.storage.guilds import Guilds
from bot.storage.jobs import Jobs
from bot.storage.models import Models
from bot.storage.people import People


class Registry(Jobs, Models, People, Guilds):
    """The bot's memory. Each method is one transaction, run in a thread. Rows of a guild are found
    only with that guild's id.

    Every method raises RegistryError when the file cannot be read or written. Methods that take
    the id of a job or a model raise BotError when the guild has none with that id."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        reserved_names: Iterable[str] = (),  # names that no guild's model may have
    ):
        super().__init__(Database(path), clock, reserved_names)

    def close(self) -> None:
        self.database.close()
