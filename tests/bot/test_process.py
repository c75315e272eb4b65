"""The bot as a process of its own, beside a Discord on 127.0.0.1."""

import asyncio
import json
from pathlib import Path

from bot.interactions.reply import Reply
from tests.bot.processes import PATIENCE_S, Start
from tests.discord_server import APPLICATION_ID, GUILD_ID, SECOND_GUILD_ID, TOKEN, DiscordServer


async def test_it_syncs_its_commands_answers_and_ends_when_asked(
    discord: DiscordServer, start: Start
):
    bot = await start()
    await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
    [synced] = [request for request in discord.requests if request.method == "PUT"]
    assert synced.path == f"applications/{APPLICATION_ID}/commands"
    names = [command["name"] for command in synced.json]
    assert names == ["shakespeare", "write", "retrain", "models", "privacy"]
    asked = await discord.slash("shakespeare", {"seed": "To be", "temperature": 0.9})
    await asyncio.wait_for(asked.answered, PATIENCE_S)
    reply = Reply.parse(asked.content)
    assert (reply.seed, reply.temperature) == ("To be", 0.9)
    assert asked.acknowledged.result() < asked.answered.result()
    bot.terminate()
    _, log = await asyncio.wait_for(bot.communicate(), PATIENCE_S)
    assert bot.returncode == 0
    assert TOKEN.encode() not in log
    assert discord.unknown == []
    assert {request.authorization for request in discord.requests} == {f"Bot {TOKEN}", None}


async def test_a_second_start_registers_the_commands_again_only_if_they_differ(
    discord: DiscordServer, start: Start
):
    for registrations, forget in ((1, False), (1, True), (2, False)):
        discord.identified.clear()
        bot = await start()
        await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
        bot.terminate()
        await asyncio.wait_for(bot.communicate(), PATIENCE_S)
        assert [request.method for request in discord.requests].count("PUT") == registrations
        if forget:
            del discord.commands[1:]


async def test_the_log_for_machines_has_an_object_a_line_and_nothing_that_people_wrote(
    discord: DiscordServer, start: Start
):
    bot = await start(LOG_FORMAT="json", LOG_LEVEL="DEBUG", COOLDOWN_S="60")
    await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
    for _ in range(2):
        asked = await discord.slash("shakespeare", {"seed": "My own words"})
        await asyncio.wait_for(asked.acknowledged, PATIENCE_S)
    log, answered = b"", {}
    while len(answered) < 2:
        written = await asyncio.wait_for(bot.stderr.readline(), PATIENCE_S)
        log += written
        line = json.loads(written)
        assert {"time", "level", "logger", "message"} <= line.keys()
        if line["logger"] == "bot.interactions.answering":
            answered[line["outcome"]] = line
    bot.terminate()
    log += (await asyncio.wait_for(bot.communicate(), PATIENCE_S))[1]
    assert b"My own words" not in log
    assert TOKEN.encode() not in log
    assert sorted(answered) == ["ok", "refused: cooldown"]
    assert answered["ok"]["command"] == "/shakespeare"
    assert answered["ok"]["guild"] == str(GUILD_ID)
    assert answered["ok"]["interaction"].isdecimal()
    assert answered["ok"]["duration_ms"] > 0


async def test_two_processes_share_the_shards_and_one_syncs_the_commands(
    discord: DiscordServer, start: Start, tmp_path: Path
):
    bots = [
        await start(STATE=str(tmp_path / shard), SHARD_IDS=shard, SHARD_COUNT="2") for shard in "01"
    ]
    await asyncio.wait_for(discord.identified.wait(), PATIENCE_S)
    for guild in (GUILD_ID, SECOND_GUILD_ID):
        asked = await discord.slash("shakespeare", {"seed": "To be"}, asker=guild, guild=guild)
        await asyncio.wait_for(asked.answered, PATIENCE_S)
        assert Reply.parse(asked.content).seed == "To be"
    bots[0].terminate()  # the one that leaves takes no other along
    await asyncio.wait_for(bots[0].communicate(), PATIENCE_S)
    asked = await discord.slash("shakespeare", {"seed": "And yet"}, asker=3, guild=SECOND_GUILD_ID)
    await asyncio.wait_for(asked.answered, PATIENCE_S)
    bots[1].terminate()
    await asyncio.wait_for(bots[1].communicate(), PATIENCE_S)
    assert [bot.returncode for bot in bots] == [0, 0]
    assert [request.method for request in discord.requests].count("PUT") == 1
    assert discord.unknown == []
