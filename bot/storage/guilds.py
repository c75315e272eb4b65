"""What a guild has chosen, and whether it has removed the bot."""

from collections import defaultdict
from collections.abc import Collection
from sqlite3 import Connection

from bot.errors import BotError
from bot.storage.records import Mentions
from bot.storage.table import Table, reads, writes

WORDS_LIMIT = 200  # of a guild


class Guilds(Table):
    """The words that the bot never says, the channels where it answers mentions, and removals."""

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

    @reads
    def words(self, db: Connection) -> dict[int, list[str]]:
        """The lists of all guilds that have one, by guild, in alphabetical order."""
        lists = defaultdict[int, list[str]](list)
        for guild_id, word in db.execute("SELECT guild_id, word FROM words ORDER BY word"):
            lists[guild_id].append(word)
        return dict(lists)

    @writes
    def add_words(self, db: Connection, guild_id: int, words: Collection[str]) -> list[str]:
        """The list of the guild with these words. Raises BotError, and adds none, if it would be
        too long."""
        rows = [(guild_id, word) for word in words]
        db.executemany("INSERT OR IGNORE INTO words VALUES (?, ?)", rows)
        if (number := len(now := _words(db, guild_id))) > WORDS_LIMIT:
            raise BotError(
                f"That would make {number} words, and a server's list holds up to {WORDS_LIMIT}. "
                "Nothing was added. Remove words with /words remove.",
                "words",
            )
        return now

    @writes
    def remove_word(self, db: Connection, guild_id: int, word: str) -> list[str]:
        """The list of the guild without the word. Raises BotError if it is not in the list."""
        query = "DELETE FROM words WHERE guild_id = ? AND word = ?"
        if not db.execute(query, (guild_id, word)).rowcount:
            sentence = "That is not in this server's list. /words show shows the list."
            raise BotError(sentence, "not_found")
        return _words(db, guild_id)


def _words(db: Connection, guild_id: int) -> list[str]:
    rows = db.execute("SELECT word FROM words WHERE guild_id = ? ORDER BY word", (guild_id,))
    return [row["word"] for row in rows]
