"""How much memory the bot uses in many servers: a real bot process, and a stand-in for Discord.

pip install -c constraints.txt -e '.[bot]'
python benchmarks/guilds.py
python benchmarks/guilds.py --guilds 0 1000 5000
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.answers import resident_mb
from tests.discord_payloads import GUILD_ID, TOKEN, user
from tests.discord_server import DiscordServer

CHANNELS, ROLES, EMOJIS = 30, 20, 25
TEXT, VOICE, CATEGORY = 0, 2, 4


def guild(number: int) -> dict[str, Any]:
    """The gateway's description of a server of ordinary size, for a bot with the guilds intent."""
    ids = iter(range((GUILD_ID + number) * 1000, (GUILD_ID + number + 1) * 1000))
    guild_id = next(ids)
    roles = [role(guild_id if n == 0 else next(ids), n) for n in range(ROLES)]
    return {
        "id": str(guild_id),
        "unavailable": False,
        "name": f"The server of number {number}",
        "icon": f"{number:032x}",
        "owner_id": str(next(ids)),
        "member_count": 500,
        "joined_at": "2024-01-01T00:00:00+00:00",
        "preferred_locale": "en-US",
        "features": ["COMMUNITY", "NEWS", "INVITE_SPLASH"],
        "large": True,
        "roles": roles,
        "channels": list(channels(ids, [role["id"] for role in roles])),
        "emojis": [
            {"id": str(next(ids)), "name": f"emoji{n}", "roles": [], "animated": False}
            for n in range(EMOJIS)
        ],
        "members": [
            {
                "user": user(1000, bot=True),
                "roles": [roles[1]["id"]],
                "joined_at": "2024-01-01T00:00:00+00:00",
                "deaf": False,
                "mute": False,
                "flags": 0,
            }
        ],
    }


def role(role_id: int, position: int) -> dict[str, Any]:
    return {
        "id": str(role_id),
        "name": f"role {position} of {role_id}",
        "permissions": "104324673",
        "position": position,
        "color": 0x3498DB,
        "hoist": False,
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }


def channels(ids: Iterator[int], roles: list[str]) -> Iterator[dict[str, Any]]:
    """Of every ten a category and two for voice; some with permissions of their own."""
    parent: str | None = None
    for n in range(CHANNELS):
        channel_id = str(next(ids))
        kind = CATEGORY if n % 10 == 0 else VOICE if n % 10 > 7 else TEXT
        yield {
            "id": channel_id,
            "type": kind,
            "name": f"channel-{n}",
            "position": n,
            "parent_id": None if kind == CATEGORY else parent,
            "topic": f"What is talked of here, number {n}: one thing and another." * (kind == TEXT),
            "nsfw": False,
            "rate_limit_per_user": 0,
            "last_message_id": str(next(ids)),
            "bitrate": 64_000,
            "user_limit": 0,
            "permission_overwrites": [
                {"id": role, "type": 0, "allow": "1024", "deny": "2048"} for role in roles[: n % 4]
            ],
        }
        if kind == CATEGORY:
            parent = channel_id


async def measure(guilds: int, state: str) -> float:
    """Megabytes, after an answer that came after the last of `guilds` servers."""
    async with DiscordServer() as discord:
        settings = {"DISCORD_TOKEN": TOKEN, "DISCORD_API": discord.api, "STATE": state}
        bot = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot"), env=os.environ | settings | {"LOG_LEVEL": "WARNING"}
        )
        await asyncio.wait_for(discord.identified.wait(), 60)
        started = time.monotonic()
        for number in range(1, guilds + 1):
            await discord.dispatch("GUILD_CREATE", guild(number))
        asked = await discord.slash("shakespeare", {"seed": "To be"})
        await asyncio.wait_for(asked.answered, 600)
        print(f"{guilds:,} servers: {time.monotonic() - started:.1f} s, ", end="")
        memory_mb = resident_mb(bot.pid)
        print(f"{memory_mb:.1f} MB", flush=True)
        bot.terminate()
        await bot.wait()
    return memory_mb


def main() -> None:
    parser = argparse.ArgumentParser(description="The bot's memory in many servers.")
    parser.add_argument("--guilds", type=int, nargs="+", default=[0, 5000])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as state:
        found = [asyncio.run(measure(guilds, state)) for guilds in options.guilds]
    more = options.guilds[-1] - options.guilds[0]
    print(f"{(found[-1] - found[0]) / more * 1024:.1f} kB a server")


if __name__ == "__main__":
    main()
