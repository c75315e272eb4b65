"""The SQLite file of the registry: schema, transactions, and sentences for its errors."""

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Lock

from bot.errors import RegistryError

log = logging.getLogger(__name__)

SCHEMA = Path(__file__).with_name("schema.sql")
UPGRADES: tuple[str, ...] = ()  # SQL: from version 1 of the schema to 2, and so on

_DAMAGED = (
    "is damaged, or is not a registry. I left it as it is. Move it away together with the files "
    "-wal and -shm beside it; then restore a backup, or start without models."
)
_UNWRITABLE = "cannot be written. Create its folder, and let the bot's user write to both."
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_SENTENCES = {
    sqlite3.SQLITE_BUSY: "is in use by another program. Stop that program; is it a second bot?",
    sqlite3.SQLITE_CANTOPEN: _UNWRITABLE,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_IOERR: "cannot be read or written. Check whether the disk is full or broken.",
    sqlite3.SQLITE_FULL: "cannot grow, because the disk is full. Free some space.",
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_PERM: _UNWRITABLE,
    sqlite3.SQLITE_READONLY: _UNWRITABLE,
}


class Database:
    """An SQLite file for many threads, which share one connection, one transaction at a time.

    A transaction takes about a millisecond and SQLite writes one at a time anyway, so a
    connection for each thread would gain little."""

    def __init__(self, path: Path, busy_timeout_s: float = 5.0, upgrades: Sequence[str] = UPGRADES):
        """Opens the file, upgrades it if it is older, or creates it. Waits `busy_timeout_s` for
        another process. Raises RegistryError, with a message for the operator."""
        self._path = path
        self._upgrades = upgrades
        self._lock = Lock()
        with ExitStack() as undo:
            try:
                self._connection = sqlite3.connect(
                    path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
                )
                undo.callback(self._connection.close)
                self._connection.row_factory = sqlite3.Row
                self._prepare()
            except sqlite3.Error as error:
                raise RegistryError(_explain(path, error), _code(error) in _PASSING) from error
            undo.pop_all()

    def close(self) -> None:
        """Waits for the transaction under way."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on the disk when the block ends, and leaves no trace if the block
        raises or the process dies in it. Raises RegistryError."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction in which all queries see the same moment. Raises RegistryError."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._connection:
                    self._connection.execute(begin)
                    yield self._connection
            except sqlite3.Error as error:
                log.error("%s", _explain(self._path, error))
                raise RegistryError(
                    "I cannot read or write my records right now. Try again later. The reason is "
                    "in my log, for the operator.",
                    passing=True,
                ) from error

    def _prepare(self) -> None:
        connection = self._connection
        newest = 1 + len(self._upgrades)
        version = _check(connection, self._path, newest)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # committed rows survive a power cut
        steps = self._upgrades[version - 1 :] if version else [SCHEMA.read_text("utf-8")]
        script = "".join(steps)
        # Writes even the version it already has, so that a read-only file shows now, not later.
        connection.executescript(f"BEGIN; {script} PRAGMA user_version = {newest}; COMMIT;")
        connection.execute("PRAGMA foreign_keys = ON")


def inspect(path: Path, busy_timeout_s: float = 5.0) -> None:
    """Check the file as `Database` does, without changing it. Raises RegistryError."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=busy_timeout_s)) as connection:
            _check(connection, path, 1 + len(UPGRADES))
    except sqlite3.Error as error:
        raise RegistryError(_explain(path, error)) from error
    if not os.access(path, os.W_OK):
        raise RegistryError(f"The registry {path} {_UNWRITABLE}")


def _check(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """The schema's version in the file, 0 if it is new. Raises RegistryError also for a version
    above `newest`."""
    if [row[0] for row in connection.execute("PRAGMA quick_check")] != ["ok"]:
        raise RegistryError(f"The registry {path} {_DAMAGED}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > newest:
        raise RegistryError(
            f"The registry {path} has version {version}, and this bot reads version {newest}. "
            "Update the bot, or move the file away to start without models."
        )
    return version


def _explain(path: Path, error: sqlite3.Error) -> str:
    return f"The registry {path} {_SENTENCES.get(_code(error), f'failed: {error}.')}"


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its extension
