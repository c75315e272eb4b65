"""What is sent to Discord again, and what must not be, since it would appear twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import discord
import pytest
from discord.http import Route

from bot.interactions.retries import ACKNOWLEDGED, RetryingAdapter

ACKNOWLEDGEMENT = "POST", "/interactions/{webhook_id}/{webhook_token}/callback"
FOLLOW_UP = "POST", "/webhooks/{webhook_id}/{webhook_token}"
EDIT = "PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/@original"

NO_CONNECTION = aiohttp.ClientConnectorError(
    SimpleNamespace(host="discord.com", port=443, ssl=True), OSError("unreachable")
)
BROKEN = aiohttp.ServerDisconnectedError()
TIME_OUT = TimeoutError()
DONE = 200, '{"id": "5"}'
REFUSED = 400, f'{{"code": {ACKNOWLEDGED}, "message": "already acknowledged"}}'


class Discord:
    """An HTTP session whose requests end as planned: with an error, or a status and a body."""

    def __init__(self, *outcomes: Exception | tuple[int, str]):
        self.left = list(outcomes)

    @asynccontextmanager
    async def request(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        outcome = self.left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        status, body = outcome
        headers, text = {"content-type": "application/json"}, AsyncMock(return_value=body)
        yield SimpleNamespace(status=status, reason="", headers=headers, text=text)


async def send(request: tuple[str, str], discord: Discord) -> Any:
    route = Route(*request, webhook_id=1, webhook_token="")
    session: Any = discord
    return await RetryingAdapter(pause_s=0).request(route, session, payload={})


@pytest.mark.parametrize("error", [NO_CONNECTION, BROKEN, TIME_OUT], ids=repr)
@pytest.mark.parametrize("request_", [ACKNOWLEDGEMENT, EDIT])
async def test_acknowledgements_and_edits_are_sent_up_to_three_times(
    request_: tuple[str, str], error: Exception
):
    assert await send(request_, Discord(error, error, DONE)) == {"id": "5"}
    with pytest.raises(type(error)):
        await send(request_, Discord(error, error, error))


@pytest.mark.parametrize("error", [BROKEN, TIME_OUT], ids=repr)
async def test_a_follow_up_that_discord_may_have_received_is_not_sent_again(error: Exception):
    server = Discord(error, DONE)
    with pytest.raises(type(error)):
        await send(FOLLOW_UP, server)
    assert server.left == [DONE]


async def test_a_follow_up_is_sent_again_if_there_was_no_connection():
    assert await send(FOLLOW_UP, Discord(NO_CONNECTION, DONE)) == {"id": "5"}


async def test_an_acknowledgement_that_is_refused_as_the_second_was_received_the_first_time():
    assert "interaction" in await send(ACKNOWLEDGEMENT, Discord(TIME_OUT, REFUSED))


async def test_an_interaction_that_another_process_has_acknowledged_is_an_error():
    with pytest.raises(discord.HTTPException):
        await send(ACKNOWLEDGEMENT, Discord(REFUSED))
