"""A training run: its loop, what is measured after each epoch, and its checkpoints.

`checkpoint` and `state` need no Keras, so that the bot can import them.
"""
