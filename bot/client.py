"""The bot: adds the cogs, registers the commands, stops in order."""

import asyncio
import logging
from contextlib import AsyncExitStack

import discord
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from yarl import URL

from bot.cogs.generate import GenerateCog, ReplyButton
from bot.cogs.help import HelpCog
from bot.cogs.mentions import MENTION, MentionsCog
from bot.cogs.models import ModelButton, ModelsCog
from bot.cogs.privacy import PrivacyButton, PrivacyCog
from bot.cogs.retrain import RetrainCog
from bot.cogs.words import WordsCog
from bot.errors import RegistryError
from bot.interactions import answering, command_sync
from bot.interactions.command_tree import Tree
from bot.interactions.permissions import install_links
from bot.interactions.rate_limits import PAUSE_S, IdentifyPace
from bot.services import Services, create_services
from bot.settings import Settings
from bot.training.choice import ChoiceItem
from bot.training.message import TrainingButton, TrainingMessages

log = logging.getLogger(__name__)

BUTTONS = (ReplyButton, ChoiceItem, TrainingButton, ModelButton, PrivacyButton)
# IdentifyPace prevents this within one process, but not when the bot is restarted again and again.
TOO_OFTEN = "I was started so often today that Discord would reset my token for one more start."
LAST_ANSWERS_S = 5.0  # for the last answers to reach Discord


def create_bot(settings: Settings) -> "Bot":
    """The bot with its model loaded, ready to start. Raises what `create_services` raises."""
    return Bot(create_services(settings))


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
        self._retrain: RetrainCog | None = None
        self._stopping = False
        self._user_install = True  # whether people can install the application for themselves
        self._pace = IdentifyPace(1)  # until Discord says how many shards there are

    async def setup_hook(self) -> None:
        await self.services.never_said.load()
        await self.services.training.restore(self.services.training_blocked)
        await self.add_cogs()
        # Discord takes no command for people who cannot install the application.
        if self.on_discord:
            self._user_install = await command_sync.enable_user_install(self)
        # Discord limits registrations per day, so a restart alone must not register anything.
        if await command_sync.register(self, user_install=self._user_install):
            log.info("Registered the commands: they are new or have changed.")

    async def add_cogs(self) -> None:
        """Define the commands. Discord need not know them yet."""
        services = self.services
        generate = GenerateCog(
            services.inference,
            services.writer,
            services.shakespeare,
            services.models,
            services.cooldown,
        )
        await self.add_cog(generate)
        self.tree.add_command(generate.menu)
        if services.mentions_allowed:
            await self.add_cog(
                MentionsCog(
                    self,
                    generate,
                    services.writer,
                    services.models,
                    services.registry,
                    services.clock,
                )
            )
        messages = TrainingMessages(
            self, services.training, services.registry, services.files, services.clock
        )
        self._retrain = RetrainCog(
            services.training,
            messages,
            services.models,
            channels_allowed=services.channels_allowed,
            blocked=services.training_blocked,
        )
        await self.add_cog(self._retrain)
        await self.add_cog(ModelsCog(services.models, services.registry, services.files))
        await self.add_cog(WordsCog(services.never_said))
        privacy = PrivacyCog(
            self,
            services.privacy,
            services.registry,
            services.training,
            services.never_said,
            forget_after_days=services.forget_after_days,
        )
        await self.add_cog(privacy)
        await self.add_cog(
            HelpCog(
                self.tree,
                services.models,
                services.registry,
                services.never_said,
                channels_allowed=services.channels_allowed,
                mentions_allowed=services.mentions_allowed,
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
        return install_links(self.application, user_install=self._user_install)

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
        services, now = self.services, asyncio.get_running_loop().time
        deadline = now() + services.shutdown_grace_s
        await asyncio.gather(
            services.inference.finish(services.shutdown_grace_s),
            services.training.close(services.shutdown_grace_s),
        )
        await services.executor.close()
        await answering.wait_for_answers(max(deadline - now(), LAST_ANSWERS_S))
        if self._retrain is not None:
            try:
                async with asyncio.timeout(LAST_ANSWERS_S):
                    await self._retrain.show_last()
            except TimeoutError:
                log.warning("Discord was too slow to show how the trainings stand.")
            except RegistryError as error:
                log.warning("Not every training could be shown: %s", error)
