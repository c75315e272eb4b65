"""What the bot remembers: rows in SQLite, and the files of the servers' models."""
