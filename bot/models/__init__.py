"""The models that a server writes with: which there are, which is in use, which are in memory.

Imports bot.storage, bot.interactions and bot.errors, and the parts of charrnn that write."""
