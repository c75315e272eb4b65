"""A stand-in for Discord: as much of its REST API and gateway, on 127.0.0.1, as the bot uses.

It takes only what it knows: a request to any other route is answered with 404 and noted in
`unknown`, so that a test shows what the bot has begun to ask; what Discord would refuse is refused
and noted in `errors`. Told to, it fails: `fail`, `cut`, `invalidate`, `repeat`.
"""

import asyncio
import contextlib
import itertools
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Self

from aiohttp import WSMsgType, web

from tests.discord_payloads import (
    APPLICATION_ID,
    CHANNEL_ID,
    CHAT_INPUT,
    CHOICES,
    COMPONENT,
    DEFERRED,
    DEFERRED_UPDATE,
    GUILD_ID,
    MODAL,
    SAID,
    SECOND_GUILD_ID,
    TOKEN,
    UPDATED,
    application,
    callback,
    command,
    interaction,
    message,
    user,
    wrong_with,
)

__all__ = [
    "APPLICATION_ID",
    "CHANNEL_ID",
    "GUILD_ID",
    "SECOND_GUILD_ID",
    "TOKEN",
    "Asked",
    "DiscordServer",
]

HELLO, HEARTBEAT_ACK, DISPATCH, HEARTBEAT, IDENTIFY = 10, 11, 0, 1, 2
RESUME, INVALID_SESSION = 6, 9
HEARTBEAT_INTERVAL_MS = 20_000
TRAVEL_S = 0.01  # so that a heartbeat is not acknowledged before discord.py knows that it is sent
REMEMBERED = 2000  # events that a resumed session gets again, and people's commands
UNKNOWN_WEBHOOK, UNKNOWN_INTERACTION, ACKNOWLEDGED, INVALID_BODY = 10015, 10062, 40060, 50035
HANGS = 0  # instead of a status: no answer at all


@dataclass(frozen=True)
class Request:
    """What the bot has asked of the REST API."""

    method: str
    path: str  # below /api/v10
    json: Any
    authorization: str | None


@dataclass
class Asked:
    """A command that somebody has used, and what became of it; times as of time.monotonic."""

    at: float = field(default_factory=time.monotonic)
    acknowledged: asyncio.Future[float] = field(default_factory=asyncio.Future)
    answered: asyncio.Future[float] = field(default_factory=asyncio.Future)  # or told why not
    content: str = ""  # of the answer
    components: list[Any] = field(default_factory=list)  # under it
    told: list[str] = field(default_factory=list)  # sentences beside the answer, or instead of it
    event: Mapping[str, Any] = field(default_factory=dict)  # as the bot gets it

    def show(self, shown: Mapping[str, Any]) -> None:
        self.content = shown.get("content") or ""
        self.components = shown.get("components") or []
        self._answer()

    def tell(self, sentence: str) -> None:
        self.told.append(sentence)
        self._answer()

    def _answer(self) -> None:
        if not self.answered.done():
            self.answered.set_result(time.monotonic())


@dataclass
class Failure:
    """What the next requests of a kind are answered with."""

    method: str
    pattern: str  # of the path, as of fnmatch
    status: int
    code: int = 0  # Discord's
    times: int = 1  # that are left
    lands: bool = False  # it is done all the same

    def fits(self, request: Request) -> bool:
        fits = self.method == request.method and fnmatch(request.path, self.pattern)
        return fits and self.times > 0


@dataclass
class Session:
    """What one shard of the bot has begun with IDENTIFY."""

    id: str
    socket: web.WebSocketResponse
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    sequence: int = 0  # of the last event


