"""The commands and buttons, one file per feature: read the interaction, call a service, reply.

Imports everything of the bot but `bot.client`, `bot.operations` and `bot.dask`. Nothing here
touches files, SQL or arrays.
"""
