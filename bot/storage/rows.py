"""Rows of the registry's tables -> records, for the transactions of `bot.registry`."""

from dataclasses import fields
from sqlite3 import Connection, Row

from bot.errors import BotError, NotFoundError
from bot.storage.records import JobState, Scores, StoredModel, TrainingJob

UNDER_WAY = (
    "This server has a training under way already, of {}. Wait until it is done, or cancel it."
)


def jobs(db: Connection, query: str, *parameters: int | str | None) -> tuple[TrainingJob, ...]:
    return tuple(_job(row) for row in db.execute(query, parameters))


def models(db: Connection, query: str, *parameters: int | str) -> tuple[StoredModel, ...]:
    return tuple(_model(row) for row in db.execute(query, parameters))


def find_job(db: Connection, guild_id: int, job_id: int) -> TrainingJob:
    query = "SELECT * FROM jobs WHERE guild_id = ? AND id = ?"
    for job in jobs(db, query, guild_id, job_id):
        return job
    raise NotFoundError("training")


def find_model(db: Connection, guild_id: int, model_id: int) -> StoredModel:
    query = "SELECT * FROM stored_models WHERE guild_id = ? AND id = ?"
    for model in models(db, query, guild_id, model_id):
        return model
    raise NotFoundError("model")


def model_in_use(db: Connection, guild_id: int) -> StoredModel | None:
    query = "SELECT * FROM stored_models WHERE guild_id = ? AND in_use"
    return next(iter(models(db, query, guild_id)), None)


def queue(db: Connection) -> tuple[TrainingJob, ...]:
    return jobs(db, "SELECT * FROM jobs WHERE state = 'queued' ORDER BY queued_at, id")


def models_with(db: Connection, user_id: int) -> tuple[StoredModel, ...]:
    query = (
        "SELECT * FROM stored_models WHERE id IN (SELECT id FROM authors WHERE user_id = ?)"
        " ORDER BY guild_id, id"
    )
    return models(db, query, user_id)


def unfinished_with(db: Connection, user_id: int) -> tuple[TrainingJob, ...]:
    query = (
        "SELECT * FROM unfinished_jobs WHERE id IN (SELECT id FROM authors WHERE user_id = ?)"
        " ORDER BY guild_id, id"
    )
    return jobs(db, query, user_id)


def check_alone(db: Connection, guild_id: int, own_id: int = 0) -> None:
    """Raises BotError when another job of the guild is active."""
    query = "SELECT * FROM active_jobs WHERE guild_id = ? AND id != ?"
    for job in jobs(db, query, guild_id, own_id):
        raise BotError(UNDER_WAY.format(job.name), kind="job_exists")


def _job(row: Row) -> TrainingJob:
    columns = dict(row)
    del columns["failure"]  # of the first version; `ending` says it, too
    changed = {"state": JobState(row["state"]), "shown": bool(row["shown"])}
    return TrainingJob(**columns | changed)


def _model(row: Row) -> StoredModel:
    columns = dict(row)
    scores = Scores(**{field.name: columns.pop(field.name) for field in fields(Scores)})
    return StoredModel(**{**columns, "in_use": bool(row["in_use"]), "scores": scores})
