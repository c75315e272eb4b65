import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import RegistryError
from bot.storage.database import MIGRATIONS, Database
from bot.storage.registry import Registry

OPT_OUT = "INSERT INTO opt_outs VALUES (?, 0)"


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


def setting(database: Database, pragma: str) -> str | int:
    with database.reading() as db:
        return db.execute(f"PRAGMA {pragma}").fetchone()[0]


def test_the_file_is_written_ahead_synchronously_and_keeps_its_references(database: Database):
    names = ("journal_mode", "synchronous", "foreign_keys", "user_version")
    assert [setting(database, name) for name in names] == ["wal", 2, 1, len(MIGRATIONS)]


def test_a_transaction_that_raises_leaves_no_trace(database: Database):
    with pytest.raises(KeyError), database.writing() as db:
        db.execute(OPT_OUT, (1,))
        raise KeyError
    assert opted_out(database) == set()


def test_two_connections_see_what_the_other_has_written(database: Database, path: Path):
    with closing(Database(path)) as other:
        with database.writing() as db:
            db.execute(OPT_OUT, (1,))
            assert opted_out(other) == set()  # not before it is whole
        assert opted_out(other) == {1}


def test_a_locked_file_is_read_but_not_written(
    database: Database, path: Path, caplog: pytest.LogCaptureFixture
):
    with closing(Database(path)) as other, other.writing():
        assert opted_out(database) == set()
        with pytest.raises(RegistryError, match="Try again later"), database.writing():
            pass
        [logged] = caplog.messages
        assert str(path) in logged
        assert "in use by another program" in logged
        with pytest.raises(RegistryError, match=f"{path} is in use by another program"):
            Database(path, busy_timeout_s=0)


def test_a_full_disk_loses_only_what_did_not_fit(
    database: Database, caplog: pytest.LogCaptureFixture
):
    with database.writing() as db:
        db.execute(OPT_OUT, (1,))
    with database.reading() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RegistryError, match="Try again later"), database.writing() as db:
        db.executemany(OPT_OUT, [(user,) for user in range(2, 10_000)])
    assert "the disk is full" in caplog.text
    assert opted_out(database) == {1}
    with database.writing() as db:
        db.execute(OPT_OUT, (2,))


def test_a_closed_file_is_no_raw_error(database: Database):
    database.close()
    with pytest.raises(RegistryError), database.writing():
        pass


def test_a_file_that_cannot_be_written_is_refused(path: Path):
    Database(path).close()
    content = bytearray(path.read_bytes())
    content[18] = 3  # a later write format: SQLite only reads such a file, even for root
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=rf"{path} cannot be written\. Make its folder"):
        Database(path)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path):
    path = tmp_path / "nowhere" / "registry.db"
    with pytest.raises(RegistryError, match=f"{path} cannot be written"):
        Database(path)


@pytest.mark.parametrize("content", [b"no database at all " * 300, "cut off", "overwritten"])
def test_a_damaged_file_is_refused_and_left_as_it_is(path: Path, content: bytes | str):
    with closing(Database(path)) as database, database.writing() as db:
        db.executemany(OPT_OUT, [(user,) for user in range(10_000)])
    if content == "cut off":
        content = path.read_bytes()[:-6000]
    elif content == "overwritten":
        content = path.read_bytes()[:-2048] + b"\xff" * 2048
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=f"{path} is damaged, or no registry at all"):
        Database(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_a_file_of_any_earlier_version_opens_at_the_latest(path: Path, version: int):
    Database(path, MIGRATIONS[:version]).close()
    with closing(Database(path)) as database:
        assert setting(database, "user_version") == len(MIGRATIONS)
    with Registry(path) as registry:
        assert registry.create_job(1, 2, 3, name="a", base="chat", source="#general").id == 1


def test_a_migration_keeps_what_was_there(database: Database, path: Path):
    with database.writing() as db:
        db.execute(OPT_OUT, (1,))
    script = "ALTER TABLE opt_outs ADD COLUMN why TEXT; -- a; comment\nCREATE TABLE extra (id);"
    for _ in "migrated", "opened again":
        with closing(Database(path, (*MIGRATIONS, script))) as migrated:
            assert opted_out(migrated) == {1}
            assert setting(migrated, "user_version") == len(MIGRATIONS) + 1


def test_trainings_of_a_first_version_find_their_bases_by_their_ids(path: Path):
    with closing(Database(path, MIGRATIONS[:1])) as database, database.writing() as db:
        job = (
            "INSERT INTO jobs (guild_id, admin_id, channel_id, name, base, source, state,"
            " created_at) VALUES (10, 1, 5, ?, ?, '#general', ?, 0)"
        )
        db.executemany(job, [("first", "chat", "finished"), ("second", "First", "queued")])
        db.execute("INSERT INTO models VALUES (1, 10, 'first', 0, 1, 1.5, 1.25, 9000, 30)")
    with Registry(path) as registry:
        assert [registry.job(10, n).base_id for n in (1, 2)] == [None, 1]


def test_a_migration_that_fails_changes_nothing(path: Path):
    broken = "CREATE TABLE extra (id);\nINSERT INTO nowhere VALUES (1);\n"
    with pytest.raises(RegistryError, match=f"{path} failed: no such table: nowhere"):
        Database(path, (*MIGRATIONS, broken))
    with closing(Database(path)) as database, database.reading() as db:
        assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'extra'").fetchall()


def test_a_file_of_a_newer_version_is_refused_untouched(path: Path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    content = path.read_bytes()
    with pytest.raises(RegistryError, match=r"has version 99, this bot knows up to \d+\. Update"):
        Database(path)
    assert path.read_bytes() == content


def test_a_process_killed_in_a_transaction_leaves_the_half_behind(path: Path):
    program = f"""
import sys
from pathlib import Path
from bot.database import Database

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
