"""Send answers again until Discord has them, but show none of them twice."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import aiohttp
import discord
from discord.http import json_or_text
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

log = logging.getLogger(__name__)

ACKNOWLEDGED = 40060  # Discord's code: the interaction has already been acknowledged
ACKNOWLEDGE_S, TOKEN_S = 3.0, 15 * 60.0  # Discord's limits, since somebody asked
NONCE_S = 2 * 60.0  # Discord knows a message by its nonce for some minutes
# Between two attempts. There is no time for longer pauses between acknowledgements.
FIRST_PAUSE_S, LONGEST_PAUSE_S, GROWTH = 0.3, 10.0, 1.5

# How long one attempt may take. `connect` ends before `total`, so that it is known whether the
# request was sent.
ACKNOWLEDGING = aiohttp.ClientTimeout(total=1.4, connect=1)
ANSWERING = aiohttp.ClientTimeout(total=20, connect=5)
UPLOADING = aiohttp.ClientTimeout(total=300, connect=5)

# A request that Discord refused, or that failed on the way; and one that can be sent again.
REFUSALS = (discord.HTTPException, aiohttp.ClientError, OSError)
UNHANDLED = (discord.DiscordServerError, aiohttp.ClientError, OSError)
NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)

# Each interaction is handled in a task of its own. Set by the task's first request.
_asked_at: ContextVar[float] = ContextVar("asked_at")


def install() -> None:
    """Use this module's retries in the current task and in the tasks that it starts."""
    async_context.set(RetryingAdapter())


async def post(
    channel: discord.abc.Messageable,
    content: str,
    *,
    nonce: int,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    **options: Any,
) -> None:
    """Post a message with the bot's own token; again while the connection is broken or Discord does
    not handle it. Discord makes one message of all attempts, since they have the same nonce."""
    ends = clock() + NONCE_S
    for attempt in itertools.count():
        try:
            await channel.send(content, nonce=nonce, **options)
        except UNHANDLED as error:
            pause_s = _pause_s(attempt)
            if clock() + pause_s >= ends:
                raise
            log.warning("Discord did not respond, so a message is sent again: %r", error)
            await sleep(pause_s)
        else:
            return


class RetryingAdapter(AsyncWebhookAdapter):
    """Sends a request again while the connection is broken or Discord does not handle it.

    Discord may have received the request all the same:

    - An acknowledgement is refused the second time, with a code that then means success.
    - A second edit or deletion changes nothing.
    - A follow-up would appear twice, and webhooks have no nonce. So it is sent again only if it
      was not received: without a connection, or when Discord is too busy or unavailable.

    Only what somebody may still see is sent again: an answer until the interaction's token expires;
    an acknowledgement for 3 s, and longer only if Discord may have received it. Somebody may then
    be waiting, and Discord will say whether the interaction still exists.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ):
        super().__init__()
        self._clock = clock
        self._sleep = sleep

    async def request(self, route: Any, session: aiohttp.ClientSession, **options: Any) -> Any:
        acknowledges = route.path.endswith("/callback")
        follows_up = route.method == "POST" and not acknowledges
        files = options.get("files") or ()
        timeout = UPLOADING if files else ACKNOWLEDGING if acknowledges else ANSWERING
        bounded: Any = _Bounded(session, timeout)
        asked_at = _asked_at.get(None)
        if asked_at is None:
            asked_at = self._clock()
            _asked_at.set(asked_at)
        sent = False  # whether Discord may have received an attempt
        for attempt in itertools.count():
            pause_s = FIRST_PAUSE_S if acknowledges and not sent else _pause_s(attempt)
            try:
                return await super().request(route, bounded, **options)
            except discord.HTTPException as error:
                if error.code == ACKNOWLEDGED and sent:
                    return _callback(route)
                if error.status != 429:
                    raise
                failure, repeatable = error, True
                pause_s = max(pause_s, float(error.response.headers.get("Retry-After", 0)))
            except _UnansweredError as unanswered:
                failure = unanswered.error
                repeatable = not unanswered.sent or not follows_up or _unavailable(failure)
                sent = sent or unanswered.sent
            ends = asked_at + (ACKNOWLEDGE_S if acknowledges and not sent else TOKEN_S)
            if not repeatable or self._clock() + pause_s >= ends:
                raise failure
            if attempt == 0:
                log.warning("Discord did not respond, so the answer is sent again: %r", failure)
            await self._sleep(pause_s)
            for file in files:
                file.reset()
        raise AssertionError("unreachable: the last attempt returns or raises")


class _UnansweredError(Exception):
    """A request ended with `error`. `sent`: Discord may have received it."""

    def __init__(self, error: Exception):
        super().__init__()
        self.error = error
        self.sent = not isinstance(error, NO_CONNECTION)


class _Bounded:
    """A session that raises _UnansweredError, which discord.py does not handle: its own retries
    would post a follow-up twice."""

    def __init__(self, session: aiohttp.ClientSession, timeout: aiohttp.ClientTimeout):
        self._session = session
        # Not asyncio.timeout around discord.py: cancelled in a pause, it keeps the token's lock.
        self._timeout = timeout

    @asynccontextmanager
    async def request(self, *what: Any, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(*what, timeout=self._timeout, **options) as response:
                if response.status >= 500:
                    raise discord.DiscordServerError(response, await json_or_text(response))
                yield response
        except UNHANDLED as error:
            raise _UnansweredError(error) from error


def _pause_s(attempt: int) -> float:
    return min(FIRST_PAUSE_S * GROWTH**attempt, LONGEST_PAUSE_S)


def _unavailable(error: Exception) -> bool:
    return isinstance(error, discord.DiscordServerError) and error.status == 503


def _callback(route: Any) -> dict[str, Any]:
    """Discord's response to an acknowledgement, as far as discord.py reads it."""
    return {"interaction": {"id": str(route.webhook_id), "type": 2}}
