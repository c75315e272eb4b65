"""The SQLite file of the registry: schema, transactions, and sentences for its errors."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Lock

from bot.errors import RegistryError

log = logging.getLogger(__name__)

SCHEMA = Path(__file__).with_name("schema.sql")
VERSION = 7  # of the schema, kept in SQLite's user_version
_UPGRADES = {  # the steps from older versions, each to the next
    4: """
        ALTER TABLE models ADD COLUMN voice REAL;
        DROP VIEW stored_models;
        CREATE VIEW stored_models AS
            SELECT models.*, base, source_name, source_channel_id, source_messages, source_days,
                   models.id IS (SELECT model_id FROM activations
                                 WHERE activations.guild_id = models.guild_id
                                 ORDER BY activations.id DESC LIMIT 1) AS in_use
            FROM models JOIN jobs ON jobs.id = models.id;
    """,
    5: """
        ALTER TABLE jobs RENAME COLUMN started_at TO ready_at;
        UPDATE jobs SET ready_at = created_at;
        UPDATE jobs SET shown = 0 WHERE ended_at IS NULL;
        CREATE INDEX jobs_to_follow ON jobs (shown) WHERE shown != 1 OR state = 'interrupted';
        ALTER TABLE models ADD COLUMN standard_error REAL;
        ALTER TABLE models ADD COLUMN voice_error REAL;
        CREATE TABLE speeds (
            parameters INTEGER NOT NULL,
            threads INTEGER NOT NULL,
            characters_per_second REAL NOT NULL,
            measuring_s REAL NOT NULL,
            PRIMARY KEY (parameters, threads)
        ) STRICT;
    """,
    6: """
        ALTER TABLE jobs ADD COLUMN source_channel_ids TEXT NOT NULL DEFAULT '[]';
        UPDATE jobs SET source_channel_ids = '[' || source_channel_id || ']'
            WHERE source_channel_id IS NOT NULL;
        DROP VIEW stored_models;
        DROP VIEW active_jobs;
        DROP VIEW unfinished_jobs;
        ALTER TABLE jobs DROP COLUMN source_channel_id;
        CREATE VIEW active_jobs AS
            SELECT * FROM jobs WHERE state IN ('reading', 'ready', 'queued', 'training');
        CREATE VIEW unfinished_jobs AS
            SELECT * FROM jobs
            WHERE state IN ('reading', 'ready', 'queued', 'training', 'interrupted');
        CREATE VIEW stored_models AS
            SELECT models.*, base, source_name, source_channel_ids, source_messages, source_days,
                   models.id IS (SELECT model_id FROM activations
                                 WHERE activations.guild_id = models.guild_id
                                 ORDER BY activations.id DESC LIMIT 1) AS in_use
            FROM models JOIN jobs ON jobs.id = models.id;
        CREATE TABLE mentions (
            guild_id INTEGER NOT NULL,
            channel_id INTEGER NOT NULL,
            answered INTEGER NOT NULL,
            PRIMARY KEY (guild_id, channel_id)
        ) STRICT;
        CREATE TABLE words (
            guild_id INTEGER NOT NULL,
            word TEXT NOT NULL,
            PRIMARY KEY (guild_id, word)
        ) STRICT;
    """,
}

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

    def __init__(self, path: Path, busy_timeout_s: float = 5.0):
        """Opens the file, or creates it. Waits `busy_timeout_s` for another process. Raises
        RegistryError, with a message for the operator."""
        self._path = path
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
        version = _check(connection, self._path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # committed rows survive a power cut
        if version:
            script = "".join(_UPGRADES[old] for old in range(version, VERSION))
        else:
            script = SCHEMA.read_text("utf-8")
        # Writes even the version it already has, so that a read-only file shows now, not later.
        connection.executescript(f"BEGIN; {script} PRAGMA user_version = {VERSION}; COMMIT;")
        connection.execute("PRAGMA foreign_keys = ON")


def inspect(path: Path, busy_timeout_s: float = 5.0) -> None:
    """Check the file as `Database` does, without changing it. Raises RegistryError."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=busy_timeout_s)) as connection:
            _check(connection, path)
    except sqlite3.Error as error:
        raise RegistryError(_explain(path, error)) from error
    if not os.access(path, os.W_OK):
        raise RegistryError(f"The registry {path} {_UNWRITABLE}")


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's version in the file, 0 if it is new. Raises RegistryError."""
    if [row[0] for row in connection.execute("PRAGMA quick_check")] != ["ok"]:
        raise RegistryError(f"The registry {path} {_DAMAGED}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION, *_UPGRADES):
        remedy = "Update the bot." if version > VERSION else "Move it away to start without models."
        raise RegistryError(
            f"The registry {path} has version {version}, and this bot reads version {VERSION}. "
            f"{remedy}"
        )
    return version


def _explain(path: Path, error: sqlite3.Error) -> str:
    return f"The registry {path} {_SENTENCES.get(_code(error), f'failed: {error}.')}"


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its extension
