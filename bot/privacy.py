"""Who has opted out, and what follows: the only module that knows both.

Opting out holds everywhere: no job may learn from the person, jobs that would are cancelled, kept
texts with their messages are deleted, and the admins of models that learnt from them are told.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from bot.errors import BotError
from bot.interactions.markup import day, escape, unescape
from bot.storage.files import StateFolder
from bot.storage.records import KeptAbout
from bot.storage.registry import Registry
from charrnn.text.messages import Counts

OPTED_OUT = "Somebody whose messages it would learn from has opted out, so its text is deleted."
BASE_OPTED_OUT = (
    "That base has learnt from somebody who has opted out since. Choose another base, such as chat."
)

NOT_OUT = "You have not opted out: servers may train their models on what you write there."
NOTHING = "No model has learnt from your messages, and you have asked for no training."
NOTHING_ELSE = "Nothing else about you is kept: neither your questions to me nor my answers."
TEXTS_KEPT = "The text that a model has learnt from is kept until the model is deleted."

_ID = re.compile(r"[0-9]{1,19}")


class Privacy:
    """All methods raise RegistryError."""

    def __init__(self, registry: Registry, files: StateFolder, *, keep_texts: bool):
        self._registry = registry
        self._files = files
        self._keep_texts = keep_texts  # after training, until the model is deleted

    async def opted_out(self) -> frozenset[str]:
        """The ids of everybody who has opted out, as the authors of messages have them."""
        return frozenset(map(str, await self._registry.opted_out()))

    async def check_authors(self, authors: Collection[int]) -> None:
        """Raises BotError when one of them has opted out."""
        if not (await self._registry.opted_out()).isdisjoint(authors):
            raise BotError(f"{OPTED_OUT} Use /retrain again.", "opted_out")

    async def check_base(self, base_id: int | None) -> None:
        """Raises BotError when the model `base_id` has learnt from somebody who has opted out."""
        if base_id in {model.id for model in await self._registry.models_using_opted_out()}:
            raise BotError(BASE_OPTED_OUT, "opted_out")

    async def opt_out(self, user_id: int) -> None:
        """From now on no job may learn from this person. The caller then calls
        `TrainingService.cancel_using_opted_out` and tells the admins of `Registry.untold_models`.
        """
        await self._registry.opt_out(user_id)
        await self.delete_texts()

    async def delete_texts(self) -> None:
        """Delete the kept texts of models that learnt from somebody who has opted out."""
        for model in await self._registry.models_using_opted_out():
            await asyncio.to_thread(self._files.delete_text, model)

    async def forget_guild(self, guild_id: int) -> bool:
        """Delete everything about a guild that removed the bot; False if the bot is back there."""
        jobs = await self._registry.forget_guild(guild_id)
        if jobs is not None:
            await asyncio.to_thread(self._files.delete_guild, guild_id, jobs)
        return jobs is not None

    def describe(self, kept: KeptAbout, server_name: Callable[[int], str]) -> str:
        """Everything that is kept about a person, server by server, in Discord's markup."""
        return self._describe(kept, lambda guild_id: f"**{escape(server_name(guild_id))}**", day)

    def describe_plainly(self, kept: KeptAbout, server_name: Callable[[int], str]) -> str:
        """The same as plain text, for a file."""
        plain = self._describe(kept, lambda guild_id: escape(server_name(guild_id)), _iso_day)
        return unescape(plain)

    def _describe(
        self, kept: KeptAbout, heading: Callable[[int], str], day: Callable[[int], str]
    ) -> str:
        if kept.opted_out_at is None:
            paragraphs = [NOT_OUT]
        else:
            since = day(kept.opted_out_at)
            paragraphs = [f"You opted out on {since}: no model learns from what you write."]
        paragraphs.append("\n".join(_by_server(kept, heading, day)) or NOTHING)
        if kept.models and self._keep_texts:
            paragraphs.append(TEXTS_KEPT)
        return "\n\n".join([*paragraphs, NOTHING_ELSE])


def author_ids(counts: Counts) -> set[int]:
    """The authors' Discord ids. A file may hold names instead, or numbers that are no ids."""
    numbers = (int(author) for author in counts.authors if _ID.fullmatch(author))
    return {number for number in numbers if number < 2**63}


def _by_server(
    kept: KeptAbout, heading: Callable[[int], str], day: Callable[[int], str]
) -> list[str]:
    about: defaultdict[int, list[str]] = defaultdict(list)
    for model in kept.models:
        about[model.guild_id].append(
            f"{escape(model.name)}, made on {day(model.created_at)}, has learnt from your messages."
        )
    for job in kept.learning:
        about[job.guild_id].append(
            f"{escape(job.name)} is not trained yet, and will learn from your messages."
        )
    for job in kept.asked_for:
        about[job.guild_id].append(
            f"{escape(job.name)}: you asked for this training on {day(job.created_at)}; it is "
            f"{job.state}."
        )
    return [
        line
        for guild_id, sentences in sorted(about.items())
        for line in (heading(guild_id), *(f"- {s}" for s in sentences))
    ]


def _iso_day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
