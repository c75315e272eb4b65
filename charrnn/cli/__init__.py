"""The command line, and how it shows results: the only importer of Typer and Rich.

It may import everything else in `charrnn`. Only `backend` imports TensorFlow, and only for commands
that need it.
"""
