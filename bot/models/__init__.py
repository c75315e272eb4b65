"""The models that a server writes with: which there are, which is in use, which are in memory.

Imports `bot.storage`, `bot.interactions` and `bot.errors` of the bot, and the core of `charrnn`.
"""
