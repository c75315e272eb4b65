"""The bot: builds the services, adds the cogs, registers the commands."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import discord
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from yarl import URL

from bot.cogs.generate import Generate, ReplyButton
from bot.cogs.help import Help
from bot.cogs.mentions import MENTION, MentionsCog
from bot.cogs.models import ModelButton, Models
from bot.cogs.privacy import PrivacyButton, PrivacyCog
from bot.cogs.retrain import Retrain
from bot.cogs.words import Words
from bot.errors import RegistryError, SettingsError
from bot.inference.executor import Executor, LocalExecutor
from bot.inference.queue import Inference
from bot.inference.writer import Writer
from bot.interactions import answering, command_sync
from bot.interactions.command_tree import Tree
from bot.interactions.permissions import install_links
from bot.interactions.rate_limits import PAUSE_S, Cooldown, IdentifyPace
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from bot.models.server_models import ServerModels
from bot.privacy import Privacy
from bot.settings import Settings
from bot.storage.files import StateFolder
from bot.storage.registry import Registry
from bot.training.choice import ChoiceItem
from bot.training.message import TrainingButton, TrainingMessages
from bot.training.process import LocalTraining, StartTraining
from bot.training.service import TrainingService
from bot.words.lists import NeverSaid, read_file
from charrnn import store
from charrnn.errors import needs_extra

log = logging.getLogger(__name__)

BUTTONS = (ReplyButton, ChoiceItem, TrainingButton, ModelButton, PrivacyButton)
BASES = ("chat", "shakespeare")  # the models that every server can write with and train from
NOT_INSTALLED = (
    "What training needs is not installed here. My operator can install charrnn's extra `train` "
    "and restart me."
)
TRAINING_PACKAGES = ("h5py", "keras", "matplotlib", "onnx", "tensorflow")
# IdentifyPace prevents this within one process, but not when the bot is restarted again and again.
TOO_OFTEN = "I was started so often today that Discord would reset my token for one more start."
LAST_ANSWERS_S = 5.0  # for the last answers to reach Discord


@dataclass(frozen=True)
class Services:
    """What the cogs call."""

    inference: Inference
    executor: Executor  # with which `inference` writes
    writer: Writer
    never_said: NeverSaid
    files: StateFolder
    registry: Registry
    privacy: Privacy
    models: ServerModels
    training: TrainingService
    cooldown: Cooldown
    shakespeare: ModelReference  # the model of /shakespeare
    mentions_allowed: bool  # whether admins may switch on answers to messages that mention the bot
    channels_allowed: bool  # as sources of training texts
    training_blocked: str | None  # why nothing can be trained, for people
    shutdown_grace_s: float
    forget_after_days: float  # a server that has removed the bot
    clock: Callable[[], float] = time.monotonic  # in seconds


def create_bot(settings: Settings) -> "Bot":
    """The bot with its model loaded, ready to start. Raises ModelError, SettingsError, and
    RegistryError when its state cannot be read or written."""
    operators = read_file(settings.words_file) if settings.words_file else []
    shakespeare = ModelReference.of(settings.model)
    executor, start_training = _workers(settings, shakespeare)
    inference = Inference(
        executor, batch_limit=settings.batch_limit, queue_limit=settings.queue_limit
    )
    files = StateFolder(settings.state)
    files.claim()
    registry = Registry(files.registry, reserved_names=[*store.shipped(), shakespeare.name])
    privacy = Privacy(registry, files, keep_texts=settings.keep_texts)
    never_said = NeverSaid(registry, operators)
    models = ServerModels(registry, files, {name: ModelReference.of(name) for name in BASES})
    training = TrainingService(
        registry,
        privacy,
        files,
        models,
        never_said,
        executor,
        start_training,
        limit=settings.max_trainings,
        threads=settings.training_threads,
        keep_texts=settings.keep_texts,
    )
    return Bot(
        Services(
            inference,
            executor,
            Writer(inference, models, never_said),
            never_said,
            files,
            registry,
            privacy,
            models,
            training,
            Cooldown(settings.cooldown_s),
            shakespeare,
            mentions_allowed=settings.mentions,
            channels_allowed=settings.train_on_channels,
            training_blocked=training_blocked(settings),
            shutdown_grace_s=settings.shutdown_grace_s,
            forget_after_days=settings.forget_after_days,
        )
    )


def training_blocked(settings: Settings) -> str | None:
    """Why nothing can be trained, for people; None if training works."""
    return NOT_INSTALLED if settings.dask_scheduler is None and not_installed() else None


def not_installed() -> list[str]:
    """The packages that training lacks on this machine."""
    return [name for name in TRAINING_PACKAGES if find_spec(name) is None]


def _workers(settings: Settings, model: ModelReference) -> tuple[Executor, StartTraining]:
    """Where texts are written and models trained: on this machine, or on a Dask cluster."""
    memory_bytes = settings.model_memory_mb * 2**20
    if settings.dask_scheduler is None:
        loaded = LoadedModels(memory_bytes)
        loaded.get(model.folder)
        return LocalExecutor(settings.threads, loaded), LocalTraining
    try:
        from bot.dask.cluster import Cluster
        from bot.dask.executor import DaskExecutor
        from bot.dask.training import DaskTraining
    except ModuleNotFoundError as error:
        raise SettingsError([needs_extra("EXECUTOR", error.name, "dask")]) from error
    cluster = Cluster(settings.dask_scheduler)
    return DaskExecutor(cluster, memory_bytes), partial(DaskTraining, cluster)


class Bot(commands.AutoShardedBot):
    """Answers commands and buttons with what the services do."""

    on_discord = False  # a simulated Discord has no settings of an application

    def __init__(self, services: Services):
        listens = services.mentions_allowed
        super().__init__(
            command_prefix=commands.when_mentioned,
            intents=discord.Intents(guilds=True, guild_messages=listens, dm_messages=listens),
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            help_command=None,
            tree_cls=Tree,
        )
        self.services = services
        self._retrain: Retrain | None = None
        self._stopping = False
        self._for_oneself = True  # whether people can install the application for themselves
        self._pace = IdentifyPace(1)  # until Discord says how many shards there are

    async def setup_hook(self) -> None:
        await self.services.never_said.load()
        await self.services.training.restore(self.services.training_blocked)
        await self.add_cogs()
        # Discord takes no command for people who cannot install the application.
        if self.on_discord:
            self._for_oneself = await command_sync.offer_both(self)
        # Discord limits registrations per day, so a restart alone must not register anything.
        if await command_sync.register(self, for_oneself=self._for_oneself):
            log.info("Registered the commands with Discord: they are new or have changed.")

    async def add_cogs(self) -> None:
        """Define the commands. Discord need not know them yet."""
        has = self.services
        generate = Generate(has.inference, has.writer, has.shakespeare, has.models, has.cooldown)
        await self.add_cog(generate)
        self.tree.add_command(generate.menu)
        if has.mentions_allowed:
            await self.add_cog(
                MentionsCog(self, generate, has.writer, has.models, has.registry, has.clock)
            )
        messages = TrainingMessages(self, has.training, has.registry, has.files, has.clock)
        self._retrain = Retrain(
            has.training,
            messages,
            has.models,
            channels_allowed=has.channels_allowed,
            blocked=has.training_blocked,
        )
        await self.add_cog(self._retrain)
        await self.add_cog(Models(has.models, has.registry, has.files))
        await self.add_cog(Words(has.never_said))
        privacy = PrivacyCog(
            self,
            has.privacy,
            has.registry,
            has.training,
            has.never_said,
            forget_after_days=has.forget_after_days,
        )
        await self.add_cog(privacy)
        await self.add_cog(
            Help(
                self.tree,
                has.models,
                has.registry,
                has.never_said,
                channels_allowed=has.channels_allowed,
                mentions_allowed=has.mentions_allowed,
            )
        )
        self.add_dynamic_items(*BUTTONS)

    def offered(self) -> list[str]:
        """The names of all that people can ask, as they appear in log and metrics. No commands
        before `add_cogs`."""
        slash = [
            f"/{command.qualified_name}"
            for command in self.tree.walk_commands()
            if isinstance(command, discord.app_commands.Command)  # nobody can use a group itself
        ]
        menus = [menu.name for menu in self.tree.get_commands(type=discord.AppCommandType.message)]
        mentions = [MENTION] if self.services.mentions_allowed else []
        buttons = [name for button in BUTTONS for name in button.names()]
        return [*slash, *menus, *mentions, *buttons]

    async def on_message(self, message: discord.Message) -> None:
        """Not as discord.py, which would look for a command behind the mention."""

    async def launch_shards(self) -> None:
        # discord.py asks for the gateway's address only when it asks for the number of shards, and
        # forgets it before it reconnects.
        shards, gateway, starts = await self.http.get_bot_gateway()
        DiscordWebSocket.DEFAULT_GATEWAY = URL(gateway)
        self._pace = IdentifyPace(shards)
        if starts["remaining"] < shards:
            rest_s = starts["reset_after"] / 1000
            sentence = f"{TOO_OFTEN} I wait for {rest_s / 3600:.1f} hours."
            log.critical("%s", sentence)
            self.dispatch("held_up", rest_s, sentence)
            await asyncio.sleep(rest_s)  # trainings go on meanwhile
        await super().launch_shards()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        # discord.py waits at most a minute for this, and then calls it again.
        shard = shard_id or 0
        await asyncio.sleep(max(0.0 if initial else PAUSE_S, self._pace.wait_s(shard)))
        self._pace.begin(shard)

    def trouble(self) -> str | None:
        """Why people cannot be answered right now, for the operator; None if they can."""
        if self.services.inference.closed:
            return "The bot is stopping."
        if not self.is_ready():
            return "Discord is not connected yet."
        lost = [str(shard_id) for shard_id, shard in self.shards.items() if shard.is_closed()]
        if lost:
            return f"The connection to Discord is lost: shard {', '.join(lost)}."
        if self.services.inference.stuck:
            return "A batch of texts is taking far too long."
        return self.services.executor.trouble()

    def install_links(self) -> str:
        """Where people add the bot to a server or to their account, in sentences."""
        assert self.application is not None  # the bot has logged in
        return install_links(self.application, for_oneself=self._for_oneself)

    async def close(self) -> None:
        """Refuse new requests, answer those under way and stop the trainings, all within the grace
        period; show how the trainings stand; disconnect."""
        if self._stopping:
            return
        self._stopping = True
        async with AsyncExitStack() as leaving:  # in reverse order, even after errors
            leaving.callback(self.services.files.release)
            leaving.callback(self.services.registry.close)
            leaving.push_async_callback(super().close)
            await self._finish()

    async def _finish(self) -> None:
        has, now = self.services, asyncio.get_running_loop().time
        deadline = now() + has.shutdown_grace_s
        await asyncio.gather(
            has.inference.finish(has.shutdown_grace_s), has.training.close(has.shutdown_grace_s)
        )
        await has.executor.close()
        await answering.wait_for_answers(max(deadline - now(), LAST_ANSWERS_S))
        if self._retrain is not None:
            try:
                async with asyncio.timeout(LAST_ANSWERS_S):
                    await self._retrain.show_last()
            except TimeoutError:
                log.warning("Discord was too slow to show how the trainings stand.")
            except RegistryError as error:
                log.warning("Not every training could be shown: %s", error)
