"""The bot as a service: how it is stopped, and what systemd is told of it."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import NoReturn

from bot.settings import Supervision

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What a stop takes beside what SHUTDOWN_GRACE_S leaves to requests and trainings.
CLOSING_S = 30.0
# What a start takes, as TimeoutStartSec in deploy/charrnn-bot.service grants it.
STARTING_S = 900.0


class Supervisor:
    """systemd, told as sd_notify(3) says; where nobody has asked to be told, nobody is."""

    def __init__(self, supervision: Supervision):
        self._address = supervision.notify_socket
        self._interval_s = supervision.watchdog_s / 2 if supervision.watchdog_s else None

    def tell(self, *states: str) -> None:
        if self._address is None:
            return
        # An abstract address, which no file stands for, begins with @ here and with NUL there.
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(states).encode(), address)
            except OSError as error:
                log.warning("NOTIFY_SOCKET %s cannot be told %s: %s", self._address, states, error)

    async def watch(self) -> None:
        """Say again and again that the event loop turns, if that is watched."""
        while self._interval_s is not None:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self._interval_s)

    def held_up(self, seconds: float, why: str) -> None:
        """It starts, but only after so long."""
        self.tell(f"EXTEND_TIMEOUT_USEC={(seconds + STARTING_S) * 1e6:.0f}", f"STATUS={why}")

    def stopping(self, grace_s: float) -> None:
        """It stops, and takes so long over what is under way."""
        self.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={(grace_s + CLOSING_S) * 1e6:.0f}")


def leave(code: int) -> NoReturn:
    """End the process, all done, though a thread of it hangs: Python would wait for that."""
    logging.shutdown()
    os._exit(code)


def at_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at the first SIGTERM or SIGINT. The second ends the process at once, as if it
    had never been caught; trainings on this machine end with it."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        stop()
        for signum in STOP_SIGNALS:
            loop.remove_signal_handler(signum)
            signal.signal(signum, signal.SIG_DFL)

    for signum in STOP_SIGNALS:
        loop.add_signal_handler(signum, first)
