"""What all cogs share to deal with Discord: replies, buttons, errors, retries, rate limits.

Imports discord.py and bot.errors, and nothing of the features that the cogs offer."""
