"""The bot: composes the services, loads the cogs, syncs the commands."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec

import discord
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from yarl import URL

from bot.cogs.generate import Generate, ReplyButton
from bot.cogs.models import ModelButton, Models
from bot.cogs.privacy import Privacy, PrivacyButton
from bot.cogs.retrain import Retrain
from bot.errors import RegistryError, SettingsError
from bot.inference.executor import Executor, LocalExecutor
from bot.inference.queue import Inference
from bot.interactions import answering, command_sync
from bot.interactions.command_tree import Tree
from bot.interactions.rate_limits import PAUSE_S, Cooldown, IdentifyPace
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from bot.models.server_models import ServerModels
from bot.settings import Settings
from bot.storage.files import StateFolder
from bot.storage.registry import Registry
from bot.training.message import TrainingButton
from bot.training.service import Retraining
from bot.training.statuses import Candidate, Ended, Learning, Queued
from charrnn import store
from charrnn.errors import needs_extra

log = logging.getLogger(__name__)

# What the bot does in a server: see a channel, go on there in a message of its own, learn from it
# and show how.
PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    embed_links=True,
    attach_files=True,
    read_message_history=True,
)
SCOPES = ("bot", "applications.commands")

BUTTONS = (ReplyButton, TrainingButton, ModelButton, PrivacyButton)
BASES = ("chat", "shakespeare")  # that every server may write with and train from
NOT_INSTALLED = (
    "What training needs is not installed where I run. My operator can install it: charrnn's extra "
    "`train`."
)
ONE_OF_SEVERAL = (
    "I run as several processes, and learn from nobody: whoever opts out would reach one of them "
    "only. My operator can run me as one."
)
# Within one process, bot.identifying sees to that; not where it is started again and again.
TOO_OFTEN = "I have been started so often today that Discord would take my token back for it."
LAST_ANSWERS_S = 5.0  # for what has been written at the last moment to reach Discord


@dataclass(frozen=True)
class Services:
    """What the bot answers with."""

    inference: Inference
    state: StateFolder
    executor: Executor  # what the inference writes by
    registry: Registry
    models: ServerModels
    retraining: Retraining
    cooldown: Cooldown
    shakespeare: ModelReference  # what /shakespeare writes with
    channels_allowed: bool = False  # to be learnt from
    no_training: str | None = None  # why there can be none, for those who ask for one
    shutdown_grace_s: float = 20.0  # for what is under way
    forget_after_days: float = 30  # a server that has removed the bot


def create_bot(settings: Settings) -> "Bot":
    """The bot with its model loaded, ready to start. Raises ModelError, SettingsError, and
    RegistryError when its state cannot be read or written."""
    shakespeare = ModelReference.of(settings.model)
    executor = _create_executor(settings, shakespeare)
    inference = Inference(
        executor, batch_limit=settings.batch_limit, queue_limit=settings.queue_limit
    )
    state = StateFolder(settings.state)
    state.claim()
    registry = Registry(state.registry, reserved_names=[*store.shipped(), shakespeare.name])
    models = ServerModels(registry, state, {name: ModelReference.of(name) for name in BASES})
    retraining = Retraining(
        registry,
        executor,
        models,
        state,
        limit=settings.max_trainings,
        threads=settings.training_threads,
        keep_texts=settings.keep_texts,
    )
    services = Services(
        inference,
        state,
        executor,
        registry,
        models,
        retraining,
        Cooldown(settings.cooldown_s),
        shakespeare,
        channels_allowed=settings.train_on_channels,
        no_training=no_training(settings),
        shutdown_grace_s=settings.shutdown_grace_s,
        forget_after_days=settings.forget_after_days,
    )
    return Bot(services, shard_ids=settings.shard_ids, shard_count=settings.shard_count)


def no_training(settings: Settings) -> str | None:
    """Why nothing can be trained, for those who ask for it; None where it can."""
    if settings.shard_count is not None and len(settings.shard_ids) < settings.shard_count:
        return ONE_OF_SEVERAL
    if settings.dask_scheduler is None and find_spec("tensorflow") is None:
        return NOT_INSTALLED
    return None


def _create_executor(settings: Settings, model: ModelReference) -> Executor:
    memory_bytes = settings.model_memory_mb * 2**20
    if settings.dask_scheduler is None:
        models = LoadedModels(memory_bytes)
        models.get(model.folder)
        return LocalExecutor(settings.threads, models)
    try:
        from bot.dask.cluster import Cluster
        from bot.dask.executor import DaskExecutor
    except ModuleNotFoundError as error:
        raise SettingsError([needs_extra("EXECUTOR", error.name, "dask")]) from error
    return DaskExecutor(Cluster(settings.dask_scheduler), memory_bytes)


def invite_link(application_id: int) -> str:
    """Where a server's admin lets the bot in, with what it needs and nothing else."""
    return discord.utils.oauth_url(application_id, permissions=PERMISSIONS, scopes=SCOPES)


