"""Which model each server uses: trainings, versions, activation, rollback, privacy (SQLite).

A training and the model that comes of it have one number and one folder. The row comes first: a
job is written before anything is done for it, and a model's row goes before its files do. So
after a crash at any moment, `unfinished` are the jobs to resume or to call interrupted, and a
folder that is not among `folders` is a leftover to delete.
"""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, astuple
from pathlib import Path
from sqlite3 import Connection

from bot.errors import BotError, NotFoundError
from bot.storage import rows
from bot.storage.database import Database
from bot.storage.records import (
    GIVEN_UP,
    JobState,
    KeptAbout,
    Scores,
    StoredModel,
    TrainingJob,
    folder_of,
    model_name,
    name_key,
)


class Registry:
    """The bot's memory, in one SQLite file; any thread may call it. Each method is one
    transaction, and what it wrote is on the disk when it returns. What belongs to a guild is
    found only with that guild's id.

    Every method raises RegistryError when the file cannot be read or written; those that take a
    job's or a model's id raise NotFoundError when the guild has none of that id.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        reserved_names: Iterable[str] = (),  # the shipped models': no guild's model has one
    ):
        self._clock = clock
        self._reserved = {name_key(name) for name in reserved_names}
        self._database = Database(path)

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def create_job(
        self,
        guild_id: int,
        admin_id: int,
        channel_id: int,
        *,
        name: str,
        base: str,
        base_id: int | None = None,
        source: str,
        source_channel_id: int | None = None,
        source_messages: int | None = None,
        source_days: int | None = None,
    ) -> TrainingJob:
        """A new job, PREPARING. Raises BotError."""
        with self._database.writing() as db:
            rows.check_alone(db, guild_id)
            name = self._free_name(db, guild_id, name)
            insert = (
                "INSERT INTO jobs (guild_id, admin_id, channel_id, name, base, base_id, source,"
                " source_channel_id, source_messages, source_days, created_at, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'preparing') RETURNING *"
            )
            texts = source, source_channel_id, source_messages, source_days
            values = guild_id, admin_id, channel_id, name, base, base_id, *texts, self._now()
            return rows.jobs(db, insert, *values)[0]

    def enqueue(self, guild_id: int, job_id: int, authors: Collection[int] = ()) -> TrainingJob:
        """Train was pressed, or an interrupted job is to go on. `authors` are the ids of those
        whose texts it learns from; an interrupted job keeps those it has. Raises BotError
        when its state does not allow it, another job is active, or its name was taken meanwhile."""
        with self._database.writing() as db:
            job = rows.find_job(db, guild_id, job_id)
            rows.check_alone(db, guild_id, job_id)
            self._free_name(db, guild_id, job.name, job_id)
            db.executemany(
                "INSERT OR IGNORE INTO authors VALUES (?, ?)", [(job_id, a) for a in authors]
            )
            return self._move(db, job, JobState.QUEUED)

    def requeue(self, guild_id: int, job_id: int) -> TrainingJob:
        """It was TRAINING when the bot ended, and goes on in its place. Raises BotError."""
        with self._database.writing() as db:
            job = self._move(db, rows.find_job(db, guild_id, job_id), JobState.INTERRUPTED)
            return self._move(db, job, JobState.QUEUED)

    def start_next(self, limit: int) -> TrainingJob | None:
        """The job that has waited longest, now TRAINING; None when none waits, or when `limit`
        jobs train already."""
        with self._database.writing() as db:
            count = db.execute("SELECT count(*) FROM jobs WHERE state = 'training'")
            waiting = rows.queue(db)
            if not waiting or count.fetchone()[0] >= limit:
                return None
            return self._move(db, waiting[0], JobState.TRAINING)

    def finish(self, guild_id: int, job_id: int, scores: Scores, size_bytes: int) -> StoredModel:
        """The job's folder holds a whole model: it is the guild's now, as a candidate. Raises
        BotError."""
        with self._database.writing() as db:
            job = self._move(db, rows.find_job(db, guild_id, job_id), JobState.FINISHED)
            row = (job.id, guild_id, job.name, self._now(), size_bytes, *astuple(scores))
            db.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            return rows.find_model(db, guild_id, job_id)

    def interrupt(self, guild_id: int, job_id: int, why: str = "") -> TrainingJob:
        """It has stopped, and can go on from its checkpoint. `why` is a sentence for people. Raises
        BotError."""
        with self._database.writing() as db:
            return self._move(db, rows.find_job(db, guild_id, job_id), JobState.INTERRUPTED, why)

    def fail(self, guild_id: int, job_id: int, why: str) -> TrainingJob:
        """Raises BotError."""
        with self._database.writing() as db:
            return self._move(db, rows.find_job(db, guild_id, job_id), JobState.FAILED, why)

    def cancel(self, guild_id: int, job_id: int, why: str = "") -> TrainingJob:
        """Raises BotError."""
        with self._database.writing() as db:
            return self._move(db, rows.find_job(db, guild_id, job_id), JobState.CANCELLED, why)

    def mark_shown(self, guild_id: int, job_id: int) -> None:
        """The job's end has been shown, if there still is such a job."""
        with self._database.writing() as db:
            shown = "UPDATE jobs SET shown = TRUE WHERE guild_id = ? AND id = ?"
            db.execute(shown, (guild_id, job_id))

    def show_in(self, guild_id: int, job_id: int, channel_id: int, message_id: int) -> TrainingJob:
        """From now on the job's progress is shown in this message."""
        with self._database.writing() as db:
            rows.find_job(db, guild_id, job_id)
            where = (channel_id, message_id, job_id)
            db.execute("UPDATE jobs SET channel_id = ?, message_id = ? WHERE id = ?", where)
            return rows.find_job(db, guild_id, job_id)

    def job(self, guild_id: int, job_id: int) -> TrainingJob:
        with self._database.reading() as db:
            return rows.find_job(db, guild_id, job_id)

    def queue(self) -> tuple[TrainingJob, ...]:
        """The jobs of all guilds that wait, the next one first."""
        with self._database.reading() as db:
            return rows.queue(db)

    def unfinished(self) -> tuple[TrainingJob, ...]:
        """The jobs of all guilds that are PREPARING, QUEUED, TRAINING or INTERRUPTED. Right after
        a start, what the first three say is what was so when the bot died."""
        with self._database.reading() as db:
            return rows.jobs(db, "SELECT * FROM unfinished_jobs ORDER BY id")

    def unshown(self) -> tuple[TrainingJob, ...]:
        """The jobs of all guilds that have ended and of which that has not been shown."""
        with self._database.reading() as db:
            return rows.jobs(db, "SELECT * FROM jobs WHERE NOT shown ORDER BY id")

    def models(self, guild_id: int) -> tuple[StoredModel, ...]:
        """The guild's models, the oldest first."""
        with self._database.reading() as db:
            query = "SELECT * FROM stored_models WHERE guild_id = ? ORDER BY id"
            return rows.models(db, query, guild_id)

    def model(self, guild_id: int, model_id: int) -> StoredModel:
        with self._database.reading() as db:
            return rows.find_model(db, guild_id, model_id)

    def model_named(self, guild_id: int, name: str) -> StoredModel:
        """Raises NotFoundError."""
        for model in self.models(guild_id):
            if name_key(model.name) == name_key(name):
                return model
        raise NotFoundError("model")

    def learnt_from(self, model_id: int) -> frozenset[int]:
        """The ids of those whose texts a model has learnt from; none where it is gone."""
        with self._database.reading() as db:
            query = "SELECT user_id FROM authors WHERE id = ?"
            return frozenset(row[0] for row in db.execute(query, (model_id,)))

    def model_in_use(self, guild_id: int) -> StoredModel | None:
        """None stands for the default."""
        with self._database.reading() as db:
            return rows.model_in_use(db, guild_id)

    def use(self, guild_id: int, model_id: int) -> StoredModel:
        with self._database.writing() as db:
            rows.find_model(db, guild_id, model_id)
            put = "INSERT INTO activations (guild_id, model_id) VALUES (?, ?)"
            db.execute(put, (guild_id, model_id))
            return rows.find_model(db, guild_id, model_id)

    def roll_back(self, guild_id: int, model_id: int) -> StoredModel | None:
        """Use again what was in use before this model, and return it; None when that was the
        default. The model stays, as a candidate. Raises BotError."""
        with self._database.writing() as db:
            model = rows.find_model(db, guild_id, model_id)
            if not model.in_use:
                raise BotError(
                    f"{model.name} is not in use. /models shows which one is.", kind="not_in_use"
                )
            # The same one may be there twice in a row: used twice, or the one between deleted.
            db.execute(
                "DELETE FROM activations WHERE guild_id = :guild AND id > ("
                " SELECT coalesce(max(id), 0) FROM activations"
                " WHERE guild_id = :guild AND model_id != :model)",
                {"guild": guild_id, "model": model_id},
            )
            return rows.model_in_use(db, guild_id)

    def rename(self, guild_id: int, model_id: int, name: str) -> StoredModel:
        """Raises BotError."""
        with self._database.writing() as db:
            rows.find_model(db, guild_id, model_id)
            name = self._free_name(db, guild_id, name, model_id)
            db.execute("UPDATE models SET name = ? WHERE id = ?", (name, model_id))
            return rows.find_model(db, guild_id, model_id)

    def delete(self, guild_id: int, model_id: int, discard: bool = False) -> StoredModel:
        """Forget a model, and return it: its folder is to be deleted. When it was in use, what was
        in use before is so again; but if it is to be discarded, raises BotError."""
        with self._database.writing() as db:
            model = rows.find_model(db, guild_id, model_id)
            if discard and model.in_use:
                raise BotError(
                    f"{model.name} is in use. Roll back first; or delete it, with /models.",
                    kind="in_use",
                )
            db.execute("DELETE FROM models WHERE id = ?", (model_id,))
            db.execute("DELETE FROM authors WHERE id = ?", (model_id,))
            return model

    def folders(self) -> frozenset[str]:
        """The folders of all guilds' models and unfinished jobs: no others are to be kept."""
        with self._database.reading() as db:
            query = "SELECT guild_id, id FROM models UNION SELECT guild_id, id FROM unfinished_jobs"
            return frozenset(folder_of(*row) for row in db.execute(query))

    def opt_out(self, user_id: int) -> None:
        """From now on nothing may learn from what this person writes."""
        with self._database.writing() as db:
            db.execute("INSERT OR IGNORE INTO opt_outs VALUES (?, ?)", (user_id, self._now()))

    def opt_in(self, user_id: int) -> None:
        with self._database.writing() as db:
            db.execute("DELETE FROM opt_outs WHERE user_id = ?", (user_id,))

    def opted_out(self) -> frozenset[int]:
        """The ids of all who have opted out."""
        with self._database.reading() as db:
            return frozenset(row[0] for row in db.execute("SELECT user_id FROM opt_outs"))

    def kept_about(self, user_id: int) -> KeptAbout:
        """What a person is told who asks, and what still holds their texts when they opt out."""
        with self._database.reading() as db:
            since = db.execute("SELECT since FROM opt_outs WHERE user_id = ?", (user_id,))
            [opted_out_at] = since.fetchone() or [None]
            asked_for = "SELECT * FROM jobs WHERE admin_id = ? ORDER BY guild_id, id"
            return KeptAbout(
                opted_out_at,
                rows.models_with(db, user_id),
                rows.unfinished_with(db, user_id),
                rows.jobs(db, asked_for, user_id),
            )

    def guilds(self) -> frozenset[int]:
        """The guilds of which anything is kept."""
        with self._database.reading() as db:
            query = "SELECT guild_id FROM jobs UNION SELECT guild_id FROM removals"
            return frozenset(row[0] for row in db.execute(query))

    def mark_removed(self, guild_id: int) -> None:
        """The bot was removed from the guild; said twice, the first time counts."""
        with self._database.writing() as db:
            db.execute("INSERT OR IGNORE INTO removals VALUES (?, ?)", (guild_id, self._now()))

    def mark_present(self, guild_id: int) -> None:
        """The bot is in the guild, perhaps again."""
        with self._database.writing() as db:
            db.execute("DELETE FROM removals WHERE guild_id = ?", (guild_id,))

    def guilds_to_forget(self, grace_s: int) -> tuple[int, ...]:
        """The guilds that the bot was removed from `grace_s` seconds ago or earlier."""
        with self._database.reading() as db:
            query = "SELECT guild_id FROM removals WHERE removed_at <= ?"
            return tuple(row[0] for row in db.execute(query, (self._now() - grace_s,)))

    def forget_guild(self, guild_id: int) -> str | None:
        """Forget all that is kept of a guild that has removed the bot. Returns the folder to
        delete, with all that is in it; None, and forgets nothing, when the bot is there again."""
        with self._database.writing() as db:
            removed = db.execute("DELETE FROM removals WHERE guild_id = ?", (guild_id,))
            if not removed.rowcount:
                return None
            db.execute("DELETE FROM jobs WHERE guild_id = ?", (guild_id,))
            return folder_of(guild_id)

    def _now(self) -> int:
        return int(self._clock())

    def _move(
        self, db: Connection, job: TrainingJob, state: JobState, ending: str | None = None
    ) -> TrainingJob:
        moved = job.moved(state, self._now(), ending)
        db.execute(
            "UPDATE jobs SET state = :state, queued_at = :queued_at, started_at = :started_at,"
            " ended_at = :ended_at, ending = :ending, shown = :shown,"
            " failure = iif(:state = 'failed', :ending, NULL) WHERE id = :id",
            asdict(moved),
        )
        if state in GIVEN_UP:
            db.execute("DELETE FROM authors WHERE id = ?", (job.id,))
        return moved

    def _free_name(self, db: Connection, guild_id: int, name: str, own_id: int = 0) -> str:
        """The name as it is kept. Those of the guild's active job and models are taken, but for
        what `own_id` has."""
        name = model_name(name)
        if name_key(name) in self._reserved:
            raise BotError(f"{name} is a model that I came with. Choose another name.", kind="name")
        taken = db.execute(
            "SELECT name FROM models WHERE guild_id = :guild AND id != :own"
            " UNION SELECT name FROM active_jobs WHERE guild_id = :guild AND id != :own",
            {"guild": guild_id, "own": own_id},
        )
        if name_key(name) in {name_key(row["name"]) for row in taken}:
            raise BotError(
                f"This server has a model {name} already. Choose another name.", kind="name"
            )
        return name
