"""What answers an interaction, sent until Discord has it."""

import asyncio
import logging
import time
from typing import Any

import aiohttp
import discord
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

log = logging.getLogger(__name__)

ACKNOWLEDGED = 40060  # Discord's: the interaction has been acknowledged already
PAUSE_S = 0.5  # after a connection that broke
# For each attempt. An interaction is lost unless it is acknowledged within 3 s; its answer may take
# 15 minutes, and discord.py tries again by itself while Discord answers with 5xx.
ACKNOWLEDGING_S, ANSWERING_S = (1.4, 1.4, 20.0), (10.0, 20.0, 20.0)


def install() -> None:
    """Send by this module whatever answers an interaction, in this task and those it starts."""
    async_context.set(PatientAdapter())


class PatientAdapter(AsyncWebhookAdapter):
    """discord.py's way to send, which tries again what Discord says it could not do; and also,
    which discord.py does not, when Discord says nothing or a connection breaks.

    What seemed to fail may have been done: an acknowledgement that is then refused as the second
    one was the first."""

    async def request(self, route: Any, session: aiohttp.ClientSession, **options: Any) -> Any:
        if options.get("files"):
            return await super().request(route, session, **options)  # may take long, and only once
        attempts_s = ACKNOWLEDGING_S if route.path.endswith("/callback") else ANSWERING_S
        started = time.monotonic()
        for attempt, seconds in enumerate(attempts_s, start=1):
            try:
                async with asyncio.timeout(seconds):
                    return await super().request(route, session, **options)
            except discord.HTTPException as error:
                # discord.py pauses for a second before it tries again.
                again = attempt > 1 or time.monotonic() - started >= 1
                if error.code == ACKNOWLEDGED and again:
                    return _callback(route)
                raise
            except (aiohttp.ClientConnectionError, TimeoutError) as error:
                if attempt == len(attempts_s):
                    raise
                log.warning("Discord does not take an answer; I send it again: %r", error)
                if not isinstance(error, TimeoutError):
                    await asyncio.sleep(PAUSE_S)
        raise AssertionError("unreachable: the last attempt returns or raises")


def _callback(route: Any) -> dict[str, Any]:
    """What Discord said when it took the acknowledgement, as far as discord.py needs it."""
    return {"interaction": {"id": str(route.webhook_id), "type": 2}}
