"""Requests to stop a training run: Ctrl-C, SIGTERM, or the end of standard input."""

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


def end_of_stdin() -> threading.Event:
    """An event that is set when standard input ends. Outside `stop_requests`, that interrupts the
    program like Ctrl-C, since importing TensorFlow takes long."""
    ended = threading.Event()
    # A shell starts background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_wait_for_end_of_stdin, args=[ended], daemon=True).start()
    return ended


@contextmanager
def stop_requests(
    console: Console, stdin_ended: threading.Event | None = None
) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether to stop. A second Ctrl-C ends the program at once.

    With `stdin_ended`, the end of standard input counts as a request, and Ctrl-C does not: it is
    meant for the program that started the training, which may stop it or not. When that program
    ends, even if it is killed, its end of the pipe closes and the training stops."""
    requested = stdin_ended or threading.Event()

    def receive(*_: object) -> None:
        requested.set()
        restore()
        console.print("Stopping after this batch. Press Ctrl-C again to stop at once.")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {n: signal.signal(n, receive) for n in (signal.SIGINT, signal.SIGTERM)}
    if stdin_ended:
        before[signal.SIGINT] = signal.SIG_IGN  # afterwards too: only writing and exiting are left
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield requested.is_set
    finally:
        restore()


def _wait_for_end_of_stdin(ended: threading.Event) -> None:
    # Not sys.stdin.read(): a thread inside it holds a lock that Python needs when it exits.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    ended.set()
    _thread.interrupt_main()  # does nothing while SIGINT is ignored
