"""Transactions in threads, and rows as records: what the registry's parts share."""

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import fields
from sqlite3 import Connection, Row
from typing import Any, Concatenate, ParamSpec, TypeVar

from bot.errors import BotError, not_found
from bot.storage.database import Database
from bot.storage.records import (
    JobState,
    Sample,
    Scores,
    Shown,
    Source,
    StoredModel,
    TextCounts,
    TrainingJob,
    model_name,
    name_key,
)

S = TypeVar("S", bound="Table")
P = ParamSpec("P")
T = TypeVar("T")
Method = Callable[Concatenate[S, Connection, P], T]
AsyncMethod = Callable[Concatenate[S, P], Coroutine[Any, Any, T]]


class Table:
    """A part of the registry."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],  # seconds since 1970
        reserved_names: Iterable[str],
    ):
        self.database = database
        self._clock = clock
        self._reserved = {name_key(name) for name in reserved_names}

    def _now(self) -> int:
        return int(self._clock())

    def _free_name(self, db: Connection, guild_id: int, name: str, own_id: int = 0) -> str:
        """The name in the form in which it is kept. `own_id` may keep the name it has."""
        name = model_name(name)
        if name_key(name) in self._reserved:
            raise BotError(f"{name} is a model that every server has. Choose another name.", "name")
        if name_key(name) in taken_names(db, guild_id, own_id):
            raise BotError(f"This server already has a model {name}. Choose another name.", "name")
        return name


def writes(method: Method[S, P, T]) -> AsyncMethod[S, P, T]:
    """Run `method` in a thread, in one transaction that is on the disk when it returns."""

    def run(table: S, *args: P.args, **kwargs: P.kwargs) -> T:
        with table.database.writing() as db:
            return method(table, db, *args, **kwargs)

    return _in_thread(method, run)


def reads(method: Method[S, P, T]) -> AsyncMethod[S, P, T]:
    """Run `method` in a thread, in one transaction, so that all it reads is of one moment."""

    def run(table: S, *args: P.args, **kwargs: P.kwargs) -> T:
        with table.database.reading() as db:
            return method(table, db, *args, **kwargs)

    return _in_thread(method, run)


def _in_thread(
    method: Method[S, P, T], run: Callable[Concatenate[S, P], T]
) -> AsyncMethod[S, P, T]:
    @functools.wraps(method)
    async def call(table: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(run, table, *args, **kwargs)

    return call


def taken_names(db: Connection, guild_id: int, own_id: int = 0) -> set[str]:
    """Keys of the names that the guild's models and active job have."""
    query = (
        "SELECT name FROM models WHERE guild_id = :guild AND id != :own"
        " UNION SELECT name FROM active_jobs WHERE guild_id = :guild AND id != :own"
    )
    rows = db.execute(query, {"guild": guild_id, "own": own_id})
    return {name_key(row["name"]) for row in rows}


def get_job(db: Connection, guild_id: int, job_id: int) -> TrainingJob:
    for job in find_jobs(db, "SELECT * FROM jobs WHERE guild_id = ? AND id = ?", guild_id, job_id):
        return job
    raise not_found("training")


def get_model(db: Connection, guild_id: int, model_id: int) -> StoredModel:
    if model := find_model(db, guild_id, model_id):
        return model
    raise not_found("model")


def find_model(db: Connection, guild_id: int, model_id: int) -> StoredModel | None:
    query = "SELECT * FROM stored_models WHERE guild_id = ? AND id = ?"
    return next(iter(find_models(db, query, guild_id, model_id)), None)


def find_jobs(db: Connection, query: str, *parameters: Any) -> tuple[TrainingJob, ...]:
    return tuple(_job_of(row) for row in db.execute(query, parameters))


def find_models(db: Connection, query: str, *parameters: Any) -> tuple[StoredModel, ...]:
    return tuple(_model_of(row) for row in db.execute(query, parameters))


def _job_of(row: Row) -> TrainingJob:
    columns = dict(row)
    source, counts = _source(columns), columns.pop("counts")
    return TrainingJob(
        **columns
        | {
            "source": source,
            "counts": TextCounts.from_json(counts) if counts else None,
            "state": JobState(row["state"]),
            "shown": Shown(row["shown"]),
        }
    )


def _model_of(row: Row) -> StoredModel:
    columns = dict(row)
    source, samples = _source(columns), columns.pop("samples")
    scores = Scores(**{field.name: columns.pop(field.name) for field in fields(Scores)})
    return StoredModel(
        **columns
        | {
            "source": source,
            "scores": scores,
            "samples": None if samples is None else tuple(Sample(*s) for s in json.loads(samples)),
            "in_use": bool(row["in_use"]),
        }
    )


def _source(columns: dict[str, Any]) -> Source:
    """Take the columns of a source out of a row."""
    values = {field.name: columns.pop(f"source_{field.name}") for field in fields(Source)}
    values["channel_ids"] = tuple(json.loads(values["channel_ids"]))
    return Source(**values)
