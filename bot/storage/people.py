"""Who has opted out, and what is kept about a person."""

from sqlite3 import Connection

from bot.storage.records import KeptAbout, StoredModel, TrainingJob
from bot.storage.table import Table, find_jobs, find_models, reads, writes


class People(Table):
    """Opt-outs, and what follows from them for jobs and models."""

    @writes
    def opt_out(self, db: Connection, user_id: int) -> None:
        """From now on no job may use this person's messages."""
        row = (user_id, self._now())
        db.execute("INSERT OR IGNORE INTO opt_outs VALUES (?, ?)", row)

    @writes
    def opt_in(self, db: Connection, user_id: int) -> None:
        db.execute("DELETE FROM opt_outs WHERE user_id = ?", (user_id,))

    @reads
    def opted_out(self, db: Connection) -> frozenset[int]:
        """The ids of everybody who has opted out."""
        return frozenset(row[0] for row in db.execute("SELECT user_id FROM opt_outs"))

    @reads
    def jobs_using_opted_out(self, db: Connection) -> tuple[TrainingJob, ...]:
        """Unfinished jobs that would learn from somebody who has opted out."""
        query = (
            "SELECT * FROM unfinished_jobs"
            " WHERE id IN (SELECT id FROM authors NATURAL JOIN opt_outs)"
        )
        return find_jobs(db, query)

    @reads
    def models_using_opted_out(self, db: Connection) -> tuple[StoredModel, ...]:
        """Models that learnt from somebody who has opted out since."""
        query = (
            "SELECT * FROM stored_models WHERE id IN (SELECT id FROM authors NATURAL JOIN opt_outs)"
        )
        return find_models(db, query)

    @reads
    def untold_models(self, db: Connection) -> tuple[StoredModel, ...]:
        """Models that learnt from somebody who has opted out, whose admins do not know it yet."""
        query = (
            "SELECT * FROM stored_models"
            " WHERE id IN (SELECT id FROM authors NATURAL JOIN opt_outs WHERE NOT told)"
        )
        return find_models(db, query)

    @writes
    def mark_told(self, db: Connection, model_id: int) -> None:
        """The model's admins know now. They are not told again about the same people."""
        query = (
            "UPDATE authors SET told = TRUE"
            " WHERE id = ? AND user_id IN (SELECT user_id FROM opt_outs)"
        )
        db.execute(query, (model_id,))

    @reads
    def kept_about(self, db: Connection, user_id: int) -> KeptAbout:
        """Everything that is kept about a person."""
        since = db.execute("SELECT since FROM opt_outs WHERE user_id = ?", (user_id,))
        [opted_out_at] = since.fetchone() or [None]
        models = (
            "SELECT * FROM stored_models WHERE id IN (SELECT id FROM authors WHERE user_id = ?)"
            " ORDER BY guild_id, id"
        )
        learning = (
            "SELECT * FROM unfinished_jobs WHERE id IN (SELECT id FROM authors WHERE user_id = ?)"
            " ORDER BY guild_id, id"
        )
        asked_for = "SELECT * FROM jobs WHERE admin_id = ? ORDER BY guild_id, id"
        return KeptAbout(
            opted_out_at,
            find_models(db, models, user_id),
            find_jobs(db, learning, user_id),
            find_jobs(db, asked_for, user_id),
        )