class Bot(commands.AutoShardedBot):
    """Answers commands with what the inference service writes; of the servers in `shard_ids` of
    `shard_count` shards, or else of all."""

    def __init__(
        self,
        services: Services,
        *,
        shard_ids: Sequence[int] = (),
        shard_count: int | None = None,
    ):
        super().__init__(
            command_prefix=commands.when_mentioned,
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            help_command=None,
            tree_cls=Tree,
            shard_count=shard_count,
        )
        self.shard_ids = list(shard_ids) or None
        self._services = services
        self._retrain: Retrain | None = None
        self._stopping = False
        self._pace = IdentifyPace(shard_count or 1)  # until Discord says how many there are

    async def setup_hook(self) -> None:
        await self._services.retraining.restore(self._services.no_training)
        await self.add_cogs()
        if not self.shard_ids or 0 in self.shard_ids:
            await self._sync_commands()

    async def _sync_commands(self) -> None:
        """Discord allows but so many registrations a day, and a start is no reason for one."""
        if not await command_sync.are_registered(self):
            await self.tree.sync()
            log.info("The commands were new or had changed, so they are registered anew.")

    async def add_cogs(self) -> None:
        """Define the commands, which Discord need not know yet."""
        has = self._services
        await self.add_cog(Generate(has.inference, has.shakespeare, has.models, has.cooldown))
        self._retrain = Retrain(
            self,
            has.retraining,
            has.models,
            channels_allowed=has.channels_allowed,
            no_training=has.no_training,
        )
        await self.add_cog(self._retrain)
        await self.add_cog(Models(has.models))
        privacy = Privacy(
            self, has.registry, has.retraining, forget_after_days=has.forget_after_days
        )
        await self.add_cog(privacy)
        self.add_dynamic_items(*BUTTONS)

    def offered(self) -> list[str]:
        """The commands and buttons that people can use, as `Answered` names them; no command
        before the cogs are there."""
        commands = [f"/{command.qualified_name}" for command in self.tree.walk_commands()]
        return commands + [name for button in BUTTONS for name in button.names()]

    async def launch_shards(self) -> None:
        # discord.py asks for the gateway only where it asks for the number of shards, and does not
        # remember it for when it connects anew.
        shards, gateway, starts = await self.http.get_bot_gateway()
        DiscordWebSocket.DEFAULT_GATEWAY = URL(gateway)
        self._pace = IdentifyPace(self.shard_count or shards)
        needed = len(self.shard_ids) if self.shard_ids else shards
        if starts["remaining"] < needed:
            rest_s = starts["reset_after"] / 1000
            sentence = f"{TOO_OFTEN} I wait for {rest_s / 3600:.1f} hours."
            log.critical("%s", sentence)
            self.dispatch("held_up", rest_s, sentence)
            await asyncio.sleep(rest_s)  # trainings go on meanwhile: they need no session
        await super().launch_shards()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        # discord.py waits for a minute at most, and then comes again.
        shard = shard_id or 0
        await asyncio.sleep(max(0.0 if initial else PAUSE_S, self._pace.wait_s(shard)))
        self._pace.begin(shard)

    @property
    def services(self) -> Services:
        return self._services

    def trouble(self) -> str | None:
        """Why people cannot be answered at the moment, for the operator; None if they can."""
        if self._services.inference.closed:
            return "The bot is stopping."
        if not self.is_ready():
            return "Discord is not connected yet."
        lost = [str(shard_id) for shard_id, shard in self.shards.items() if shard.is_closed()]
        if lost:
            return f"The connection to Discord is lost: shard {', '.join(lost)}."
        return self._services.executor.trouble()

    def invite_link(self) -> str:
        """Of this bot. Raises RuntimeError before it has logged in."""
        if self.application_id is None:
            raise RuntimeError("the bot has not logged in yet")
        return invite_link(self.application_id)

    def is_training(self) -> bool:
        """Whether a model is being trained, waits for its turn, or has ended and is to be shown."""
        statuses = self._services.retraining.statuses().values()
        return any(isinstance(status, Queued | Learning | Candidate | Ended) for status in statuses)

    async def close(self) -> None:
        """Take no more requests; answer those there are and stop the trainings, all within the
        grace; tell of the trainings; and leave."""
        if self._stopping:
            return
        self._stopping = True
        async with AsyncExitStack() as leaving:  # whatever happens before; the last comes first
            leaving.callback(self._services.state.release)
            leaving.callback(self._services.registry.close)
            leaving.push_async_callback(super().close)
            await self._finish()

    async def _finish(self) -> None:
        has, now = self._services, asyncio.get_running_loop().time
        deadline = now() + has.shutdown_grace_s
        await asyncio.gather(
            has.inference.finish(has.shutdown_grace_s), has.retraining.close(has.shutdown_grace_s)
        )
        await has.inference.close()  # and the executor, which the trainings needed to the end
        await answering.wait_for_answers(max(deadline - now(), LAST_ANSWERS_S))
        if self._retrain is not None:
            try:
                async with asyncio.timeout(LAST_ANSWERS_S):
                    await self._retrain.show_last()
            except TimeoutError:
                log.warning("Discord was too slow to be told that trainings go on.")
            except RegistryError as error:
                log.warning("Not all could be told that trainings go on: %s", error)
