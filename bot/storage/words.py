"""The words that the bot never says in a guild."""

from collections import defaultdict
from collections.abc import Collection
from sqlite3 import Connection

from bot.errors import BotError
from bot.storage.table import Table, reads, writes

WORDS_LIMIT = 200  # of a guild


class Words(Table):
    """The list of each guild, in alphabetical order."""

    @reads
    def words(self, db: Connection) -> dict[int, list[str]]:
        """The lists of all guilds that have one, by guild."""
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
