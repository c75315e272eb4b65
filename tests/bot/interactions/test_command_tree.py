from types import SimpleNamespace
from typing import Any

import discord
from discord.ext import commands

from bot.interactions.command_tree import Tree


async def test_an_interaction_is_new_once():
    bot = commands.Bot("!", intents=discord.Intents.none(), tree_cls=Tree)
    first, second = (SimpleNamespace(id=number) for number in (1, 2))
    arrived: Any = [first, second, first]
    assert [bot.tree.is_new(interaction) for interaction in arrived] == [True, True, False]
