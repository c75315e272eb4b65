"""Runs `pip install` and draws a bar in place of its lines: what `make` uses.

with_bar.py PACKAGES PIP ARGUMENT...    PACKAGES: about how many there are to install
"""

import re
import subprocess
import sys
from contextlib import suppress
from threading import Thread
from typing import IO

WIDTH = 30
NAMED = re.compile(r"(?:Collecting|Processing) (?:\S*/)?(\w+(?:[.-][a-z]\w*)*)")
COLLECTED = 0.8  # of the bar; then pip unpacks everything, and prints nothing


def draw(share: float, doing: str = "", end: str = "\r") -> None:
    if sys.stdout.isatty():
        bar = "#" * round(WIDTH * share)
        print(f"\r\x1b[K[{bar:-<{WIDTH}}] {doing}", end=end, flush=True)


def pass_on(errors: IO[str]) -> None:
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    for line in errors:
        print(f"{clear}{line}", end="", file=sys.stderr, flush=True)


def main(packages: int, command: list[str]) -> int:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "errors": "replace"}
    with subprocess.Popen(command, encoding="utf-8", **streams) as pip:  # noqa: S603
        assert pip.stdout and pip.stderr
        errors = Thread(target=pass_on, args=[pip.stderr])
        errors.start()
        draw(0, "choosing the packages")
        collected = 0
        with suppress(KeyboardInterrupt):  # pip gets it too, and ends
            for line in pip.stdout:
                if found := NAMED.match(line):
                    collected += 1
                    draw(min(collected / packages, 1) * COLLECTED, found[1])
                elif line.startswith("Installing collected packages"):
                    draw(COLLECTED, f"unpacking {line.count(',') + 1} packages")
        errors.join()
    if pip.returncode == 0:
        draw(1, "installed", end="\n")
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
