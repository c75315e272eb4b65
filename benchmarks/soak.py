"""The bot under load for an hour, with random faults of Discord, the disk and the machine.

    pip install -c constraints.txt -e '.[bot]'
    python benchmarks/soak.py --minutes 60

A request is silent if it has no answer of any kind after a minute. Only requests that a fault made
impossible to answer may be silent.
"""

import argparse
import asyncio
import os
import random
import re
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.answers import resident_mb
from tests.discord_payloads import TOKEN
from tests.discord_server import HANGS, Asked, DiscordServer

PATIENCE_S = 60
AROUND_S = 5  # a fault affects requests from so long before it to so long after it
REPORT_S = 300
FAULT_PAUSE_S = (5, 20)
CALLBACKS, EDITS = ("POST", "interactions/*"), ("PATCH", "webhooks/*")
SEEDS = ("To be, or not to be", "HAMLET:\n", "O Romeo", "", "¿Qué? 🎭", "x" * 1500)


class Soak:
    """People who ask, what strikes meanwhile, and the figures of both."""

    def __init__(
        self, discord: DiscordServer, bot: asyncio.subprocess.Process, state: Path, seed: int
    ):
        self._discord = discord
        self._bot = bot
        self._registry = state / "registry.db"
        self._random = random.Random(seed)  # noqa: S311 - which fault comes when is no secret
        self._started = time.monotonic()
        self._counts = Counter[str]()
        self._told = Counter[str]()
        self._faults = Counter[str]()
        self._impossible: list[tuple[float, float]] = []  # from when to when no answer could be
        self._at_first_mb = 0.0
        self._late: set[asyncio.Task[None]] = set()

    async def run(self, people: int, minutes: float) -> None:
        end = self._started + minutes * 60
        tasks = [asyncio.create_task(self._person(number, end)) for number in range(1, people + 1)]
        tasks.append(asyncio.create_task(self._strike(end)))
        watching = asyncio.create_task(self._watch(min(REPORT_S, minutes * 30)))
        await asyncio.gather(*tasks)
        await asyncio.gather(*self._late)
        watching.cancel()
        self.report()

    def report(self) -> None:
        minutes = (time.monotonic() - self._started) / 60
        shown = ("asked", "answered", "refused", "silent", "silent, as no answer was possible")
        print(f"after {minutes:.1f} min:", ", ".join(f"{self._counts[n]:,} {n}" for n in shown))
        memory = f"resident {resident_mb(self._bot.pid):.0f} MB" if self._alive() else "no memory"
        print(f"  {memory}, {self._at_first_mb:.0f} MB after the first minute")
        print("  faults:", dict(self._faults.most_common()))
        print("  people were told:", dict(self._told.most_common()))
        connections = f"{self._discord.identifies} IDENTIFYs, {self._discord.resumes} RESUMEs"
        wrong = f"refused: {self._discord.errors}, unknown: {self._discord.unknown}"
        print(f"  {connections}; {wrong}", flush=True)

    def _alive(self) -> bool:
        return self._bot.returncode is None

    async def _watch(self, every_s: float) -> None:
        await asyncio.sleep(min(60, every_s))
        self._at_first_mb = resident_mb(self._bot.pid)
        while True:
            self.report()
            await asyncio.sleep(every_s)

    async def _person(self, number: int, end: float) -> None:
        """Asks, waits for the answer, presses a button under it now and then, asks again."""
        while time.monotonic() < end and self._alive():
            self._discord.requests.clear()
            asked = await self._ask(number)
            answered = await self._wait(asked)
            buttons = [item for row in asked.components for item in row["components"]]
            if answered and buttons and self._random.random() < 0.3:
                button = self._random.choice(buttons)
                if not button.get("disabled"):
                    where = {"asker": number, "guild": 2000 + number % 8}
                    await self._wait(await self._discord.press(button["custom_id"], asked, **where))
            await asyncio.sleep(self._random.uniform(0, 2))

    async def _ask(self, number: int) -> Asked:
        name = self._random.choice(("shakespeare", "shakespeare", "write", "privacy"))
        options = {} if name == "privacy" else {"seed": self._random.choice(SEEDS)}
        return await self._discord.slash(name, options, asker=number, guild=2000 + number % 8)

    async def _wait(self, asked: Asked) -> bool:
        """Whether there was an answer and not a sentence, or nothing, instead of it."""
        self._counts["asked"] += 1
        await asyncio.wait([asked.answered], timeout=PATIENCE_S)
        for sentence in asked.told:
            self._told[re.sub(r"[\d.]*\d", "#", sentence)] += 1
        if not asked.answered.done():
            spared = any(start <= asked.at <= end for start, end in self._impossible)
            self._counts["silent, as no answer was possible" if spared else "silent"] += 1
            if not spared:
                acknowledged = "acknowledged" if asked.acknowledged.done() else "never taken"
                print(f"silent: interaction {asked.event['id']}, {acknowledged}", flush=True)
        elif asked.told:
            self._counts["refused"] += 1
        else:
            self._counts["answered"] += 1
        return asked.answered.done() and not asked.told

    def _wait_later(self, asked: Asked) -> None:
        async def wait() -> None:
            await self._wait(asked)

        task = asyncio.create_task(wait())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _strike(self, end: float) -> None:
        possible = (
            self._cut,
            self._close,
            self._invalidate_for_a_moment,
            self._limit,
            self._break,
            self._break_but_do,
            self._hang,
            self._hang_at_first,
            self._forbid,
            self._repeat,
            self._burst,
            self._lock,
            self._stop,
        )
        impossible = (self._invalidate, self._forget)
        faults = (*possible * 3, *impossible)
        while time.monotonic() < end and self._alive():
            fault: Callable[[], Awaitable[None]] = self._random.choice(faults)
            started = time.monotonic()
            await fault()
            if fault in impossible:
                self._impossible.append((started - AROUND_S, time.monotonic() + AROUND_S))
            self._faults[fault.__name__.strip("_").replace("_", " ")] += 1
            await asyncio.sleep(self._random.uniform(*FAULT_PAUSE_S))

    async def _cut(self) -> None:
        await self._discord.cut()

    async def _close(self) -> None:
        await self._discord.cut(code=self._random.choice((1000, 1001, 4000, 4008)))

    async def _invalidate_for_a_moment(self) -> None:
        await self._discord.invalidate(resumable=True)

    async def _invalidate(self) -> None:
        identifies = self._discord.identifies
        await self._discord.invalidate(resumable=False)
        while self._discord.identifies == identifies and self._alive():  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    async def _limit(self) -> None:
        self._discord.fail(*EDITS, 429, times=self._random.randint(1, 4))

    async def _break(self) -> None:
        status = self._random.choice((500, 502, 503))
        self._discord.fail(*EDITS, status, times=self._random.randint(1, 3))

    async def _break_but_do(self) -> None:
        self._discord.fail(*self._random.choice((CALLBACKS, EDITS)), 502, lands=True)

    async def _hang(self) -> None:
        self._discord.fail(*EDITS, HANGS)

    async def _hang_at_first(self) -> None:
        self._discord.fail(*CALLBACKS, HANGS)

    async def _forbid(self) -> None:
        code = self._random.choice((50001, 50013))
        self._discord.fail(*EDITS, 403, code)

    async def _forget(self) -> None:
        code = self._random.choice((10008, 10062))
        failure = self._discord.fail(*EDITS, 404, code)
        while failure.times and self._alive():  # noqa: ASYNC110 - just now, perhaps nobody asks
            await asyncio.sleep(0.1)

    async def _repeat(self) -> None:
        asked = await self._ask(100)
        await self._discord.repeat(asked)
        self._wait_later(asked)

    async def _burst(self) -> None:
        for number in range(200, 300):
            self._wait_later(await self._ask(number))

    async def _lock(self) -> None:
        with closing(sqlite3.connect(self._registry, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            self._wait_later(await self._ask(101))
            await asyncio.sleep(1)

    async def _stop(self) -> None:
        psutil.Process(self._bot.pid).suspend()
        await asyncio.sleep(3)
        psutil.Process(self._bot.pid).resume()


async def soak(people: int, minutes: float, seed: int, log: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, log.open("wb") as errors:
        async with DiscordServer() as discord:
            settings = {"DISCORD_TOKEN": TOKEN, "DISCORD_API": discord.api, "STATE": folder}
            bot = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot"),
                env=os.environ | settings | {"COOLDOWN_S": "0.5"},
                stderr=errors,
            )
            await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
            await Soak(discord, bot, Path(folder), seed).run(people, minutes)
            if bot.returncode is None:
                bot.terminate()
            print(f"exit code {await bot.wait()}; its log is in {log}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The bot under load and faults.")
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1, help="of the faults' order")
    parser.add_argument(
        "--log", type=Path, default=Path(tempfile.gettempdir()) / "soak.log", help="of the bot"
    )
    options = parser.parse_args()
    asyncio.run(soak(options.people, options.minutes, options.seed, options.log))


if __name__ == "__main__":
    main()
