"""The bot: composes the services, loads the cogs, syncs the commands."""

from collections.abc import Sequence

import discord
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from yarl import URL

from bot.answers import answer_error
from bot.cogs.generate import Generate, ReplyButton
from bot.cooldown import Cooldown
from bot.executor import LoadedModels, LocalExecutor, ModelReference
from bot.inference import Inference
from bot.settings import Settings

# What the bot does in a server: see a channel, and go on there in a message of its own.
PERMISSIONS = discord.Permissions(
    view_channel=True, send_messages=True, send_messages_in_threads=True
)
SCOPES = ("bot", "applications.commands")


def create_bot(settings: Settings) -> "Bot":
    """The bot with its model loaded, ready to start. Raises ModelError."""
    model = ModelReference.of(settings.model)
    models = LoadedModels(settings.model_memory_mb * 2**20)
    models.get(model.folder)
    inference = Inference(
        LocalExecutor(settings.threads, models),
        batch_limit=settings.batch_limit,
        queue_limit=settings.queue_limit,
    )
    return Bot(
        inference,
        model,
        Cooldown(settings.cooldown_s),
        shard_ids=settings.shard_ids,
        shard_count=settings.shard_count,
    )


class Bot(commands.AutoShardedBot):
    """Answers commands with what the inference service writes; of the servers in `shard_ids` of
    `shard_count` shards, or else of all."""

    def __init__(
        self,
        inference: Inference,
        model: ModelReference,
        cooldown: Cooldown,
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
            shard_count=shard_count,
        )
        self.shard_ids = list(shard_ids) or None
        self._inference = inference
        self._model = model
        self._cooldown = cooldown
        self.tree.error(answer_error)

    async def setup_hook(self) -> None:
        await self.add_cog(Generate(self._inference, self._model, self._cooldown))
        self.add_dynamic_items(ReplyButton)
        if not self.shard_ids or 0 in self.shard_ids:
            await self.tree.sync()

    async def launch_shards(self) -> None:
        if self.shard_count is not None:
            # Only where it asks for the number of shards does discord.py ask for the gateway.
            _, gateway, _ = await self.http.get_bot_gateway()
            DiscordWebSocket.DEFAULT_GATEWAY = URL(gateway)
        await super().launch_shards()

    def invite_link(self) -> str:
        """Where a server's admin lets the bot in, with what it needs and nothing else."""
        if self.application_id is None:
            raise RuntimeError("the bot has not logged in yet")
        return discord.utils.oauth_url(self.application_id, permissions=PERMISSIONS, scopes=SCOPES)

    async def close(self) -> None:
        await self._inference.close()
        await super().close()
