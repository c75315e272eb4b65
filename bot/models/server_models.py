"""The models that a server writes with and trains from: its own, and those that come along."""

import asyncio
import itertools
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bot.errors import BotError, NotFoundError
from bot.models.reference import ModelReference
from bot.storage.files import StateFolder
from bot.storage.records import StoredModel, TrainingJob, name_key
from bot.storage.registry import Registry
from charrnn import store
from charrnn.errors import ModelError

log = logging.getLogger(__name__)

NOT_IN_NAMES = re.compile(r"[^\w-]+")
STEM_LIMIT = 24  # characters, which leave room for a number
MODEL_DAMAGED = (
    "{} is damaged and cannot be used. An admin of this server can roll it back, or delete it, "
    "with /models; my log tells the operator more."
)


class ServerModels:
    """Finds the models of a server, and never those of another. All methods raise RegistryError."""

    def __init__(
        self,
        registry: Registry,
        state: StateFolder,
        shared: Mapping[str, ModelReference],  # by name; the first is written with before any other
    ):
        self._registry = registry
        self._state = state
        self._shared = shared

    @property
    def shared(self) -> list[str]:
        """The names of the models that every server has."""
        return list(self._shared)

    async def in_use(self, guild_id: int | None) -> ModelReference:
        """What the server writes with. Raises BotError if its files are damaged."""
        model = guild_id and await asyncio.to_thread(self._registry.model_in_use, guild_id)
        return await self._reference(model) if model else next(iter(self._shared.values()))

    async def find(self, guild_id: int | None, name: str) -> ModelReference:
        """The model of a name. Raises NotFoundError, and BotError if it is damaged."""
        if name in self._shared:
            return self._shared[name]
        if guild_id is None:
            raise NotFoundError("model")
        return await self._reference(await self.stored(guild_id, name))

    async def base(self, job: TrainingJob) -> ModelReference:
        """What a training starts from, however it is called by now. Raises NotFoundError when it
        was deleted, and BotError if it is damaged."""
        if job.base_id is None:
            return await self.find(job.guild_id, job.base)
        return await self._reference(await self.get(job.guild_id, job.base_id))

    async def names(self, guild_id: int | None) -> list[str]:
        """Of all the models that the server has, those that came along first."""
        own = await self.all(guild_id) if guild_id else ()
        return [*self._shared, *(model.name for model in own)]

    async def free_name(self, guild_id: int, wish: str) -> str:
        """A name for a new model, made of what somebody called its text."""
        stem = NOT_IN_NAMES.sub("-", wish).strip("-")[:STEM_LIMIT] or "model"
        taken = {name_key(name) for name in (*await self.names(guild_id), *store.shipped())}
        numbered = (f"{stem}-{n}" for n in itertools.count(2))
        free = (name for name in itertools.chain([stem], numbered) if name_key(name) not in taken)
        return next(free)

    async def all(self, guild_id: int) -> tuple[StoredModel, ...]:
        """The server's own, the oldest first."""
        return await asyncio.to_thread(self._registry.models, guild_id)

    async def own(self, guild_id: int, name: str) -> StoredModel | None:
        """The server's own of a name; None where it is one that came along. Raises
        NotFoundError."""
        return None if name in self._shared else await self.stored(guild_id, name)

    async def stored(self, guild_id: int, name: str) -> StoredModel:
        """One of the server's own. Raises NotFoundError."""
        return await asyncio.to_thread(self._registry.model_named, guild_id, name)

    async def get(self, guild_id: int, model_id: int) -> StoredModel:
        """The same by its id. Raises NotFoundError."""
        return await asyncio.to_thread(self._registry.model, guild_id, model_id)

    async def use(self, guild_id: int, model_id: int) -> StoredModel:
        """Write with it from now on. Raises NotFoundError, and BotError if it is damaged."""
        await self._reference(await self.get(guild_id, model_id))
        return await asyncio.to_thread(self._registry.use, guild_id, model_id)

    async def roll_back(self, guild_id: int, model_id: int) -> ModelReference:
        """Write with what was in use before this model, and return that. Raises NotFoundError,
        and BotError when the model is not in use, or the one before is damaged."""
        await asyncio.to_thread(self._registry.roll_back, guild_id, model_id)
        return await self.in_use(guild_id)

    async def rename(self, guild_id: int, model_id: int, name: str) -> StoredModel:
        """Raises NotFoundError, and BotError if the name is not allowed or taken."""
        return await asyncio.to_thread(self._registry.rename, guild_id, model_id, name)

    async def delete(self, guild_id: int, model_id: int, discard: bool = False) -> StoredModel:
        """Delete a model, with all that is kept of it. Raises NotFoundError, and BotError when
        it is in use and to be discarded."""

        def delete() -> StoredModel:
            model = self._registry.delete(guild_id, model_id, discard)
            self._state.delete(model)
            return model

        return await asyncio.to_thread(delete)

    def folder(self, model: StoredModel) -> Path:
        return self._state.model(model)

    def curve(self, model: StoredModel) -> Path | None:
        """The picture of its learning curve, if there is one."""
        return self._state.curve(model)

    @contextmanager
    def explaining(self, name: str, folder: Path) -> Iterator[None]:
        """A ModelError inside says what admins can do, if the model is a server's own: it becomes
        a BotError, and what is wrong is in the log."""
        try:
            yield
        except ModelError as error:
            if not self._state.holds(folder):
                raise
            log.error("The model in %s cannot be used: %s", folder, error)
            raise BotError(MODEL_DAMAGED.format(name), kind="damaged") from error

    async def _reference(self, model: StoredModel) -> ModelReference:
        folder = self.folder(model)
        with self.explaining(model.name, folder):
            reference = await asyncio.to_thread(ModelReference.of, folder)
        return replace(reference, name=model.name)