class DiscordServer:
    """`async with DiscordServer() as discord:`, and a bot that finds it at `discord.api`."""

    def __init__(self, port: int = 0):
        self.requests: list[Request] = []
        self.unknown: list[Request] = []
        self.errors: list[str] = []  # of the bot
        self.identified = asyncio.Event()  # by every shard
        self.identifies = self.resumes = 0
        self.refuses_token = False
        self.close_code: int | None = None  # what a bot that identifies itself is told
        self.application: dict[str, Any] = {}  # what is different about it
        self.starts_left = {"remaining": 999, "reset_after": 0}  # of sessions; in milliseconds
        self.commands: list[dict[str, Any]] = []  # that are registered
        self.delivers = asyncio.Event()  # answers; until it is cleared
        self.delivers.set()
        self._ids = itertools.count(10_000)
        self._asked: dict[str, Asked] = {}  # by interaction token
        self._failures: list[Failure] = []
        self._sessions: dict[int, Session] = {}  # by shard
        self._shard_count = 1
        self._leaving = asyncio.Event()
        app = web.Application()
        app.router.add_get("/gateway/", self._serve_gateway)
        app.router.add_route("*", "/api/v10/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        self._port = port

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leaving.set()
        await self._runner.cleanup()

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/v10"

    async def slash(
        self,
        name: str,
        options: Mapping[str, object],
        asker: int = 1,
        guild: int = GUILD_ID,
        kind: int = CHAT_INPUT,
    ) -> Asked:
        """Somebody uses a command in a channel."""
        kinds = {str: 3, int: 4, bool: 5, float: 10}
        given = [{"name": n, "type": kinds[type(v)], "value": v} for n, v in options.items()]
        data = {"id": "1", "name": name, "type": 1, "options": given}
        return await self._interact(kind, data, asker, guild)

    async def press(
        self, custom_id: str, under: Asked, asker: int = 1, guild: int = GUILD_ID
    ) -> Asked:
        """Somebody presses a button under an answer."""
        data = {"custom_id": custom_id, "component_type": 2}
        shown = {"content": under.content, "components": under.components}
        return await self._interact(
            COMPONENT, data, asker, guild, message=message(next(self._ids), shown)
        )

    async def repeat(self, asked: Asked) -> None:
        """Let what somebody did reach the bot once more."""
        await self.dispatch("INTERACTION_CREATE", asked.event, self._shard(asked.event["guild_id"]))

    def fail(
        self, method: str, pattern: str, status: int, code: int = 0, times: int = 1, **more: bool
    ) -> "Failure":
        """Answer the next requests to paths such as `webhooks/*` with a status, or with HANGS."""
        self._failures = [failure for failure in self._failures if failure.times > 0]
        self._failures.append(Failure(method, pattern, status, code, times, **more))
        return self._failures[-1]

    async def cut(self, code: int | None = None, shard: int = 0) -> None:
        """Close the gateway; without a code, as when a line breaks."""
        socket = self._sessions[shard].socket
        if code is not None:
            await socket.close(code=code)
        elif (transport := socket._req and socket._req.transport) is not None:
            transport.abort()

    async def invalidate(self, resumable: bool, shard: int = 0) -> None:
        """Take a session away; if it is resumable, only for a moment."""
        session = self._sessions[shard]
        if not resumable:
            session.id = "none"
        await session.socket.send_json({"op": INVALID_SESSION, "d": resumable})

    async def dispatch(self, event: str, data: Mapping[str, Any], shard: int = 0) -> None:
        """Send an event to the process of the bot that has a shard; if it is not connected, once
        it has resumed."""
        session = self._sessions[shard]
        session.sequence += 1
        payload = {"op": DISPATCH, "t": event, "s": session.sequence, "d": data}
        session.events.append(payload)
        if not session.socket.closed:
            await _send(session.socket, payload)

    async def _interact(
        self, kind: int, data: Mapping[str, Any], asker: int, guild: int, **more: Any
    ) -> Asked:
        number = next(self._ids)
        event = interaction(number, kind, data, asker, guild) | more
        asked = self._asked[event["token"]] = Asked(event=event)
        if len(self._asked) > REMEMBERED:
            del self._asked[next(iter(self._asked))]
        await self.dispatch("INTERACTION_CREATE", event, self._shard(guild))
        return asked

    def _shard(self, guild: int | str) -> int:
        return (int(guild) >> 22) % self._shard_count

    async def _serve_gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": HELLO, "d": {"heartbeat_interval": HEARTBEAT_INTERVAL_MS}})
        async for received in socket:
            if received.type is not WSMsgType.TEXT:
                continue
            payload = json.loads(received.data)
            if payload["op"] == HEARTBEAT:
                await asyncio.sleep(TRAVEL_S)
                await _send(socket, {"op": HEARTBEAT_ACK})
            elif payload["op"] == IDENTIFY and self.close_code is not None:
                await socket.close(code=self.close_code)
            elif payload["op"] == IDENTIFY:
                await self._welcome(payload["d"], socket)
            elif payload["op"] == RESUME:
                await self._resume(payload["d"], socket)
            else:
                self.errors.append(f"gateway: {payload}")
        return socket

    async def _welcome(self, identify: Mapping[str, Any], socket: web.WebSocketResponse) -> None:
        self.identifies += 1
        shard, self._shard_count = identify.get("shard", [0, 1])
        session = self._sessions[shard] = Session(f"session{self.identifies}", socket)
        guild_id = SECOND_GUILD_ID if shard else GUILD_ID
        guild = {"id": str(guild_id), "unavailable": True}
        await self.dispatch(
            "READY",
            {
                "v": 10,
                "user": user(APPLICATION_ID, bot=True),
                "guilds": [guild],
                "session_id": session.id,
                "resume_gateway_url": self._gateway_url,
                "shard": [shard, self._shard_count],
                "application": {"id": str(APPLICATION_ID), "flags": 0},
            },
            shard,
        )
        globe = guild | {"unavailable": False, "name": "The Globe"}
        await self.dispatch("GUILD_CREATE", globe, shard)
        if len(self._sessions) == self._shard_count:
            self.identified.set()

    async def _resume(self, resume: Mapping[str, Any], socket: web.WebSocketResponse) -> None:
        self.resumes += 1
        shards = [n for n, known in self._sessions.items() if known.id == resume["session_id"]]
        if not shards:
            await _send(socket, {"op": INVALID_SESSION, "d": False})
            return
        session = self._sessions[shards[0]]
        missed = [event for event in session.events if event["s"] > resume["seq"]]
        if len(missed) != session.sequence - resume["seq"]:
            self.errors.append(f"resumed after {resume['seq']} of {session.sequence}")
        session.socket = socket
        for event in missed:
            await _send(socket, event)
        await self.dispatch("RESUMED", {}, shards[0])

    @property
    def _gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/gateway/"

    async def _serve(self, request: web.Request) -> web.Response:
        body = await _body(request)
        path = request.match_info["path"]
        asked = Request(request.method, path, body, request.headers.get("Authorization"))
        self.requests.append(asked)
        if self.refuses_token:
            return _json({"message": "401: Unauthorized", "code": 0}, 401)
        if asked.method == "PATCH" and asked.path.startswith("webhooks/"):
            await self.delivers.wait()
        failure = next((failure for failure in self._failures if failure.fits(asked)), None)
        if failure is None:
            return self._answer(asked)
        failure.times -= 1
        if failure.lands:
            self._answer(asked)
        if failure.status == HANGS:
            await self._leaving.wait()
        said = {"message": "as planned", "code": failure.code, "retry_after": 0.1, "global": False}
        return _json(said, failure.status, {"Via": "1.1 test", "Retry-After": "1"})

    def _answer(self, asked: Request) -> web.Response:
        body = asked.json
        match asked.method, asked.path.split("/"):
            case "GET", ["users", "@me"]:
                return _json(user(APPLICATION_ID, bot=True))
            case "GET", ["users", "@me", "guilds"]:
                return _json([{"id": str(GUILD_ID), "name": "The Globe", "owner": False}])
            case "GET", ["oauth2", "applications", "@me"]:
                return _json(application() | self.application)
            case "GET", ["gateway", "bot"]:
                limit = {"total": 1000, "max_concurrency": 1} | self.starts_left
                gateway = {"url": self._gateway_url, "shards": 1, "session_start_limit": limit}
                return _json(gateway)
            case "PUT", ["applications", _, "commands"] if isinstance(body, list):
                self.commands = [command(next(self._ids), given) for given in body]
                return _json(self.commands)
            case "GET", ["applications", _, "commands"]:
                return _json(self.commands)
            case "PATCH", ["channels", _, "messages", number]:
                return _json(message(int(number), body))
            case "POST", ["interactions", _, token, "callback"]:
                return self._acknowledge(asked, token)
            case "POST", ["webhooks", _, token]:
                return self._show(asked, token, anew=True)
            case "PATCH", ["webhooks", _, token, "messages", "@original"]:
                return self._show(asked, token)
        self.unknown.append(asked)
        return _json({"message": "404: Not Found", "code": 0}, status=404)

    def _acknowledge(self, request: Request, token: str) -> web.Response:
        asked, body = self._asked.get(token), request.json
        if asked is None:
            return self._refuse(request, 404, UNKNOWN_INTERACTION, "Unknown interaction")
        if asked.acknowledged.done():
            return self._refuse(request, 400, ACKNOWLEDGED, "Already acknowledged", noted=False)
        kind = body.get("type") if isinstance(body, dict) else None
        if kind not in (SAID, DEFERRED, DEFERRED_UPDATE, UPDATED, CHOICES, MODAL):
            return self._refuse(request, 400, INVALID_BODY, "type")
        if kind in (SAID, UPDATED) and (wrong := wrong_with(body.get("data"))):
            return self._refuse(request, 400, INVALID_BODY, wrong)
        asked.acknowledged.set_result(time.monotonic())
        if kind == SAID:
            asked.tell(body["data"].get("content", ""))
        elif kind == UPDATED:
            asked.show(body["data"])
        return _json(callback(next(self._ids), kind))

    def _show(self, request: Request, token: str, anew: bool = False) -> web.Response:
        asked, body = self._asked.get(token), request.json
        if asked is None or not asked.acknowledged.done():
            return self._refuse(request, 404, UNKNOWN_WEBHOOK, "Unknown Webhook")
        if wrong := wrong_with(body):
            return self._refuse(request, 400, INVALID_BODY, wrong)
        if anew:
            asked.tell(body.get("content", ""))
        else:
            asked.show(body)
        return _json(message(next(self._ids), body))

    def _refuse(
        self, request: Request, status: int, code: int, what: str, noted: bool = True
    ) -> web.Response:
        if noted:
            self.errors.append(f"{request.method} {request.path}: {what}: {request.json}")
        return _json({"message": what, "code": code}, status)


async def _body(request: web.Request) -> Any:
    if not request.can_read_body:
        return None
    if request.content_type == "multipart/form-data":  # beside files
        return json.loads(str((await request.post())["payload_json"]))
    return await request.json()


async def _send(socket: web.WebSocketResponse, payload: Mapping[str, Any]) -> None:
    with contextlib.suppress(ConnectionError):  # the line has just been cut; it is sent again
        await socket.send_json(payload)


def _json(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    # discord.py wants the type without a charset.
    content, kind = json.dumps(data).encode(), "application/json"
    return web.Response(body=content, status=status, content_type=kind, headers=headers)
