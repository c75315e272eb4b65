"""Send answers to interactions again until Discord has them, but show none of them twice."""

import asyncio
import logging
import time
from typing import Any

import aiohttp
import discord
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

log = logging.getLogger(__name__)

ACKNOWLEDGED = 40060  # Discord's code: the interaction has already been acknowledged
PAUSE_S = 0.5  # after a broken connection
# The time for each attempt. An interaction must be acknowledged within 3 s; its answer may take
# 15 minutes. An attempt includes discord.py's own retries, after 429 and 5xx.
ACKNOWLEDGING_S, ANSWERING_S = (1.4, 1.4, 20.0), (10.0, 20.0, 20.0)


def install() -> None:
    """Use this module's retries in the current task and in the tasks that it starts."""
    async_context.set(RetryingAdapter())


class RetryingAdapter(AsyncWebhookAdapter):
    """Sends a request again if Discord does not respond or the connection breaks.

    Discord may have received the request all the same:

    - An acknowledgement is refused the second time, with a code that then means success.
    - A second edit changes nothing.
    - A follow-up would appear twice, and webhooks have no nonce. So it is sent again only if there
      was no connection to send it over.
    """

    def __init__(self, pause_s: float = PAUSE_S):
        super().__init__()
        self._pause_s = pause_s

    async def request(self, route: Any, session: aiohttp.ClientSession, **options: Any) -> Any:
        if options.get("files"):
            return await super().request(route, session, **options)  # an upload may take long
        acknowledges = route.path.endswith("/callback")
        repeatable = acknowledges or route.method != "POST"
        attempts_s = ACKNOWLEDGING_S if acknowledges else ANSWERING_S
        started = time.monotonic()
        for attempt, seconds in enumerate(attempts_s, start=1):
            try:
                async with asyncio.timeout(seconds):
                    return await super().request(route, session, **options)
            except discord.HTTPException as error:
                # discord.py waits for at least a second before its own second attempt.
                again = attempt > 1 or time.monotonic() - started >= 1
                if error.code == ACKNOWLEDGED and again:
                    return _callback(route)
                raise
            except (aiohttp.ClientConnectionError, TimeoutError) as error:
                not_sent = isinstance(error, aiohttp.ClientConnectorError)
                if attempt == len(attempts_s) or not (repeatable or not_sent):
                    raise
                log.warning("Discord did not respond, so the answer is sent again: %r", error)
                if not isinstance(error, TimeoutError):
                    await asyncio.sleep(self._pause_s)
        raise AssertionError("unreachable: the last attempt returns or raises")


def _callback(route: Any) -> dict[str, Any]:
    """Discord's response to an acknowledgement, as far as discord.py reads it."""
    return {"interaction": {"id": str(route.webhook_id), "type": 2}}
