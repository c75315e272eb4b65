"""A stand-in for Discord: as much of its REST API and gateway, on 127.0.0.1, as the bot uses.

It takes only what it knows: a request to any other route is answered with 404 and noted in
`unknown`, so that a test shows what the bot has begun to ask.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import WSMsgType, web

# Of the form that Discord's have, and nobody's.
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.G1a2b3.abcdefghijklmnopqrstuvwxyz0123456789AB"  # noqa: S105
APPLICATION_ID = 1000
GUILD_ID, CHANNEL_ID = 2000, 3000
SECOND_GUILD_ID = 2001 << 22  # of shard 1, of two
HELLO, HEARTBEAT_ACK, DISPATCH, HEARTBEAT, IDENTIFY, RESUME = 10, 11, 0, 1, 2, 6
CHAT_INPUT, DEFERRED = 2, 5
HEARTBEAT_INTERVAL_MS = 20_000


def user(number: int, **more: object) -> dict[str, Any]:
    name = f"person{number}"
    return {"id": str(number), "username": name, "discriminator": "0", "avatar": None} | more


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
    answered: asyncio.Future[float] = field(default_factory=asyncio.Future)
    content: str = ""


class DiscordServer:
    """`async with DiscordServer() as discord:`, and a bot that finds it at `discord.api`."""

    def __init__(self, port: int = 0):
        self.requests: list[Request] = []
        self.unknown: list[Request] = []
        self.identified = asyncio.Event()  # by every shard
        self.refuses_token = False
        self.close_code: int | None = None  # what a bot that identifies itself is told
        self.application: dict[str, Any] = {}  # what is different about it
        self.commands: list[dict[str, Any]] = []  # that are registered
        self.delivers = asyncio.Event()  # answers; until it is cleared
        self.delivers.set()
        self._ids = itertools.count(10_000)
        self._asked: dict[str, Asked] = {}  # by interaction token
        self._sequence = itertools.count(1)
        self._gateways: dict[int, web.WebSocketResponse] = {}  # by shard
        self._shard_count = 1
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
        await self._runner.cleanup()

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/v10"

    async def slash(
        self, name: str, options: Mapping[str, object], asker: int = 1, guild: int = GUILD_ID
    ) -> Asked:
        """Somebody uses a command in a channel."""
        kinds = {str: 3, int: 4, bool: 5, float: 10}
        given = [{"name": n, "type": kinds[type(v)], "value": v} for n, v in options.items()]
        asked, number = Asked(), next(self._ids)
        self._asked[f"token{number}"] = asked
        channel = {"id": str(CHANNEL_ID), "type": 0, "name": "general", "position": 0}
        await self.dispatch(
            "INTERACTION_CREATE",
            {
                "id": str(number),
                "application_id": str(APPLICATION_ID),
                "type": CHAT_INPUT,
                "token": f"token{number}",
                "version": 1,
                "data": {"id": "1", "name": name, "type": 1, "options": given},
                "guild_id": str(guild),
                "channel_id": str(CHANNEL_ID),
                "channel": channel | {"permissions": "0"},
                "member": {
                    "user": user(asker),
                    "roles": [],
                    "permissions": "0",
                    "joined_at": "2024-01-01T00:00:00+00:00",
                    "deaf": False,
                    "mute": False,
                    "flags": 0,
                },
                "locale": "en-US",
                "app_permissions": "0",
                "entitlements": [],
                "authorizing_integration_owners": {},
                "attachment_size_limit": 10_485_760,
            },
            shard=(guild >> 22) % self._shard_count,
        )
        return asked

    async def dispatch(self, event: str, data: Mapping[str, Any], shard: int = 0) -> None:
        """Send an event to the process of the bot that has a shard."""
        payload = {"op": DISPATCH, "t": event, "s": next(self._sequence), "d": data}
        await self._gateways[shard].send_json(payload)

    async def hang_up(self) -> None:
        """End the connections to the gateway; the bot may resume its sessions."""
        for socket in list(self._gateways.values()):
            await socket.close()

    async def _serve_gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": HELLO, "d": {"heartbeat_interval": HEARTBEAT_INTERVAL_MS}})
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            payload = json.loads(message.data)
            if payload["op"] == HEARTBEAT:
                await socket.send_json({"op": HEARTBEAT_ACK})
            elif payload["op"] == IDENTIFY and self.close_code is not None:
                await socket.close(code=self.close_code)
            elif payload["op"] == IDENTIFY:
                await self._welcome(payload["d"], socket)
            elif payload["op"] == RESUME:
                self._gateways[0] = socket  # of bots that have one shard
                await self.dispatch("RESUMED", {})
        return socket

    async def _welcome(self, identify: Mapping[str, Any], socket: web.WebSocketResponse) -> None:
        shard, self._shard_count = identify.get("shard", [0, 1])
        self._gateways[shard] = socket
        guild_id = SECOND_GUILD_ID if shard else GUILD_ID
        guild = {"id": str(guild_id), "unavailable": True}
        await self.dispatch(
            "READY",
            {
                "v": 10,
                "user": user(APPLICATION_ID, bot=True),
                "guilds": [guild],
                "session_id": "session",
                "resume_gateway_url": self._gateway_url,
                "shard": [shard, self._shard_count],
                "application": {"id": str(APPLICATION_ID), "flags": 0},
            },
            shard,
        )
        globe = guild | {"unavailable": False, "name": "The Globe"}
        await self.dispatch("GUILD_CREATE", globe, shard)
        if len(self._gateways) == self._shard_count:
            self.identified.set()

    @property
    def _gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/gateway/"

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        path = request.match_info["path"]
        asked = Request(request.method, path, body, request.headers.get("Authorization"))
        self.requests.append(asked)
        if self.refuses_token:
            return _json({"message": "401: Unauthorized", "code": 0}, status=401)
        match request.method, path.split("/"):
            case "GET", ["users", "@me"]:
                return _json(user(APPLICATION_ID, bot=True))
            case "GET", ["oauth2", "applications", "@me"]:
                return _json(self._application())
            case "GET", ["gateway", "bot"]:
                limit = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1}
                gateway = {"url": self._gateway_url, "shards": 1, "session_start_limit": limit}
                return _json(gateway)
            case "PUT", ["applications", _, "commands"]:
                self.commands = [self._command(command) for command in body or ()]
                return _json(self.commands)
            case "GET", ["applications", _, "commands"]:
                return _json(self.commands)
            case "POST", ["interactions", _, token, "callback"]:
                self._asked[token].acknowledged.set_result(time.monotonic())
                if sentence := (body.get("data") or {}).get("content"):
                    self._asked[token].content = sentence
                    self._asked[token].answered.set_result(time.monotonic())
                return _json(self._callback(body["type"]))
            case "PATCH", ["webhooks", _, token, "messages", "@original"]:
                await self.delivers.wait()
                self._asked[token].content = body["content"]
                self._asked[token].answered.set_result(time.monotonic())
                return _json(self._message(body["content"]))
            case "POST", ["webhooks", _, token]:  # an answer to somebody alone
                self._asked[token].content = body["content"]
                self._asked[token].answered.set_result(time.monotonic())
                return _json(self._message(body["content"]))
            case "PATCH", ["channels", _, "messages", _]:
                return _json(self._message(""))
        self.unknown.append(asked)
        return _json({"message": "404: Not Found", "code": 0}, status=404)

    def _application(self) -> dict[str, Any]:
        return {
            "id": str(APPLICATION_ID),
            "name": "Shakespeare",
            "icon": None,
            "description": "",
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "",
            "flags": 0,
            "owner": user(1),
        } | self.application

    def _command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """As Discord gives it back: with what was left out, and without what need not be said."""
        known = {"id": str(next(self._ids)), "version": "1", "application_id": str(APPLICATION_ID)}
        permissions = command["default_member_permissions"]
        return {
            **command,
            **known,
            "default_member_permissions": None if permissions is None else str(permissions),
            "integration_types": command["integration_types"] or [0],
            "options": [
                {name: value for name, value in option.items() if value is not False}
                for option in command["options"]
            ],
        }

    def _callback(self, kind: int) -> dict[str, Any]:
        interaction = {"id": str(next(self._ids)), "type": CHAT_INPUT}
        return {"interaction": interaction, "resource": {"type": kind}}

    def _message(self, content: str) -> dict[str, Any]:
        return {
            "id": str(next(self._ids)),
            "channel_id": str(CHANNEL_ID),
            "author": user(APPLICATION_ID, bot=True),
            "content": content,
            "timestamp": "2024-01-01T00:00:00+00:00",
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "pinned": False,
            "type": 0,
        }


def _json(data: Any, status: int = 200) -> web.Response:
    # discord.py wants the type without a charset.
    return web.Response(
        body=json.dumps(data).encode(), status=status, content_type="application/json"
    )
