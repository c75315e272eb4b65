"""The gateway of the stand-in for Discord: one session, which the bot begins and resumes."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType, web

from tests.discord_payloads import APPLICATION_ID, GUILD_ID, guild, user

HELLO, HEARTBEAT_ACK, DISPATCH, HEARTBEAT, IDENTIFY = 10, 11, 0, 1, 2
RESUME, INVALID_SESSION = 6, 9
HEARTBEAT_INTERVAL_MS = 20_000
TRAVEL_S = 0.01  # an earlier answer would arrive before discord.py expects one
REMEMBERED = 2000  # events that are sent again when the session is resumed


class Gateway:
    def __init__(self) -> None:
        self.identified = asyncio.Event()
        self.identifies = self.resumes = 0
        self.accepts = True  # connections
        self.close_code: int | None = None  # sent in reply to IDENTIFY
        self.errors: list[str] = []  # requests that Discord would refuse
        self._session_id = ""
        self._socket: web.WebSocketResponse | None = None
        self._events: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._sequence = 0  # of the last event

    @property
    def gateway_url(self) -> str:
        raise NotImplementedError

    async def cut(self, code: int | None = None) -> None:
        """Close the connection; without a code, as if the network failed."""
        if code is not None:
            await self._socket.close(code=code)
        elif (transport := self._socket._req and self._socket._req.transport) is not None:
            transport.abort()

    async def invalidate(self, resumable: bool) -> None:
        """Tell the bot that its session is invalid."""
        if not resumable:
            self._session_id = ""
        await self._socket.send_json({"op": INVALID_SESSION, "d": resumable})

    async def dispatch(self, event: str, data: Mapping[str, Any]) -> None:
        """Send an event now, or when the bot has resumed its session."""
        self._sequence += 1
        payload = {"op": DISPATCH, "t": event, "s": self._sequence, "d": data}
        self._events.append(payload)
        if not self._socket.closed:
            await _send(self._socket, payload)

    async def serve_gateway(self, request: web.Request) -> web.WebSocketResponse:
        if not self.accepts:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": HELLO, "d": {"heartbeat_interval": HEARTBEAT_INTERVAL_MS}})
        async for received in socket:
            if received.type is not WSMsgType.TEXT:
                continue
            payload = json.loads(received.data)
            op = payload["op"]
            if op == HEARTBEAT:
                await asyncio.sleep(TRAVEL_S)
                await _send(socket, {"op": HEARTBEAT_ACK})
            elif op == IDENTIFY and self.close_code is not None:
                await socket.close(code=self.close_code)
            elif op == IDENTIFY:
                await self._welcome(socket)
            elif op == RESUME:
                await self._resume(payload["d"], socket)
            else:
                self.errors.append(f"gateway: {payload}")
        return socket

    async def _welcome(self, socket: web.WebSocketResponse) -> None:
        self.identifies += 1
        self._session_id, self._socket = f"session{self.identifies}", socket
        self._sequence = 0
        self._events.clear()
        ready = {
            "v": 10,
            "user": user(APPLICATION_ID, bot=True),
            "guilds": [{"id": str(GUILD_ID), "unavailable": True}],
            "session_id": self._session_id,
            "resume_gateway_url": self.gateway_url,
            "shard": [0, 1],
            "application": {"id": str(APPLICATION_ID), "flags": 0},
        }
        await self.dispatch("READY", ready)
        await self.dispatch("GUILD_CREATE", guild())
        self.identified.set()

    async def _resume(self, resume: Mapping[str, Any], socket: web.WebSocketResponse) -> None:
        self.resumes += 1
        if resume["session_id"] != self._session_id:
            await _send(socket, {"op": INVALID_SESSION, "d": False})
            return
        missed = [event for event in self._events if event["s"] > resume["seq"]]
        if len(missed) != self._sequence - resume["seq"]:
            self.errors.append(f"resumed after {resume['seq']} of {self._sequence}")
        self._socket = socket
        for event in missed:
            await _send(socket, event)
        await self.dispatch("RESUMED", {})


async def _send(socket: web.WebSocketResponse, payload: Mapping[str, Any]) -> None:
    with contextlib.suppress(ConnectionError):  # just cut; the event is sent after the resume
        await socket.send_json(payload)
