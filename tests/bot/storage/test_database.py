import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import RegistryError
from bot.storage.database import VERSION, Database, inspect
from bot.storage.records import Sample
from bot.storage.registry import Registry
from tests.bot.guilds import ANN, GLOBE, SCORES, SOURCE

VERSION_4 = Path(__file__).with_name("version_4.sql")
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
        with pytest.raises(RegistryError, match=f"{path} is in use by another program"):
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
    with pytest.raises(RegistryError, match=rf"{path} cannot be written\. Create its folder"):
        Database(path)


@either_opens
def test_a_missing_folder_is_named(tmp_path: Path, opens: Callable[[Path], object]):
    path = tmp_path / "nowhere" / "registry.db"
    with pytest.raises(RegistryError, match=f"{path} cannot be written"):
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
    with pytest.raises(RegistryError, match=f"{path} is damaged, or is not a registry"):
        opens(path)
    assert path.read_bytes() == content


@either_opens
@pytest.mark.parametrize(("version", "remedy"), [(3, "Move it away"), (99, "Update")])
def test_a_file_of_another_version_is_refused_and_left_as_it_is(
    path: Path, opens: Callable[[Path], object], version: int, remedy: str
):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    content = path.read_bytes()
    expected = f"has version {version}, and this bot reads version {VERSION}. {remedy}"
    with pytest.raises(RegistryError, match=expected):
        opens(path)
    assert path.read_bytes() == content


def layout(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The columns of each table and view: number, name, type, constraints."""
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema")]
        return {name: db.execute(f"PRAGMA table_info({name})").fetchall() for name in names}


@pytest.fixture
def version_4(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_4.read_text())
    return path


async def test_models_of_version_4_are_kept(version_4: Path):
    inspect(version_4)
    for _ in range(2):  # upgraded, and opened again
        with closing(Registry(version_4)) as registry:
            model = await registry.model_in_use(GLOBE)
            assert (model.name, model.source) == ("mine", SOURCE)
            assert model.scores == replace(
                SCORES, voice=None, standard_error=None, voice_error=None
            )
            assert model.samples == (Sample("hi", "before", "after"),)
            assert (await registry.kept_about(ANN)).models == (model,)
            job = await registry.job(GLOBE, model.id)
            assert job.ready_at == job.created_at


def test_an_upgraded_file_is_like_a_new_one(version_4: Path, tmp_path: Path):
    Database(version_4).close()
    Database(tmp_path / "new.db").close()
    assert layout(version_4) == layout(tmp_path / "new.db")


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(version_4: Path):
    with closing(sqlite3.connect(version_4)) as connection:
        connection.execute("DROP VIEW stored_models")  # one step needs it, after another succeeded
    before = layout(version_4)
    with pytest.raises(RegistryError, match="no such view"):
        Database(version_4)
    assert layout(version_4) == before


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
