"""The Discord bot. `python -m bot` runs it."""

import sys


def main() -> None:
    """The console script."""
    try:
        from bot.__main__ import main as serve
    except ModuleNotFoundError as error:
        from charrnn.sentences import needs_extra

        sys.exit(needs_extra("The bot", error.name, "bot"))
    serve()
