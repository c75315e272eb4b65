"""What a job learns from: a channel or an uploaded file, cleaned and written to a text file.

Imports `bot.storage`, `bot.interactions` and `bot.errors` of the bot, and `charrnn.text`.
"""
