import shutil
from pathlib import Path

import pytest

from bot.errors import BotError
from bot.models.reference import ModelReference
from bot.models.server_models import ServerModels
from bot.storage.files import StateFolder
from bot.storage.records import StoredModel
from bot.storage.registry import Registry
from charrnn import store
from charrnn.errors import ModelError
from charrnn.store import Model
from tests.bot.guilds import GLOBE, ROSE, create, make


@pytest.fixture
def files(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


@pytest.fixture
def chat(stateful: Model) -> ModelReference:
    return ModelReference.of(stateful.folder)


@pytest.fixture
def models(registry: Registry, files: StateFolder, chat: ModelReference) -> ServerModels:
    return ServerModels(registry, files, {"chat": chat})


@pytest.fixture
async def mine(registry: Registry, files: StateFolder, stateful: Model) -> StoredModel:
    """A model of one server, with its files."""
    model = await make(registry, GLOBE, "mine")
    shutil.copytree(stateful.folder, files.model(model))
    return model


async def test_a_server_writes_with_the_default_until_it_uses_its_own(
    models: ServerModels, mine: StoredModel, files: StateFolder, chat: ModelReference
):
    assert await models.in_use(GLOBE) == chat
    await models.use(GLOBE, mine.id)
    own = await models.in_use(GLOBE)
    assert (own.name, own.folder) == ("mine", files.model(mine))
    for other in (ROSE, None):
        assert await models.in_use(other) == chat
    assert await models.roll_back(GLOBE, mine.id) == chat


async def test_a_server_finds_shipped_models_and_its_own(
    models: ServerModels, mine: StoredModel, files: StateFolder, chat: ModelReference
):
    assert await models.names(GLOBE) == ["chat", "mine"]
    assert await models.find(GLOBE, "chat") == await models.find(GLOBE, "Chat") == chat
    assert (await models.find(GLOBE, "MINE")).folder == files.model(mine)
    assert await models.own_id(GLOBE, "Chat") is None
    assert await models.own_id(GLOBE, "mine") == mine.id


async def test_a_server_does_not_find_the_models_of_another(
    models: ServerModels, mine: StoredModel
):
    assert await models.names(ROSE) == await models.names(None) == ["chat"]
    for asked in (
        models.find(ROSE, "mine"),
        models.find(None, "mine"),
        models.own_id(ROSE, "mine"),
        models.use(ROSE, mine.id),
        models.roll_back(ROSE, mine.id),
        models.delete(ROSE, mine.id),
    ):
        with pytest.raises(BotError, match="no such model"):
            await asked


async def test_the_base_of_a_job_is_found_after_it_was_renamed(
    models: ServerModels, mine: StoredModel, registry: Registry, files: StateFolder
):
    job = await create(registry, GLOBE, "next", base="mine", base_id=mine.id)
    await registry.rename(GLOBE, mine.id, "renamed")
    assert (await models.base(job)).folder == files.model(mine)


async def test_a_shipped_base_is_found_by_its_name(
    models: ServerModels, registry: Registry, chat: ModelReference
):
    assert await models.base(await create(registry)) == chat


async def test_a_damaged_model_is_not_used(
    models: ServerModels,
    mine: StoredModel,
    files: StateFolder,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
):
    card = files.model(mine) / store.CARD
    card.write_bytes(b"{")
    with pytest.raises(BotError, match="mine is damaged and cannot be used"):
        await models.use(GLOBE, mine.id)
    assert await registry.model_in_use(GLOBE) is None
    assert str(card) in caplog.text


def test_only_damage_to_a_servers_own_model_is_explained_to_its_admins(
    models: ServerModels, chat: ModelReference, tmp_path: Path
):
    with pytest.raises(BotError), models.explaining("mine", tmp_path / "models" / "10" / "1"):
        raise ModelError("damaged")
    with pytest.raises(ModelError), models.explaining("chat", chat.folder):
        raise ModelError("damaged")
