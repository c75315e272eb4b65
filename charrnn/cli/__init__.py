"""The command line, and how it shows results.

Only `backend` imports TensorFlow, and only for commands that need it.
"""
