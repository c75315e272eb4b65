import shutil
from pathlib import Path

from bot.client import create_bot
from bot.settings import Settings
from charrnn.store import Model
from tests.bot.guilds import ADMIN, CHANNEL, GLOBE, SOURCE


async def test_a_new_model_gets_another_name_than_the_operators_model(
    stateful: Model, tmp_path: Path
):
    folder = tmp_path / "models" / "general"
    shutil.copytree(stateful.folder, folder)
    async with create_bot(Settings(model=folder, state=tmp_path / "state")) as bot:
        job = await bot.services.training.create(
            GLOBE, ADMIN, CHANNEL, name=None, base="chat", source=SOURCE
        )
    assert (SOURCE.name, job.row.name) == ("#general", "general-2")
