"""A stand-in for Discord on 127.0.0.1: the part of its REST API and gateway that the bot uses.

A request to any other route gets 404 and is added to `unknown`. A request that Discord would refuse
is refused and added to `errors`. `fail`, `cut`, `invalidate` and `repeat` make it fail.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Self

from aiohttp import web

from tests.discord_gateway import REMEMBERED, Gateway
from tests.discord_payloads import (
    APPLICATION_ID,
    CHAT_INPUT,
    CHOICES,
    COMPONENT,
    DEFERRED,
    DEFERRED_UPDATE,
    ENTRY_POINT,
    GUILD_ID,
    MEMBER,
    MESSAGE_COMMAND,
    MODAL,
    SAID,
    UPDATED,
    application,
    callback,
    command,
    interaction,
    message,
    user,
    wrong_with,
)

UNKNOWN_MESSAGE, UNKNOWN_WEBHOOK, UNKNOWN_INTERACTION = 10008, 10015, 10062
ACKNOWLEDGED, INVALID_BODY, ENTRY_POINT_REMOVED = 40060, 50035, 50240
EPHEMERAL = 64  # a flag
UPLOAD_LIMIT = 10 * 2**20  # bytes
PLACEHOLDER = "…"  # the bot shows it before it deletes a "thinking…"
# Instead of a status: no answer at all; the connection breaks before the answer, or within it.
HANGS, BREAKS, BREAKS_OFF = 0, 1, 2


@dataclass(frozen=True)
class Request:
    """A request to the REST API."""

    method: str
    path: str  # below /api/v10
    json: Any
    authorization: str | None


@dataclass
class Asked:
    """A command or button that somebody used, and the answers. Times are of time.monotonic."""

    event: Mapping[str, Any]  # as the bot gets it
    at: float = field(default_factory=time.monotonic)
    acknowledged: asyncio.Future[float] = field(default_factory=asyncio.Future)
    answered: asyncio.Future[float] = field(default_factory=asyncio.Future)  # or refused
    content: str = ""  # of the answer
    components: list[Any] = field(default_factory=list)  # of the answer
    told: list[str] = field(default_factory=list)  # refusals and follow-ups
    files: dict[str, bytes] = field(default_factory=dict)  # of the answer
    private: bool = False  # whether only the person who asked sees the answer
    thinking: bool = False  # "thinking…" is shown
    deleted: bool = False  # the answer, or "thinking…"
    overheard: list[str] = field(default_factory=list)  # what everybody has seen

    def think(self, private: bool) -> None:
        self.thinking, self.private = True, private

    def show(self, shown: Mapping[str, Any]) -> None:
        self.content = shown.get("content") or ""
        self.components = shown.get("components") or []
        self.thinking = False
        if not self.private:
            self.overheard.append(self.content)
        if self.content != PLACEHOLDER:
            self._answer()

    def tell(self, shown: Mapping[str, Any]) -> None:
        """Show a message of its own, or in the place of "thinking…"."""
        self.told.append(shown.get("content") or "")
        private = self.private if self.thinking else shown.get("flags", 0) & EPHEMERAL
        self.thinking = False
        if not private:
            self.overheard.append(self.told[-1])
        self._answer()

    def delete(self) -> None:
        self.content, self.thinking, self.deleted = "", False, True

    def _answer(self) -> None:
        if not self.answered.done():
            self.answered.set_result(time.monotonic())


@dataclass
class Failure:
    """How the next requests of a kind fail."""

    method: str
    pattern: str  # of the path, for fnmatch
    status: int
    code: int = 0  # Discord's
    times: int = 1  # left
    lands: bool = False  # Discord does what was asked all the same

    def fits(self, request: Request) -> bool:
        fits = self.method == request.method and fnmatch(request.path, self.pattern)
        return fits and self.times > 0


class DiscordServer(Gateway):
    """`async with DiscordServer() as discord:`, and a bot that finds it at `discord.api`."""

    def __init__(self, port: int = 0):
        super().__init__()
        self.requests: list[Request] = []
        self.unknown: list[Request] = []
        self.refuses_token = False
        self.application: dict[str, Any] = {}  # overrides parts of the application
        self.starts_left = {"remaining": 999, "reset_after": 0}  # sessions; milliseconds
        self.commands: list[dict[str, Any]] = []  # registered
        self.posted: dict[str, dict[str, Any]] = {}  # the bot's messages, by nonce
        self.delivers = asyncio.Event()  # edits of answers wait for it
        self.delivers.set()
        self._ids = itertools.count(10_000)
        self._asked: dict[str, Asked] = {}  # by interaction token
        self._failures: list[Failure] = []
        self._leaving = asyncio.Event()
        app = web.Application(client_max_size=UPLOAD_LIMIT)
        app.router.add_get("/gateway/", self.serve_gateway)
        app.router.add_route("*", "/api/v10/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        self._port = port
        self._site: web.TCPSite | None = None

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await self.connect()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leaving.set()
        await self._runner.cleanup()

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/v10"

    @property
    def gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/gateway/"

    async def connect(self) -> None:
        """Accept connections."""
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()

    async def disconnect(self) -> None:
        """Break all connections, and refuse new ones until `connect`."""
        await self._site.stop()
        for connection in self._runner.server.connections:
            connection.transport.abort()

    async def slash(
        self,
        name: str,
        options: Mapping[str, object],
        asker: int = 1,
        guild: int | None = GUILD_ID,
        kind: int = CHAT_INPUT,
    ) -> Asked:
        """Somebody uses a command in a channel."""
        kinds = {str: 3, int: 4, bool: 5, float: 10}
        given = [{"name": n, "type": kinds[type(v)], "value": v} for n, v in options.items()]
        data = {"id": "1", "name": name, "type": 1, "options": given}
        return await self._interact(kind, data, asker, guild)

    async def pick(
        self, name: str, content: str, asker: int = 1, guild: int | None = GUILD_ID
    ) -> Asked:
        """Somebody uses a message command on a message of somebody else."""
        number = str(next(self._ids))
        target = message(int(number), {"content": content}) | {"author": user(2)}
        data = {
            "id": "1",
            "name": name,
            "type": MESSAGE_COMMAND,
            "target_id": number,
            "resolved": {"messages": {number: target}},
        }
        return await self._interact(CHAT_INPUT, data, asker, guild)

    async def press(
        self, custom_id: str, under: Asked, asker: int = 1, guild: int | None = GUILD_ID
    ) -> Asked:
        """Somebody presses a button under an answer."""
        data = {"custom_id": custom_id, "component_type": 2}
        shown = {"content": under.content, "components": under.components}
        shown |= {"flags": EPHEMERAL if under.private else 0}
        pressed = message(next(self._ids), shown)
        return await self._interact(COMPONENT, data, asker, guild, message=pressed)

    async def say(
        self, content: str, *mentions: int, author: int = 1, guild: int | None = GUILD_ID
    ) -> str:
        """Somebody writes in a channel; without a guild, to the bot. Returns the message's id."""
        event = message(next(self._ids), {"content": content}) | {"author": user(author)}
        event["mentions"] = [user(number) for number in mentions]
        if guild is not None:
            event |= {"guild_id": str(guild), "member": MEMBER}
        await self.dispatch("MESSAGE_CREATE", event)
        return str(event["id"])

    async def repeat(self, asked: Asked) -> None:
        """Send the event of a command or a button once more."""
        await self.dispatch("INTERACTION_CREATE", asked.event)

    def fail(
        self, method: str, pattern: str, status: int, code: int = 0, times: int = 1, **more: bool
    ) -> "Failure":
        """Answer the next requests to paths such as `webhooks/*` with a status, HANGS, BREAKS or
        BREAKS_OFF."""
        self._failures = [failure for failure in self._failures if failure.times > 0]
        self._failures.append(Failure(method, pattern, status, code, times, **more))
        return self._failures[-1]

    async def _interact(
        self, kind: int, data: Mapping[str, Any], asker: int, guild: int | None, **more: Any
    ) -> Asked:
        event = interaction(next(self._ids), kind, data, asker, guild) | more
        asked = self._asked[event["token"]] = Asked(event=event)
        if len(self._asked) > REMEMBERED:
            del self._asked[next(iter(self._asked))]
        await self.dispatch("INTERACTION_CREATE", event)
        return asked

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body, files = await _body(request)
        path = request.match_info["path"]
        asked = Request(request.method, path, body, request.headers.get("Authorization"))
        self.requests.append(asked)
        if self.refuses_token:
            return _json({"message": "401: Unauthorized", "code": 0}, 401)
        if asked.method == "PATCH" and asked.path.startswith("webhooks/"):
            await self.delivers.wait()
        failure = next((failure for failure in self._failures if failure.fits(asked)), None)
        if failure is None:
            return self._answer(asked, files)
        failure.times -= 1
        if failure.lands:
            self._answer(asked, files)
        if failure.status == HANGS:
            await self._leaving.wait()
        if failure.status in (BREAKS, BREAKS_OFF):
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            if failure.status == BREAKS_OFF:
                await response.prepare(request)
                await response.write(b"{")
            request.transport.abort()
            return response
        said = {"message": "as planned", "code": failure.code, "retry_after": 0.1, "global": False}
        return _json(said, failure.status, {"Via": "1.1 test", "Retry-After": "1"})

    def _answer(self, asked: Request, files: dict[str, bytes]) -> web.Response:
        body = asked.json
        match asked.method, asked.path.split("/"):
            case "GET", ["users", "@me"]:
                return _json(user(APPLICATION_ID, bot=True))
            case "GET", ["users", "@me", "guilds"]:
                return _json([{"id": str(GUILD_ID), "name": "The Globe", "owner": False}])
            case "GET", ["oauth2", "applications", "@me"]:
                return _json(self._application)
            case "PATCH", ["applications", "@me"]:
                return self._edit_application(asked)
            case "GET", ["gateway", "bot"]:
                limit = {"total": 1000, "max_concurrency": 1} | self.starts_left
                gateway = {"url": self.gateway_url, "shards": 1, "session_start_limit": limit}
                return _json(gateway)
            case "PUT", ["applications", _, "commands"] if isinstance(body, list):
                return self._register(asked)
            case "GET", ["applications", _, "commands"]:
                return _json(self.commands)
            case "POST", ["channels", _, "messages"]:
                return self._post(asked)
            case "POST", ["channels", _, "typing"]:
                return web.Response(status=204)
            case "PATCH", ["channels", _, "messages", number]:
                return _json(message(int(number), body))
            case "POST", ["interactions", _, token, "callback"]:
                return self._acknowledge(asked, token)
            case "POST", ["webhooks", _, token]:
                return self._show(asked, token)
            case "PATCH", ["webhooks", _, token, "messages", "@original"]:
                return self._show(asked, token, files)
            case "DELETE", ["webhooks", _, token, "messages", "@original"]:
                return self._delete(asked, token)
        self.unknown.append(asked)
        return _json({"message": "404: Not Found", "code": 0}, status=404)

    @property
    def _application(self) -> dict[str, Any]:
        return application() | self.application

    def _edit_application(self, request: Request) -> web.Response:
        config = request.json.get("integration_types_config", {})
        private = not self._application["bot_public"]
        if private and any("oauth2_install_params" in kind for kind in config.values()):
            what = "Private application cannot have a default authorization link"
            return self._refuse(request, 400, INVALID_BODY, what)
        self.application |= request.json
        return _json(self._application)

    def _register(self, request: Request) -> web.Response:
        kinds = [int(kind) for kind in self._application["integration_types_config"]]
        given = request.json
        if not all(set(each.get("integration_types") or []) <= set(kinds) for each in given):
            return self._refuse(request, 400, INVALID_BODY, "integration_types")
        entry_points = {each["name"] for each in self.commands if each["type"] == ENTRY_POINT}
        if not entry_points <= {each["name"] for each in given}:
            what = "You cannot remove this app's Entry Point command in a bulk update operation"
            return self._refuse(request, 400, ENTRY_POINT_REMOVED, what)
        self.commands = [command(next(self._ids), each, kinds) for each in given]
        return _json(self.commands)

    def _post(self, request: Request) -> web.Response:
        body = request.json
        if wrong := wrong_with(body):
            return self._refuse(request, 400, INVALID_BODY, wrong)
        if not body.get("enforce_nonce"):
            return self._refuse(request, 400, INVALID_BODY, "no nonce: it could appear twice")
        shown = self.posted.setdefault(body["nonce"], message(next(self._ids), body))
        return _json(shown)

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
        if kind == DEFERRED:
            asked.think(bool(body.get("data", {}).get("flags", 0) & EPHEMERAL))
        elif kind == SAID:
            asked.tell(body["data"])
        elif kind == UPDATED:
            asked.show(body["data"])
        return _json(callback(next(self._ids), kind))

    def _show(
        self, request: Request, token: str, files: dict[str, bytes] | None = None
    ) -> web.Response:
        """Edit the answer, with its files; without `files`, send a follow-up."""
        asked, body = self._asked.get(token), request.json
        if asked is None or not asked.acknowledged.done():
            return self._refuse(request, 404, UNKNOWN_WEBHOOK, "Unknown Webhook")
        if wrong := wrong_with(body):
            return self._refuse(request, 400, INVALID_BODY, wrong)
        if files is None:
            asked.tell(body)
        elif asked.deleted:
            return self._refuse(request, 404, UNKNOWN_MESSAGE, "Unknown Message", noted=False)
        else:
            asked.files = files
            asked.show(body)
        return _json(message(next(self._ids), body))

    def _delete(self, request: Request, token: str) -> web.Response:
        asked = self._asked.get(token)
        if asked is None or not asked.acknowledged.done():
            return self._refuse(request, 404, UNKNOWN_WEBHOOK, "Unknown Webhook")
        if asked.deleted:
            return self._refuse(request, 404, UNKNOWN_MESSAGE, "Unknown Message", noted=False)
        asked.delete()
        return web.Response(status=204)

    def _refuse(
        self, request: Request, status: int, code: int, what: str, noted: bool = True
    ) -> web.Response:
        if noted:
            self.errors.append(f"{request.method} {request.path}: {what}: {request.json}")
        return _json({"message": what, "code": code}, status)


async def _body(request: web.Request) -> tuple[Any, dict[str, bytes]]:
    """What was sent, and the files with it."""
    if not request.can_read_body:
        return None, {}
    if request.content_type != "multipart/form-data":
        return await request.json(), {}
    parts = await request.post()
    files = [part for part in parts.values() if isinstance(part, web.FileField)]
    return json.loads(str(parts["payload_json"])), {one.filename: one.file.read() for one in files}


def _json(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    # discord.py expects the content type without a charset.
    content, kind = json.dumps(data).encode(), "application/json"
    return web.Response(body=content, status=status, content_type=kind, headers=headers)
