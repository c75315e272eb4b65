"""Requests to stop a training run: Ctrl-C, SIGTERM, or the end of standard input."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def stop_requests(console: Console, with_stdin: bool) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether to stop. A second Ctrl-C ends the program at once.

    With `with_stdin`, the end of standard input counts as a request, too. A program that starts
    a training and keeps the other end of that pipe open takes the training with it when it ends,
    even if it is killed."""
    requested = threading.Event()

    def receive(*_: object) -> None:
        requested.set()
        restore()
        console.print("Stopping after this batch. Press Ctrl-C again to stop at once.")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {n: signal.signal(n, receive) for n in (signal.SIGINT, signal.SIGTERM)}
    if with_stdin:
        threading.Thread(target=_wait_for_end_of_stdin, args=[requested], daemon=True).start()
    try:
        yield requested.is_set
    finally:
        restore()


def _wait_for_end_of_stdin(requested: threading.Event) -> None:
    # Not sys.stdin.read(): a thread inside it holds a lock that Python needs when it exits.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    requested.set()
