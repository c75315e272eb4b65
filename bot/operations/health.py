"""HTTP endpoints for monitoring: /live, /ready and /metrics."""

import asyncio
import logging
from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from bot.client import Bot
from bot.errors import SettingsError
from bot.operations.metrics import Metrics

log = logging.getLogger(__name__)


class Health:
    """`async with Health(bot, host, port):` serves

    - `/live`: 200 while the event loop runs;
    - `/ready`: 200 if people can be answered, else 503 and the reason;
    - `/metrics`: for Prometheus.
    """

    def __init__(self, bot: Bot, host: str, port: int):
        self._bot = bot
        self._host = host
        self._port = port
        self._metrics = Metrics(bot)
        app = web.Application()
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._show_metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        self._sampling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Raises SettingsError if the port cannot be used."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            problem = (
                f"HEALTH_PORT {self._port} on HEALTH_HOST {self._host} cannot be used: "
                f"{error.strerror}. Set another port, or an address of this machine."
            )
            raise SettingsError([problem]) from error
        log.info("Serving /live, /ready and /metrics at http://%s:%d.", self._host, self._port)
        self._sampling = asyncio.create_task(self._metrics.sample_lag(), name="lag")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sampling is not None:
            self._sampling.cancel()
        await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="The event loop runs.\n")

    async def _ready(self, _: web.Request) -> web.Response:
        trouble = self._bot.trouble()
        return web.Response(text=f"{trouble or 'Ready.'}\n", status=503 if trouble else 200)

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=await self._metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
