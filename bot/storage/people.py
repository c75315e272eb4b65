"""Who has opted out, what is kept about a person, where mentions are answered, and which guilds
removed the bot."""

from collections.abc import Collection
from sqlite3 import Connection

from bot.storage.records import KeptAbout, Mentions, StoredModel, TrainingJob
from bot.storage.table import Table, find_jobs, find_models, reads, writes


class People(Table):
    """Opt-outs and removals, and what follows from them for jobs and models; and mentions."""

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

    @reads
    def mentions(self, db: Connection, guild_id: int) -> Mentions:
        """Where in the guild mentions are answered."""
        query = "SELECT channel_id, answered FROM mentions WHERE guild_id = ? ORDER BY channel_id"
        channels = {
            row["channel_id"]: bool(row["answered"]) for row in db.execute(query, (guild_id,))
        }
        return Mentions(channels.pop(0, False), channels)

    @writes
    def answer_mentions(
        self, db: Connection, guild_id: int, channel_id: int | None, answered: bool
    ) -> None:
        """Answer mentions in a channel from now on, or do not; None: in every channel."""
        if channel_id is None:
            db.execute("DELETE FROM mentions WHERE guild_id = ?", (guild_id,))
        row = (guild_id, channel_id or 0, answered)
        db.execute("INSERT OR REPLACE INTO mentions VALUES (?, ?, ?)", row)

    @writes
    def mark_removed(self, db: Connection, guild_id: int) -> None:
        """The bot was removed from the guild. Only the first call sets the time."""
        db.execute("INSERT OR IGNORE INTO removals VALUES (?, ?)", (guild_id, self._now()))

    @writes
    def mark_present(self, db: Connection, guild_id: int) -> None:
        """The bot is in the guild, perhaps again."""
        db.execute("DELETE FROM removals WHERE guild_id = ?", (guild_id,))

    @writes
    def mark_guilds(self, db: Connection, present: Collection[int]) -> tuple[int, ...]:
        """Mark every known guild as present or removed, and return those that are removed: the bot
        may have been away when it was removed from one."""
        tables = ("jobs", "mentions", "words", "removals")
        query = " UNION ".join(f"SELECT guild_id FROM {table}" for table in tables)  # noqa: S608
        known = {row[0] for row in db.execute(query)}
        here, gone = known & set(present), known - set(present)
        db.executemany("DELETE FROM removals WHERE guild_id = ?", [(guild,) for guild in here])
        rows = [(guild, self._now()) for guild in gone]
        db.executemany("INSERT OR IGNORE INTO removals VALUES (?, ?)", rows)
        return tuple(sorted(gone))

    @reads
    def guilds_to_forget(self, db: Connection, grace_s: int) -> tuple[int, ...]:
        """The guilds that removed the bot `grace_s` seconds ago or earlier."""
        query = "SELECT guild_id FROM removals WHERE removed_at <= ?"
        return tuple(row[0] for row in db.execute(query, (self._now() - grace_s,)))

    @writes
    def forget_guild(self, db: Connection, guild_id: int) -> tuple[int, ...] | None:
        """Forget everything about a guild that removed the bot, and return the ids of its jobs, so
        that their files can be deleted. None, and nothing is forgotten, if the bot is back."""
        removed = db.execute("DELETE FROM removals WHERE guild_id = ?", (guild_id,))
        if not removed.rowcount:
            return None
        db.execute("DELETE FROM mentions WHERE guild_id = ?", (guild_id,))
        db.execute("DELETE FROM words WHERE guild_id = ?", (guild_id,))
        ids = db.execute("DELETE FROM jobs WHERE guild_id = ? RETURNING id", (guild_id,))
        return tuple(row[0] for row in ids)
