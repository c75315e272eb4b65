"""Training jobs, from a text to a model: what runs, what is shown of it, and the training process.

Imports `bot.inference`, `bot.corpus`, `bot.models`, `bot.privacy` and the layers below them, and of
`charrnn.training` only what needs no TensorFlow.
"""
