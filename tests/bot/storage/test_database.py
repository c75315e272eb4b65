import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import RegistryError
from bot.storage.database import UPGRADES, Database, inspect

VERSION = 1 + len(UPGRADES)
OPT_OUT = "INSERT INTO opt_outs VALUES (?, 0)"
MANY = [(user,) for user in range(2, 10_000)]

either_opens = pytest.mark.parametrize("opens", [Database, inspect])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with closing(Database(path, busy_timeout_s=0)) as database:
        yield database


def opted_out(database: Database) -> set[int]:
    with database.reading() as db:
        return {row["user_id"] for row in db.execute("SELECT user_id FROM opt_outs")}


def test_commits_reach_the_disk_and_foreign_keys_hold(database: Database):
    with database.reading() as db:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "user_version")
        values = [db.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]
    assert values == ["wal", 2, 1, VERSION]


def test_a_transaction_that_raises_leaves_no_trace(database: Database):
    with pytest.raises(KeyError), database.writing() as db:
        db.execute(OPT_OUT, (1,))
        raise KeyError
    assert opted_out(database) == set()


def test_another_connection_sees_a_transaction_once_it_is_whole(database: Database, path: Path):
    with closing(Database(path)) as other:
        with database.writing() as db:
            db.execute(OPT_OUT, (1,))
            assert opted_out(other) == set()
        assert opted_out(other) == {1}


def test_a_locked_file_can_be_read_but_not_written(
    database: Database, path: Path, caplog: pytest.LogCaptureFixture
):
    with closing(Database(path)) as other, other.writing():
        inspect(path)
        assert opted_out(database) == set()
        with pytest.raises(RegistryError, match="Try again later") as refusal, database.writing():
            pass
        assert refusal.value.passing
        [logged] = caplog.messages
        assert f"{path} is in use by another program" in logged
        with pytest.raises(RegistryError, match=f"{path.name} is in use by another program"):
            Database(path, busy_timeout_s=0)


def test_a_full_disk_loses_only_what_does_not_fit(
    database: Database, caplog: pytest.LogCaptureFixture
):
    with database.writing() as db:
        db.execute(OPT_OUT, (1,))
    with database.reading() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RegistryError, match="Try again later"), database.writing() as db:
        db.executemany(OPT_OUT, MANY)
    assert "the disk is full" in caplog.text
    assert opted_out(database) == {1}
    with database.writing() as db:
        db.execute(OPT_OUT, (2,))


def test_a_closed_database_raises_a_registry_error(database: Database):
    database.close()
    with pytest.raises(RegistryError), database.writing():
        pass


def test_a_read_only_file_is_refused_at_the_start(path: Path):
    Database(path).close()
    content = bytearray(path.read_bytes())
    content[18] = 3  # a later write format: SQLite only reads such a file, even for root
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=rf"{path.name} cannot be written\. Create its folder"):
        Database(path)


@either_opens
def test_a_missing_folder_is_named(tmp_path: Path, opens: Callable[[Path], object]):
    path = tmp_path / "nowhere" / "registry.db"
    with pytest.raises(RegistryError, match=f"{path.name} cannot be written"):
        opens(path)


@either_opens
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"no database at all " * 300,
        lambda content: content[:-6000],
        lambda content: content[:-2048] + b"\xff" * 2048,
    ],
    ids=["another format", "cut off", "overwritten"],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(
    path: Path, opens: Callable[[Path], object], damage: Callable[[bytes], bytes]
):
    with closing(Database(path)) as database, database.writing() as db:
        db.executemany(OPT_OUT, MANY)
    content = damage(path.read_bytes())
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=f"{path.name} is damaged, or is not a registry"):
        opens(path)
    assert path.read_bytes() == content


@either_opens
def test_a_file_of_a_later_version_is_refused_and_left_as_it_is(
    path: Path, opens: Callable[[Path], object]
):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    content = path.read_bytes()
    expected = f"has version 99, and this bot reads version {VERSION}. Update the bot, or move"
    with pytest.raises(RegistryError, match=expected):
        opens(path)
    assert path.read_bytes() == content


def columns(database: Database) -> list[str]:
    with database.reading() as db:
        return [row["name"] for row in db.execute("PRAGMA table_info(opt_outs)")]


ADD_WHY = "ALTER TABLE opt_outs ADD COLUMN why TEXT;"


def test_an_older_file_is_upgraded_once_and_keeps_its_rows(path: Path):
    with closing(Database(path)) as database, database.writing() as db:
        db.execute(OPT_OUT, (1,))
    for _ in range(2):
        with closing(Database(path, upgrades=[*UPGRADES, ADD_WHY])) as database:
            assert columns(database) == ["user_id", "since", "why"]
            assert opted_out(database) == {1}


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(path: Path):
    Database(path).close()
    with pytest.raises(RegistryError, match="no such table"):
        Database(path, upgrades=[*UPGRADES, ADD_WHY, "DROP TABLE gone;"])
    with closing(Database(path)) as database:
        assert columns(database) == ["user_id", "since"]


def test_a_process_killed_in_a_transaction_leaves_no_half_of_it(path: Path):
    program = f"""
import sys
from pathlib import Path
from bot.storage.database import Database

database = Database(Path({str(path)!r}))
with database.writing() as db:
    db.execute({OPT_OUT!r}, (1,))
with database.writing() as db:
    db.execute("PRAGMA cache_size = 1")  # what does not fit goes to the disk at once
    db.executemany({OPT_OUT!r}, [(user,) for user in range(2, 10_000)])
    print("in the middle", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"in the middle\n"
        process.kill()
    assert path.with_name("registry.db-wal").stat().st_size > 100_000  # the half is on the disk
    with closing(Database(path)) as database:
        assert opted_out(database) == {1}
