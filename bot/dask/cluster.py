"""The connection to a Dask cluster, made when first needed and again whenever it is lost."""

import asyncio
import logging

from distributed import Client
from distributed.client import FutureCancelledError

from bot.errors import ExecutorError

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0  # for one attempt to connect
RETRY_S = 2.0  # between two attempts
GRACE_S = 5.0  # a request waits this long for a lost connection; after that, requests fail at once
COUNT_INTERVAL_S = 1.0  # between two counts of the workers' threads
POLL_S = 0.05

# What Dask raises for work that was lost together with a connection or a worker.
LOST = (FutureCancelledError, OSError)


class Cluster:
    """The workers of a Dask scheduler. No method blocks the event loop."""

    def __init__(self, scheduler: str, *, grace_s: float = GRACE_S):
        """`scheduler` is HOST:PORT. It need not be running yet."""
        self.threads = 0  # of all workers together, when last counted
        self._scheduler = scheduler
        self._grace_s = grace_s
        self._client: Client | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._seen_at = 0.0  # when the connection last worked, in the event loop's time

    @property
    def lost(self) -> bool:
        """True while reconnecting. Connects lazily, so False before first use."""
        return self._connecting is not None and not self._connected

    async def client(self) -> Client:
        """A connected client. Raises ExecutorError if there is no connection within the grace."""
        now = asyncio.get_running_loop().time
        if self._connecting is None:
            self._seen_at = now()
            self._connecting = asyncio.create_task(self._stay_connected(), name="dask")
        while not self._connected:
            if now() > self._seen_at + self._grace_s:
                raise ExecutorError
            await asyncio.sleep(POLL_S)
        assert self._client is not None
        return self._client

    async def close(self) -> None:
        """Disconnect. Dask then ends all that was started through this connection."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])

    @property
    def _connected(self) -> bool:
        return self._client is not None and self._client.status == "running"

    async def _stay_connected(self) -> None:
        told = False
        while True:
            client = Client(self._scheduler, asynchronous=True, timeout=CONNECT_TIMEOUT_S)
            try:
                await client
                log.info("Connected to Dask at %s.", self._scheduler)
                told = False
                await self._follow(client)
            except OSError as error:
                if not told:
                    log.warning("Dask at %s cannot be reached: %s", self._scheduler, error)
                    told = True
            finally:
                await client.close()  # pyright: ignore[reportGeneralTypeIssues]
            await asyncio.sleep(RETRY_S)

    async def _follow(self, client: Client) -> None:
        """Count threads until the connection is lost for good. Dask tries to reconnect first."""
        self._client = client
        while client.status != "closed":
            if self._connected:
                self.threads = sum((await client.nthreads()).values())
                self._seen_at = asyncio.get_running_loop().time()
            await asyncio.sleep(COUNT_INTERVAL_S)
        log.warning("The connection to Dask at %s is lost.", self._scheduler)
