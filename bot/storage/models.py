"""The models of the guilds, and which model each guild uses."""

import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from sqlite3 import Connection

from bot.errors import BotError, not_found
from bot.storage.records import Sample, Shown, StoredModel, folder_of, name_key, name_like
from bot.storage.table import (
    Table,
    find_model,
    find_models,
    get_model,
    reads,
    taken_names,
    writes,
)


class Models(Table):
    """A guild's models are its own; a model that no guild uses is a candidate."""

    @reads
    def models(self, db: Connection, guild_id: int) -> tuple[StoredModel, ...]:
        """The guild's models, oldest first."""
        return _models_of(db, guild_id)

    @reads
    def model(self, db: Connection, guild_id: int, model_id: int) -> StoredModel:
        return get_model(db, guild_id, model_id)

    @reads
    def find_model(self, db: Connection, guild_id: int, model_id: int) -> StoredModel | None:
        """The same, or None when the guild has no such model."""
        return find_model(db, guild_id, model_id)

    @reads
    def model_named(self, db: Connection, guild_id: int, name: str) -> StoredModel:
        """Raises BotError when the guild has no model of that name."""
        for model in _models_of(db, guild_id):
            if name_key(model.name) == name_key(name):
                return model
        raise not_found("model")

    @reads
    def model_in_use(self, db: Connection, guild_id: int) -> StoredModel | None:
        """None: the guild uses the default."""
        query = "SELECT * FROM stored_models WHERE guild_id = ? AND in_use"
        return next(iter(find_models(db, query, guild_id)), None)

    @writes
    def use(self, db: Connection, guild_id: int, model_id: int) -> StoredModel:
        """From now on the guild writes with this model."""
        get_model(db, guild_id, model_id)
        with _outdating(db, guild_id):
            query = "INSERT INTO activations (guild_id, model_id) VALUES (?, ?)"
            db.execute(query, (guild_id, model_id))
        return get_model(db, guild_id, model_id)

    @writes
    def roll_back(self, db: Connection, guild_id: int, model_id: int) -> None:
        """Go back to the model that was in use before this one. This one stays, as a candidate.
        Raises BotError when it is not in use."""
        model = get_model(db, guild_id, model_id)
        if not model.in_use:
            raise BotError(
                f"{model.name} is not in use. /models shows which model is.", "not_in_use"
            )
        # The same model may occur several times in a row: it was used twice, or the model in
        # between was deleted.
        with _outdating(db, guild_id):
            db.execute(
                "DELETE FROM activations WHERE guild_id = :guild AND id > ("
                " SELECT coalesce(max(id), 0) FROM activations"
                " WHERE guild_id = :guild AND model_id != :model)",
                {"guild": guild_id, "model": model_id},
            )

    @writes
    def rename(self, db: Connection, guild_id: int, model_id: int, name: str) -> StoredModel:
        """Raises BotError also when the name is taken or invalid."""
        get_model(db, guild_id, model_id)
        name = self._free_name(db, guild_id, name, model_id)
        with _outdating(db, guild_id):
            db.execute("UPDATE models SET name = ? WHERE id = ?", (name, model_id))
        return get_model(db, guild_id, model_id)

    @writes
    def save_samples(
        self, db: Connection, guild_id: int, model_id: int, samples: Iterable[Sample]
    ) -> None:
        """Keep what a new model and its base write; nothing happens if the model is gone."""
        text = json.dumps([astuple(sample) for sample in samples])
        query = "UPDATE models SET samples = ? WHERE guild_id = ? AND id = ?"
        db.execute(query, (text, guild_id, model_id))

    @writes
    def delete(
        self, db: Connection, guild_id: int, model_id: int, *, unless_in_use: bool = False
    ) -> StoredModel:
        """Forget a model and return it, so that its files can be deleted. If it was in use, the
        model before it is in use again; with `unless_in_use`, BotError is raised instead."""
        model = get_model(db, guild_id, model_id)
        if unless_in_use and model.in_use:
            sentence = f"{model.name} is in use. Roll back first, or delete it with /models."
            raise BotError(sentence, "in_use")
        with _outdating(db, guild_id):
            db.execute("DELETE FROM models WHERE id = ?", (model_id,))
        db.execute("DELETE FROM authors WHERE id = ?", (model_id,))
        return model

    @reads
    def folders(self, db: Connection) -> frozenset[str]:
        """The folders of all models and unfinished jobs. No other folder needs to be kept."""
        query = "SELECT guild_id, id FROM models UNION SELECT guild_id, id FROM unfinished_jobs"
        return frozenset(folder_of(*row) for row in db.execute(query))

    @reads
    def check_name(self, db: Connection, guild_id: int, name: str) -> None:
        """Raises BotError when the name is taken or invalid."""
        self._free_name(db, guild_id, name)

    @reads
    def free_name(self, db: Connection, guild_id: int, wish: str) -> str:
        """A name for a new model that resembles `wish` and is not taken."""
        stem = name_like(wish) or "model"
        taken = self._reserved | taken_names(db, guild_id)
        numbered = (f"{stem}-{n}" for n in itertools.count(2))
        free = (name for name in itertools.chain([stem], numbered) if name_key(name) not in taken)
        return next(free)


@contextmanager
def _outdating(db: Connection, guild_id: int) -> Iterator[None]:
    """Have those models shown again that the body changes, in the messages of their jobs."""
    before = set(_models_of(db, guild_id))
    yield
    changed = {model.id for model in before ^ set(_models_of(db, guild_id))}
    query = "UPDATE jobs SET shown = ? WHERE id = ? AND shown = ?"
    db.executemany(query, [(Shown.OUTDATED, model, Shown.YES) for model in changed])


def _models_of(db: Connection, guild_id: int) -> tuple[StoredModel, ...]:
    return find_models(db, "SELECT * FROM stored_models WHERE guild_id = ? ORDER BY id", guild_id)
