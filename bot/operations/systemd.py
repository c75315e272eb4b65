"""The bot as a service: signals, and messages to systemd."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable

from bot.settings import Supervision

log = logging.getLogger(__name__)

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    STOP_SIGNALS.append(signal.SIGBREAK)  # Ctrl-Break: on Windows, all that a program can send
CLOSING_S = 30.0  # a stop takes at most this long after SHUTDOWN_GRACE_S
STARTING_S = 900.0  # a start takes at most this long: TimeoutStartSec in charrnn-bot.service


class Supervisor:
    """Sends sd_notify(3) messages. Does nothing without NOTIFY_SOCKET."""

    def __init__(self, supervision: Supervision):
        self._address = supervision.notify_socket
        self._interval_s = supervision.watchdog_s / 2 if supervision.watchdog_s else None

    def tell(self, *states: str) -> None:
        """Send states such as "READY=1" in one message."""
        if sys.platform == "win32" or self._address is None:
            return
        # systemd writes @ for the NUL byte with which abstract addresses begin.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(states).encode(), address)
            except OSError as error:
                log.warning("Cannot send %s to NOTIFY_SOCKET %s: %s", states, self._address, error)

    async def watch(self, well: Callable[[], bool]) -> None:
        """Send WATCHDOG=1 regularly while `well()`, until cancelled. Without it, systemd kills the
        bot and starts it again."""
        while self._interval_s is not None:
            if well():
                self.tell("WATCHDOG=1")
            await asyncio.sleep(self._interval_s)

    def starting_late(self, seconds: float, why: str) -> None:
        """The start is delayed by this many seconds."""
        self.tell(f"EXTEND_TIMEOUT_USEC={(seconds + STARTING_S) * 1e6:.0f}", f"STATUS={why}")

    def stopping(self, grace_s: float) -> None:
        """The bot stops. Running requests and trainings have `grace_s` seconds."""
        self.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={(grace_s + CLOSING_S) * 1e6:.0f}")


def at_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at the first of STOP_SIGNALS. The second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def first(*_: object) -> None:
        for signum in STOP_SIGNALS:
            signal.signal(signum, signal.SIG_DFL)
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop)

    for signum in STOP_SIGNALS:
        signal.signal(signum, first)  # Windows has no loop.add_signal_handler
