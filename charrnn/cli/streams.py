"""The encoding of standard input and output."""

import io
import sys

# On Windows, Python takes an old code page for pipes and files. Elsewhere the locale decides.
ENCODING = "utf-8" if sys.platform == "win32" else None


def set_up_output() -> None:
    """Print in ENCODING, and escape what it lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=ENCODING, errors="backslashreplace")
