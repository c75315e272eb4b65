"""The Discord bot. `python -m bot` runs it."""

import sys


def main() -> None:
    """The console script."""
    try:
        from bot.__main__ import main as serve
    except ModuleNotFoundError as error:
        sys.exit(
            f"The bot needs {error.name}, which comes with charrnn's extra `bot`: "
            "pip install '.[bot]' where charrnn was cloned."
        )
    serve()
