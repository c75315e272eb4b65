"""What is sent to Discord again, for how long, and what is not, since it would appear twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import discord
import pytest
from discord.http import Route

from bot.interactions.retries import (
    ACKNOWLEDGE_S,
    ACKNOWLEDGED,
    LONGEST_PAUSE_S,
    NONCE_S,
    TOKEN_S,
    RetryingAdapter,
    post,
)

ACKNOWLEDGEMENT = "POST", "/interactions/{webhook_id}/{webhook_token}/callback"
FOLLOW_UP = "POST", "/webhooks/{webhook_id}/{webhook_token}"
EDIT = "PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/@original"

Outcome = Exception | tuple[int, str]
ADDRESS: Any = SimpleNamespace(host="discord.com", port=443, ssl=True)
NOT_SENT: tuple[Outcome, ...] = (
    aiohttp.ClientConnectorError(ADDRESS, OSError("unreachable")),
    aiohttp.ClientConnectorDNSError(ADDRESS, OSError("no address")),
    aiohttp.ConnectionTimeoutError(),
)
BROKEN: tuple[Outcome, ...] = (
    aiohttp.ServerDisconnectedError(),
    aiohttp.ClientOSError(104, "reset"),
    aiohttp.ClientOSError(54, "reset, on macOS"),
    aiohttp.ClientPayloadError("the response breaks off"),
    TimeoutError(),
    (500, "{}"),
    (502, "<html>"),
    (504, "{}"),
)
UNAVAILABLE, LIMITED = (503, "{}"), (429, "banned for a while")
DONE = 200, '{"id": "5"}'
REFUSED = 400, f'{{"code": {ACKNOWLEDGED}, "message": "already acknowledged"}}'
UNKNOWN = 404, '{"code": 10062, "message": "unknown interaction"}'


class Discord:
    """An HTTP session, and a clock that moves while a request is about to be sent again."""

    def __init__(self, *outcomes: Outcome, until_s: float = 0.1, later: Outcome = DONE):
        self.outcomes = list(outcomes)  # of the first requests
        self.until_s = until_s  # the last of them repeats until then
        self.later = later  # all others
        self.headers: dict[str, str] = {}
        self.now = 0.0
        self.pauses: list[float] = []
        self.sent: list[bytes] = []  # files

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)

    @asynccontextmanager
    async def request(self, *_: Any, data: Any, **__: Any) -> AsyncIterator[Any]:
        if isinstance(data, aiohttp.FormData):
            self.sent.append(data._fields[-1][2].read())
        outcome = self.outcomes[0] if self.now < self.until_s else self.later
        if len(self.outcomes) > 1:
            del self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        status, body = outcome
        kind = "application/json" if body.startswith("{") else "text/html"
        headers, text = {"content-type": kind} | self.headers, AsyncMock(return_value=body)
        yield SimpleNamespace(status=status, reason="", headers=headers, text=text)


async def send(request: tuple[str, str], server: Discord, **options: Any) -> Any:
    route = Route(*request, webhook_id=1, webhook_token="")
    session: Any = server
    adapter = RetryingAdapter(clock=lambda: server.now, sleep=server.sleep)
    return await adapter.request(route, session, **(options or {"payload": {}}))


@pytest.mark.parametrize("break_s", [3, 600])
@pytest.mark.parametrize("outcome", [*NOT_SENT, *BROKEN, UNAVAILABLE, LIMITED], ids=repr)
async def test_an_edit_is_sent_until_discord_has_it(outcome: Outcome, break_s: float):
    server = Discord(outcome, until_s=break_s)
    assert await send(EDIT, server) == {"id": "5"}
    assert server.now <= break_s + LONGEST_PAUSE_S
    assert server.pauses == sorted(server.pauses)


@pytest.mark.parametrize("outcome", [NOT_SENT[0], BROKEN[0], BROKEN[-1], LIMITED], ids=repr)
async def test_an_edit_is_given_up_when_the_token_has_expired(outcome: Outcome):
    server = Discord(outcome, until_s=2 * TOKEN_S)
    with pytest.raises((aiohttp.ClientError, discord.HTTPException)):
        await send(EDIT, server)
    assert TOKEN_S - LONGEST_PAUSE_S <= server.now <= TOKEN_S


async def test_the_token_lives_as_long_for_all_requests_of_an_interaction():
    server = Discord(DONE, BROKEN[0], until_s=2 * TOKEN_S)
    await send(ACKNOWLEDGEMENT, server)
    server.now = 600
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await send(EDIT, server)
    assert server.now <= TOKEN_S


@pytest.mark.parametrize("outcome", NOT_SENT, ids=repr)
async def test_an_acknowledgement_that_cannot_be_sent_is_given_up_after_three_seconds(
    outcome: Outcome,
):
    server = Discord(outcome, until_s=60)
    with pytest.raises(aiohttp.ClientError):
        await send(ACKNOWLEDGEMENT, server)
    assert server.now <= ACKNOWLEDGE_S
    server = Discord(outcome, until_s=0.8 * ACKNOWLEDGE_S)
    assert await send(ACKNOWLEDGEMENT, server) == {"id": "5"}


@pytest.mark.parametrize("break_s", [1, 60])
@pytest.mark.parametrize("outcome", [*BROKEN, UNAVAILABLE], ids=repr)
async def test_an_acknowledgement_that_discord_received_counts_however_long_the_break(
    outcome: Outcome, break_s: float
):
    server = Discord(outcome, NOT_SENT[0], until_s=break_s, later=REFUSED)
    assert "interaction" in await send(ACKNOWLEDGEMENT, server)


async def test_an_acknowledgement_that_may_have_been_received_was_not():
    server = Discord(BROKEN[0], NOT_SENT[0], until_s=60, later=UNKNOWN)
    with pytest.raises(discord.NotFound):
        await send(ACKNOWLEDGEMENT, server)


@pytest.mark.parametrize("first", [REFUSED, NOT_SENT[0]], ids=repr)
async def test_an_interaction_that_another_process_has_acknowledged_is_an_error(first: Outcome):
    with pytest.raises(discord.HTTPException):
        await send(ACKNOWLEDGEMENT, Discord(first, later=REFUSED))


@pytest.mark.parametrize("outcome", BROKEN, ids=repr)
async def test_a_follow_up_that_discord_may_have_received_is_not_sent_again(outcome: Outcome):
    server = Discord(outcome)
    with pytest.raises((aiohttp.ClientError, TimeoutError, discord.DiscordServerError)):
        await send(FOLLOW_UP, server)
    assert server.pauses == []


@pytest.mark.parametrize("outcome", [*NOT_SENT, UNAVAILABLE, LIMITED], ids=repr)
async def test_a_follow_up_that_discord_did_not_receive_is_sent_again(outcome: Outcome):
    assert await send(FOLLOW_UP, Discord(outcome, until_s=60)) == {"id": "5"}


async def test_a_rate_limit_is_waited_for_unless_it_outlasts_the_token():
    server = Discord(LIMITED)
    server.headers = {"Retry-After": "40"}
    assert await send(EDIT, server) == {"id": "5"}
    assert server.pauses == [40]
    server = Discord(LIMITED)
    server.headers = {"Retry-After": "3600"}
    with pytest.raises(discord.HTTPException):
        await send(EDIT, server)
    assert server.pauses == []


@pytest.mark.parametrize("outcome", [NOT_SENT[0], BROKEN[0], BROKEN[-1]], ids=repr)
async def test_files_are_sent_again_from_their_start(outcome: Outcome):
    file = discord.File(BytesIO(b"the whole model"), "model.zip")
    part = {"name": "files[0]", "value": file.fp, "filename": "model.zip"}
    server = Discord(outcome, until_s=60)
    assert await send(EDIT, server, files=[file], multipart=[part]) == {"id": "5"}
    assert set(server.sent) == {b"the whole model"}
    assert len(server.sent) > 2


async def test_a_refused_answer_is_not_sent_again():
    server = Discord((403, '{"code": 50013}'))
    with pytest.raises(discord.Forbidden):
        await send(EDIT, server)
    assert server.pauses == []


@pytest.mark.parametrize(
    "failure", [error for error in (*NOT_SENT, *BROKEN) if isinstance(error, Exception)]
)
async def test_a_message_is_posted_again_while_discord_knows_its_nonce(failure: Exception):
    discord = Discord()
    channel = AsyncMock()
    channel.send.side_effect = failure
    with pytest.raises(type(failure)):
        await post(channel, "O", nonce=7, clock=lambda: discord.now, sleep=discord.sleep)
    assert NONCE_S - LONGEST_PAUSE_S <= discord.now < NONCE_S
    assert discord.pauses == sorted(discord.pauses)
    assert {call.kwargs["nonce"] for call in channel.send.await_args_list} == {7}
