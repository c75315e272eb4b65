"""The registry's file: its schema, its transactions, and what is said when it fails."""

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Lock

from bot.errors import RegistryError

log = logging.getLogger(__name__)

# Script N makes version N of version N - 1. Times are whole seconds since 1970, as Discord's
# <t:...> takes them.
MIGRATIONS = (
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: it names a folder
        guild_id INTEGER NOT NULL,
        admin_id INTEGER NOT NULL,
        channel_id INTEGER NOT NULL,
        message_id INTEGER,
        name TEXT NOT NULL,
        base TEXT NOT NULL,
        source TEXT NOT NULL,
        source_channel_id INTEGER,
        source_messages INTEGER,
        source_days INTEGER,
        state TEXT NOT NULL CHECK (state IN ('preparing', 'queued', 'training', 'interrupted',
                                             'finished', 'failed', 'cancelled')),
        created_at INTEGER NOT NULL,
        queued_at INTEGER,
        started_at INTEGER,
        ended_at INTEGER,
        failure TEXT CHECK ((failure IS NOT NULL) = (state = 'failed')),
        UNIQUE (guild_id, id)
    ) STRICT;
    CREATE UNIQUE INDEX one_active_job ON jobs (guild_id)
        WHERE state IN ('preparing', 'queued', 'training');
    CREATE VIEW active_jobs AS
        SELECT * FROM jobs WHERE state IN ('preparing', 'queued', 'training');
    CREATE VIEW unfinished_jobs AS
        SELECT * FROM jobs WHERE state IN ('preparing', 'queued', 'training', 'interrupted');

    CREATE TABLE models (
        id INTEGER PRIMARY KEY, -- that of the job that made it
        guild_id INTEGER NOT NULL,
        name TEXT NOT NULL COLLATE NOCASE,
        created_at INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        nats_before REAL NOT NULL,
        nats_after REAL NOT NULL,
        characters INTEGER NOT NULL,
        longest_copied INTEGER NOT NULL,
        UNIQUE (guild_id, id),
        UNIQUE (guild_id, name),
        FOREIGN KEY (guild_id, id) REFERENCES jobs (guild_id, id) ON DELETE CASCADE
    ) STRICT;

    -- What each guild has put to use, oldest first; the last is in use. The key holds the guild,
    -- so that no guild can use a model of another.
    CREATE TABLE activations (
        id INTEGER PRIMARY KEY,
        guild_id INTEGER NOT NULL,
        model_id INTEGER NOT NULL,
        FOREIGN KEY (guild_id, model_id) REFERENCES models (guild_id, id) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX activations_of_guild ON activations (guild_id, id);
    CREATE INDEX activations_of_model ON activations (guild_id, model_id);

    CREATE VIEW stored_models AS
        SELECT models.id, models.guild_id, models.name, base, source, models.created_at,
               size_bytes, nats_before, nats_after, characters, longest_copied,
               models.id IS (SELECT model_id FROM activations
                             WHERE activations.guild_id = models.guild_id
                             ORDER BY activations.id DESC LIMIT 1) AS in_use
        FROM models JOIN jobs ON jobs.id = models.id;

    -- Whose texts a job, and so its model, learns from. Not WITHOUT ROWID: SQLite 3.40 finds such
    -- a table damaged, in quick_check, when its key is not in the order of its columns.
    CREATE TABLE authors (
        id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        user_id INTEGER NOT NULL,
        PRIMARY KEY (user_id, id)
    ) STRICT;
    CREATE INDEX authors_of_job ON authors (id);

    CREATE TABLE opt_outs (
        user_id INTEGER PRIMARY KEY,
        since INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE removals (
        guild_id INTEGER PRIMARY KEY,
        removed_at INTEGER NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE jobs ADD COLUMN base_id INTEGER; -- a model of the guild's, even one deleted since
    UPDATE jobs SET base_id = (SELECT id FROM models
                               WHERE models.guild_id = jobs.guild_id AND name = jobs.base);
    """,
    """
    ALTER TABLE jobs ADD COLUMN ending TEXT; -- why it has none of a model, for people
    ALTER TABLE jobs ADD COLUMN shown INTEGER NOT NULL DEFAULT TRUE; -- whether its end has been
    UPDATE jobs SET ending = failure;
    """,
)

_DAMAGED = (
    "is damaged, or no registry at all. It has been left as it is. Move it away, and the files "
    "-wal and -shm beside it, and put a backup in its place, or begin without models."
)
_UNWRITABLE = (
    "cannot be written. Make its folder if there is none, and let the bot's user write to both."
)
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_TROUBLES = {
    sqlite3.SQLITE_BUSY: "is in use by another program. Stop that one; is it a second bot?",
    sqlite3.SQLITE_CANTOPEN: _UNWRITABLE,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_IOERR: "cannot be read or written. Is the disk full, or broken? Mend it.",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full. Make room on it.",
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_PERM: _UNWRITABLE,
    sqlite3.SQLITE_READONLY: _UNWRITABLE,
}


class Database:
    """An SQLite file that many threads may use: they share one connection, a transaction at a
    time. A connection for each would need closing in every thread of a pool that comes and goes,
    and gain little: a transaction takes a millisecond, and SQLite writes one at a time anyway.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str] = MIGRATIONS,
        busy_timeout_s: float = 5.0,  # how long to wait for another process
    ):
        """Opens the file, made when there is none, checked, and brought up to the last of
        `migrations`. Raises RegistryError, which names the file, for the operator."""
        self._path = path
        self._lock = Lock()
        with ExitStack() as undo:
            try:
                self._connection = sqlite3.connect(
                    path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
                )
                undo.callback(self._connection.close)
                self._connection.row_factory = sqlite3.Row
                self._prepare(migrations)
            except sqlite3.Error as error:
                raise RegistryError(_explain(path, error), _code(error) in _PASSING) from error
            undo.pop_all()

    def close(self) -> None:
        """Waits for the transaction under way."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on the disk when the block ends, and leaves no trace when the
        block raises or the process dies in it. Raises RegistryError."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """All that is read in the block is of one moment. Raises RegistryError."""
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
                    "I cannot get at my records just now; my log tells the operator why. "
                    "Try again later.",
                    passing=True,
                ) from error

    def _prepare(self, migrations: Sequence[str]) -> None:
        connection = self._connection
        _check(connection, self._path, len(migrations))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # what is acted on survives a power cut
        for version, script in enumerate(migrations, start=1):
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                current = _version(connection)
                if current < version:
                    for statement in _statements(script):
                        connection.execute(statement)
                # Written even when it stays: a file that cannot be written shows now, not later.
                connection.execute(f"PRAGMA user_version = {max(current, version)}")
        # Only now, since a migration that makes a table anew must be able to drop the old one.
        connection.execute("PRAGMA foreign_keys = ON")


def inspect(path: Path, known: int = len(MIGRATIONS), busy_timeout_s: float = 5.0) -> None:
    """Look at the file as `Database` does, and leave it as it is. Raises RegistryError."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=busy_timeout_s)) as connection:
            _check(connection, path, known)
    except sqlite3.Error as error:
        raise RegistryError(_explain(path, error)) from error
    if not os.access(path, os.W_OK):
        raise RegistryError(f"The registry {path} {_UNWRITABLE}")


def _check(connection: sqlite3.Connection, path: Path, known: int) -> None:
    """`known`: the last version that is known. Raises RegistryError."""
    if [row[0] for row in connection.execute("PRAGMA quick_check")] != ["ok"]:
        raise RegistryError(f"The registry {path} {_DAMAGED}")
    version = _version(connection)
    if version > known:
        raise RegistryError(
            f"The registry {path} has version {version}, this bot knows up to {known}. "
            "Update the bot."
        )


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _explain(path: Path, error: sqlite3.Error) -> str:
    return f"The registry {path} {_TROUBLES.get(_code(error), f'failed: {error}.')}"


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its extension


def _statements(script: str) -> Iterator[str]:
    """One by one, since `executescript` would end the transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
