"""The models that a server can write with and train from: its own and the shipped ones."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bot.errors import BotError
from bot.models.reference import ModelReference
from bot.storage.files import StateFolder
from bot.storage.records import StoredModel, TrainingJob, name_key
from bot.storage.registry import Registry
from charrnn.errors import ModelError

log = logging.getLogger(__name__)


class ServerModels:
    """Finds the models of a server, and never those of another.

    All methods raise RegistryError. Those that return a ModelReference raise BotError when there is
    no such model or its files are damaged."""

    def __init__(
        self,
        registry: Registry,
        files: StateFolder,
        shipped: Mapping[str, ModelReference],  # by name; the first one is the default
    ):
        self._registry = registry
        self._files = files
        self._shipped = shipped
        self._shipped_by_key = {name_key(name): model for name, model in shipped.items()}
        # Called when a model was changed, so that somebody shows it.
        self.on_change: Callable[[], None] = lambda: None

    @property
    def shipped(self) -> list[str]:
        """The names of the models that every server has, the default first."""
        return list(self._shipped)

    async def in_use(self, guild_id: int | None) -> ModelReference:
        """The model that the server writes with."""
        model = await self._registry.model_in_use(guild_id) if guild_id else None
        return await self._reference(model) if model else next(iter(self._shipped.values()))

    async def find(self, guild_id: int | None, name: str) -> ModelReference:
        """The model of that name."""
        if model := self._shipped_by_key.get(name_key(name)):
            return model
        return await self._reference(await self._registry.model_named(guild_id or 0, name))

    async def base(self, job: TrainingJob) -> ModelReference:
        """The base of a job, even if it has been renamed since."""
        if job.base_id is None:
            return await self.find(job.guild_id, job.base)
        return await self.own(job.guild_id, job.base_id)

    async def own(self, guild_id: int, model_id: int) -> ModelReference:
        """A model of the server's own."""
        return await self._reference(await self._registry.model(guild_id, model_id))

    async def own_id(self, guild_id: int, name: str) -> int | None:
        """The id of the server's own model of that name; None for a shipped model. Raises BotError
        when there is neither."""
        if name_key(name) in self._shipped_by_key:
            return None
        return (await self._registry.model_named(guild_id, name)).id

    async def names(self, guild_id: int | None) -> list[str]:
        """The names of all models that the server can use, shipped ones first."""
        own = await self._registry.models(guild_id) if guild_id else ()
        return [*self._shipped, *(model.name for model in own)]

    async def use(self, guild_id: int, model_id: int) -> StoredModel:
        """From now on the server writes with this model of its own. Raises BotError when there is
        no such model or its files are damaged."""
        await self.own(guild_id, model_id)
        model = await self._registry.use(guild_id, model_id)
        self.on_change()
        return model

    async def roll_back(self, guild_id: int, model_id: int) -> ModelReference:
        """Go back to the model that was in use before this one, and return it. Raises BotError also
        when this model is not in use."""
        await self._registry.roll_back(guild_id, model_id)
        self.on_change()
        return await self.in_use(guild_id)

    async def rename(self, guild_id: int, model_id: int, name: str) -> StoredModel:
        """Raises BotError when there is no such model, or the name is taken or invalid."""
        model = await self._registry.rename(guild_id, model_id, name)
        self.on_change()
        return model

    async def delete(
        self, guild_id: int, model_id: int, *, unless_in_use: bool = False
    ) -> StoredModel:
        """Delete a model and everything that is kept with it. Raises BotError when there is no such
        model, or it is in use and `unless_in_use` is set."""
        model = await self._registry.delete(guild_id, model_id, unless_in_use=unless_in_use)
        self.on_change()
        await asyncio.to_thread(self._files.delete, model)
        return model

    @contextmanager
    def explaining(self, name: str, folder: Path) -> Iterator[None]:
        """Turn a ModelError about a server's own model into a BotError that says what its admins
        can do."""
        try:
            yield
        except ModelError as error:
            if not self._files.holds(folder):
                raise
            log.error("The model in %s cannot be used: %s", folder, error)
            raise BotError(
                f"{name} is damaged and cannot be used. An admin of this server can roll it back "
                "or delete it with /models. The reason is in my log, for the operator.",
                "damaged",
            ) from error

    async def _reference(self, model: StoredModel) -> ModelReference:
        folder = self._files.model(model)
        with self.explaining(model.name, folder):
            reference = await asyncio.to_thread(ModelReference.of, folder)
        return replace(reference, name=model.name)
