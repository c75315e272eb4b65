"""Training jobs in the registry."""

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, astuple
from sqlite3 import Connection

from bot.errors import BotError
from bot.storage.records import (
    GIVEN_UP,
    NEXT_STATES,
    JobState,
    Scores,
    Shown,
    Source,
    Speed,
    StoredModel,
    TextCounts,
    TrainingJob,
)
from bot.storage.table import Table, find_jobs, find_model, get_job, get_model, reads, writes


class Jobs(Table):
    """The jobs of all guilds, in every state."""

    @writes
    def create_job(
        self,
        db: Connection,
        guild_id: int,
        admin_id: int,
        channel_id: int,
        *,
        name: str,
        base: str,
        base_id: int | None = None,
        source: Source,
    ) -> TrainingJob:
        """A new job, READING. It learns from the authors of its base, too. Raises BotError when the
        guild has an active job or the name is taken or invalid."""
        _check_alone(db, guild_id)
        values = {
            "guild_id": guild_id,
            "admin_id": admin_id,
            "channel_id": channel_id,
            "name": self._free_name(db, guild_id, name),
            "base": base,
            "base_id": base_id,
            **{f"source_{field}": value for field, value in asdict(source).items()},
            "source_channel_ids": json.dumps(source.channel_ids),
            "created_at": self._now(),
            "state": JobState.READING,
        }
        columns, places = ", ".join(values), ", ".join("?" * len(values))
        query = f"INSERT INTO jobs ({columns}) VALUES ({places}) RETURNING *"  # noqa: S608 - ours
        [job] = find_jobs(db, query, *values.values())
        db.execute(
            "INSERT INTO authors (id, user_id) SELECT ?, user_id FROM authors WHERE id = ?",
            (job.id, base_id),
        )
        return job

    @writes
    def ready(
        self,
        db: Connection,
        guild_id: int,
        job_id: int,
        counts: TextCounts,
        authors: Collection[int],
        estimate_s: int,
    ) -> TrainingJob:
        """The job's text is there. `authors`: ids of the people whose messages are in it."""
        job = get_job(db, guild_id, job_id)
        values = (counts.to_json(), estimate_s, job_id)
        db.execute("UPDATE jobs SET counts = ?, estimate_s = ? WHERE id = ?", values)
        rows = [(job_id, author) for author in authors]
        db.executemany("INSERT OR IGNORE INTO authors (id, user_id) VALUES (?, ?)", rows)
        return self._move(db, job, JobState.READY)

    @writes
    def enqueue(self, db: Connection, guild_id: int, job_id: int) -> TrainingJob:
        """Train or Resume was pressed. Raises BotError also when another job became active, or when
        the name was taken meanwhile."""
        job = get_job(db, guild_id, job_id)
        _check_alone(db, guild_id, job_id)
        self._free_name(db, guild_id, job.name, job_id)
        return self._move(db, job, JobState.QUEUED)

    @writes
    def requeue(self, db: Connection, guild_id: int, job_id: int) -> TrainingJob:
        """The job was TRAINING when the bot ended. It keeps its place in the queue."""
        job = self._move(db, get_job(db, guild_id, job_id), JobState.INTERRUPTED)
        return self._move(db, job, JobState.QUEUED)

    @writes
    def start_next(self, db: Connection) -> TrainingJob | None:
        """The job that has waited longest, now TRAINING. None when none waits."""
        waiting = find_jobs(db, "SELECT * FROM jobs WHERE state = 'queued' ORDER BY queued_at, id")
        return self._move(db, waiting[0], JobState.TRAINING) if waiting else None

    @writes
    def finish(
        self, db: Connection, guild_id: int, job_id: int, scores: Scores, size_bytes: int
    ) -> StoredModel:
        """The job's folder holds a whole model, which is now the guild's candidate."""
        job = self._move(db, get_job(db, guild_id, job_id), JobState.FINISHED)
        row = (job.id, guild_id, job.name, self._now(), size_bytes, *astuple(scores))
        db.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?)", row)
        return get_model(db, guild_id, job_id)

    @writes
    def end(
        self, db: Connection, guild_id: int, job_id: int, state: JobState, ending: str
    ) -> TrainingJob:
        """The job is INTERRUPTED, FAILED or CANCELLED. `ending` says why, for people."""
        return self._move(db, get_job(db, guild_id, job_id), state, ending)

    @writes
    def mark_shown(
        self, db: Connection, guild_id: int, job_id: int, model: StoredModel | None = None
    ) -> None:
        """The job's end has been shown, with `model`, or never can be. Nothing happens if the model
        has changed meanwhile, or the job goes on."""
        if find_model(db, guild_id, job_id) == model:
            db.execute(
                "UPDATE jobs SET shown = ? WHERE guild_id = ? AND id = ? AND ended_at IS NOT NULL",
                (Shown.YES, guild_id, job_id),
            )

    @writes
    def show_in(
        self, db: Connection, guild_id: int, job_id: int, channel_id: int, message_id: int
    ) -> TrainingJob:
        """From now on the job is shown in this message."""
        where = (channel_id, message_id, guild_id, job_id)
        query = "UPDATE jobs SET channel_id = ?, message_id = ? WHERE guild_id = ? AND id = ?"
        db.execute(query, where)
        return get_job(db, guild_id, job_id)

    @reads
    def job(self, db: Connection, guild_id: int, job_id: int) -> TrainingJob:
        return get_job(db, guild_id, job_id)

    @reads
    def unfinished(self, db: Connection) -> tuple[TrainingJob, ...]:
        """The jobs of all guilds that are READING, READY, QUEUED, TRAINING or INTERRUPTED."""
        return find_jobs(db, "SELECT * FROM unfinished_jobs ORDER BY id")

    @reads
    def jobs_to_show(self, db: Connection) -> tuple[TrainingJob, ...]:
        """The jobs of all guilds that are active, or whose message does not show how they ended.
        Queued jobs come in the order in which they will start."""
        query = "SELECT * FROM jobs WHERE shown != 1 ORDER BY coalesce(queued_at, created_at), id"
        return find_jobs(db, query)

    @reads
    def jobs_to_follow(self, db: Connection) -> tuple[TrainingJob, ...]:
        """The same, and the jobs that are INTERRUPTED."""
        return find_jobs(db, "SELECT * FROM jobs WHERE shown != 1 OR state = 'interrupted'")

    @reads
    def count_jobs(self, db: Connection) -> Counter[JobState]:
        """How many jobs `jobs_to_show` returns, by state."""
        query = "SELECT state, count(*) FROM jobs WHERE shown != 1 GROUP BY state"
        return Counter({JobState(state): count for state, count in db.execute(query)})

    @writes
    def save_speed(self, db: Connection, parameters: int, threads: int, speed: Speed) -> None:
        """The latest speed of training a base of this many parameters on this many threads."""
        row = (parameters, threads, *astuple(speed))
        db.execute("INSERT OR REPLACE INTO speeds VALUES (?, ?, ?, ?)", row)

    @reads
    def speed(self, db: Connection, parameters: int, threads: int) -> Speed | None:
        """The speed to expect, from what was measured with the most similar base: the time is
        proportional to the parameters. None before the first training."""
        query = "SELECT * FROM speeds ORDER BY threads = ? DESC, abs(parameters - ?) LIMIT 1"
        for row in db.execute(query, (threads, parameters)):
            times = parameters / row["parameters"]
            return Speed(row["characters_per_second"] / times, row["measuring_s"] * times)
        return None

    def _move(
        self, db: Connection, job: TrainingJob, state: JobState, ending: str | None = None
    ) -> TrainingJob:
        if state not in NEXT_STATES[job.state]:
            raise BotError(
                f"Too late: this training is marked as {job.state}. /retrain shows what is under "
                "way, and /models what has been made.",
                "job_state",
            )
        active = state in (JobState.READY, JobState.QUEUED, JobState.TRAINING)
        db.execute(
            "UPDATE jobs SET state = :state, ending = :ending, shown = 0,"
            " queued_at = iif(:state = 'queued', coalesce(queued_at, :now), queued_at),"
            " ready_at = iif(:state = 'ready', :now, ready_at),"
            " ended_at = iif(:active, NULL, :now) WHERE id = :id",
            {
                "state": state,
                "ending": ending,
                "now": self._now(),
                "active": active,
                "id": job.id,
            },
        )
        if state in GIVEN_UP:
            db.execute("DELETE FROM authors WHERE id = ?", (job.id,))
        return get_job(db, job.guild_id, job.id)


def _check_alone(db: Connection, guild_id: int, own_id: int = 0) -> None:
    query = "SELECT * FROM active_jobs WHERE guild_id = ? AND id != ?"
    for job in find_jobs(db, query, guild_id, own_id):
        raise BotError(
            f"This server is already training {job.name}. Wait until that is done, or cancel it.",
            "job_exists",
        )
