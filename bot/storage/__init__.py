"""What the bot remembers: rows in SQLite, and the files of the servers' models.

Imports `bot.errors` and `charrnn`, nothing else of the bot. The only importer of sqlite3.
"""
