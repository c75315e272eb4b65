"""How fast the bot answers: a real bot process, connected to a stand-in for Discord on 127.0.0.1.

pip install -c constraints.txt -e '.[bot]'
python benchmarks/answers.py
python benchmarks/answers.py --minutes 60     load for an hour, and memory over time
EXECUTOR=dask://127.0.0.1:8786 python benchmarks/answers.py     text written by a cluster
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.discord_payloads import TOKEN
from tests.discord_server import Asked, DiscordServer

SEED = "To be, or not to be"


def processor_s(pid: int) -> float:
    """Processor time that a process has used, in seconds."""
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def resident_mb(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 2**20


async def ask(discord: DiscordServer, person: int) -> Asked:
    asked = await discord.slash(
        "shakespeare", {"seed": SEED}, asker=person, guild=2000 + person % 8
    )
    await asyncio.wait_for(asked.answered, 60)
    return asked


def report(name: str, asked: list[Asked]) -> None:
    for what in ("acknowledged", "answered"):
        waits = sorted((getattr(a, what).result() - a.at) * 1000 for a in asked)
        print(
            f"{name}, {what}: median {statistics.median(waits):.0f} ms, "
            f"95 % within {waits[int(0.95 * (len(waits) - 1))]:.0f} ms, all {waits[-1]:.0f} ms"
        )


async def hold(discord: DiscordServer, people: int, pid: int, minutes: float) -> None:
    """So many people, each asking again as soon as they are answered."""
    asked: list[Asked] = []
    end = time.monotonic() + minutes * 60

    async def person(number: int) -> None:
        while time.monotonic() < end:
            asked.append(await ask(discord, number))

    async def watch() -> None:
        while True:
            await asyncio.sleep(min(60, minutes * 15))
            print(f"{len(asked):,} answers, {resident_mb(pid):.0f} MB", flush=True)

    watching = asyncio.create_task(watch())
    used_s, started = processor_s(pid), time.monotonic()
    await asyncio.gather(*(person(number) for number in range(1, people + 1)))
    watching.cancel()
    print(f"{len(asked) / (time.monotonic() - started):.0f} answers a second")
    used_ms = (processor_s(pid) - used_s) * 1000 / len(asked)
    print(f"{used_ms:.1f} ms of a processor for an answer, in the bot's process")
    report(f"{people} waiting at any time", asked)


async def measure(people: int, minutes: float) -> None:
    async with DiscordServer() as discord:
        settings = {"DISCORD_TOKEN": TOKEN, "DISCORD_API": discord.api, "COOLDOWN_S": "0"}
        started = time.monotonic()
        bot = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot"), env=os.environ | settings | {"LOG_LEVEL": "WARNING"}
        )
        await asyncio.wait_for(discord.identified.wait(), 60)
        print(f"ready after {time.monotonic() - started:.2f} s")
        await ask(discord, 1)
        print(f"idle: {resident_mb(bot.pid):.0f} MB")
        report("alone", [await ask(discord, 1) for _ in range(20)])
        at_once = await asyncio.gather(*(ask(discord, n) for n in range(1, people + 1)))
        report(f"{people} at once", at_once)
        await hold(discord, people, bot.pid, minutes)
        bot.terminate()
        print(f"exit code {await bot.wait()}; asked of Discord and unknown: {discord.unknown}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The bot's answers over real sockets.")
    parser.add_argument("--people", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=0.5)
    options = parser.parse_args()
    asyncio.run(measure(options.people, options.minutes))


if __name__ == "__main__":
    main()
