"""`python -m bot` as processes."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Self

from tests.discord_payloads import TOKEN

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60  # on a busy machine

BOT = (sys.executable, "-m", "bot")
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


class Processes:
    """Starts bots beside a Discord, and kills them in the end."""

    def __init__(self, api: str, state: Path):
        self._environment = {"DISCORD_TOKEN": TOKEN, "DISCORD_API": api, "STATE": str(state)}
        self._started: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def start(
        self, *options: str, program: Sequence[str] = BOT, **settings: str
    ) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *program,
            *options,
            cwd=ROOT,
            env=os.environ | self._environment | settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._started.append(process)
        return process


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """A process's exit code (minus the signal's number if it was killed), and its output."""
    printed, log = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    return process.returncode, (printed + log).decode()


async def stops(process: asyncio.subprocess.Process) -> None:
    """Wait until a bot logs that it is stopping."""
    assert process.stderr is not None
    while b"Stopping." not in (line := await process.stderr.readline()):
        assert line, "it has ended"


async def until(happened: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def trainings() -> dict[int, list[bytes]]:
    """The trainings on this machine: process ids, and their command lines."""
    lines = {int(path.parent.name): _read(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    return {pid: line.split(b"\0") for pid, line in lines.items() if b"charrnn\0train" in line}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended
