"""/models: the models of a server: list, use, roll back, rename, delete, download."""

from enum import StrEnum
from typing import Any

import discord
from discord import app_commands, ui
from discord.ext import commands

from bot.cogs.choices import ModelName, matching
from bot.interactions.answering import Answering, think
from bot.interactions.buttons import CogButton, view_of
from bot.interactions.markup import escape, megabytes
from bot.interactions.permissions import admitted, server_of
from bot.models.archive import archived
from bot.models.embeds import model_details, model_list
from bot.models.server_models import ServerModels
from bot.storage.files import StateFolder
from bot.storage.records import NAME_LIMIT, StoredModel
from bot.storage.registry import Registry

COMPLETE = "The whole of {name}. Unzip it; `charrnn generate --model FOLDER` writes with it."
PARTIAL = (
    "The files that {name} needs to write: {names}. Unzip them; `charrnn generate --model FOLDER` "
    "writes with them. The file model.keras does not fit: Discord takes up to {limit} here. Only "
    "training needs it; the bot's operator can copy it from {folder} in the state folder."
)


class ModelAction(StrEnum):
    """What the buttons do."""

    USE = "use"
    ROLL_BACK = "rollback"
    RENAME = "rename"
    DELETE = "delete"  # asks for confirmation
    CONFIRM = "confirm"
    DOWNLOAD = "download"


LABELS = {
    ModelAction.USE: ("Use it", discord.ButtonStyle.success),
    ModelAction.ROLL_BACK: ("Roll back", discord.ButtonStyle.secondary),
    ModelAction.RENAME: ("Rename", discord.ButtonStyle.secondary),
    ModelAction.DELETE: ("Delete", discord.ButtonStyle.danger),
    ModelAction.CONFIRM: ("Delete for good", discord.ButtonStyle.danger),
    ModelAction.DOWNLOAD: ("Download", discord.ButtonStyle.secondary),
}


class ModelsCog(commands.Cog):
    """Shows a server its models, and lets its admins use, rename, delete and download them."""

    def __init__(self, models: ServerModels, registry: Registry, files: StateFolder):
        self._models = models
        self._registry = registry
        self._files = files

    @app_commands.command(
        description="The models of this server: list, use, rename, delete, download."
    )
    @app_commands.describe(name="The model to use, rename, delete or download. Default: a list.")
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    async def models(self, interaction: discord.Interaction, name: ModelName | None = None) -> None:
        async with Answering(interaction):
            guild = admitted(interaction)
            await think(interaction, private=True)
            if name is None:
                models = await self._registry.models(guild.id)
                embed = model_list(models, self._models.shipped[0])
                await interaction.edit_original_response(embed=embed)
            else:
                await _show(interaction, await self._registry.model_named(guild.id, name))

    @models.autocomplete("name")
    async def _names(
        self, interaction: discord.Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        server = server_of(interaction)
        own = await self._registry.models(server.id) if server else ()
        return matching([model.name for model in reversed(own)], typed)

    async def press(
        self, interaction: discord.Interaction, action: ModelAction, model_id: int
    ) -> None:
        """Do what a button says with a model of the server where it was pressed."""
        async with Answering(interaction):
            guild = admitted(interaction)
            match action:
                case ModelAction.USE:
                    await interaction.response.defer()
                    await _show(interaction, await self._models.use(guild.id, model_id))
                case ModelAction.ROLL_BACK:
                    await interaction.response.defer()
                    again = await self._models.roll_back(guild.id, model_id)
                    await _show(interaction, await self._registry.model(guild.id, model_id))
                    await _say(interaction, f"{escape(again.name)} is in use again.")
                case ModelAction.RENAME:
                    await interaction.response.send_modal(
                        _NewName(self, model_id, interaction.user.id)
                    )
                case ModelAction.DELETE:
                    await think(interaction, private=True)
                    model = await self._registry.model(guild.id, model_id)
                    await interaction.edit_original_response(
                        content=_question(model), view=_buttons(model_id, ModelAction.CONFIRM)
                    )
                case ModelAction.CONFIRM:
                    await interaction.response.defer()
                    model = await self._models.delete(guild.id, model_id)
                    sentence = f"{escape(model.name)} is deleted."
                    await interaction.edit_original_response(content=sentence, view=None)
                case ModelAction.DOWNLOAD:
                    await think(interaction, private=True)
                    await self._hand_over(interaction, guild, model_id)

    async def rename(self, interaction: discord.Interaction, model_id: int, name: str) -> None:
        """Give a model the name that somebody has filled in."""
        async with Answering(interaction):
            guild = admitted(interaction)
            await interaction.response.defer()
            await _show(interaction, await self._models.rename(guild.id, model_id, name))

    async def _hand_over(
        self, interaction: discord.Interaction, guild: discord.Guild, model_id: int
    ) -> None:
        model = await self._registry.model(guild.id, model_id)
        limit_bytes = interaction.filesize_limit  # grows with the server's boosts
        async with archived(self._files.model(model), limit_bytes) as archive:
            sentence = (COMPLETE if archive.complete else PARTIAL).format(
                name=escape(model.name),
                names=", ".join(archive.names),
                folder=model.folder,
                limit=megabytes(limit_bytes),
            )
            file = discord.File(archive.file, f"{model.name}.zip")
            await interaction.edit_original_response(content=sentence, attachments=[file])


class ModelButton(CogButton, kind="model", actions=ModelAction, cog=ModelsCog.__cog_name__):
    """Does something with a model."""

    def __init__(self, action: ModelAction, model_id: int):
        label, style = LABELS[action]
        super().__init__(action, model_id, label=label, style=style)


class _NewName(ui.Modal, title="Rename"):
    name: ui.TextInput[Any] = ui.TextInput(
        label="New name", custom_id="name", max_length=NAME_LIMIT
    )

    def __init__(self, cog: ModelsCog, model_id: int, asker_id: int):
        # The id starts like that of the button, so that both count as one in log and metrics. It
        # ends with the asker's id, because discord.py drops all forms of an id once one is sent.
        super().__init__(custom_id=f"model:{ModelAction.RENAME}:{model_id}:{asker_id}")
        self._cog = cog
        self._model_id = model_id

    async def on_submit(self, interaction: discord.Interaction) -> None:
        await self._cog.rename(interaction, self._model_id, self.name.value)


async def _show(interaction: discord.Interaction, model: StoredModel) -> None:
    use = ModelAction.ROLL_BACK if model.in_use else ModelAction.USE
    view = _buttons(model.id, use, ModelAction.RENAME, ModelAction.DOWNLOAD, ModelAction.DELETE)
    await interaction.edit_original_response(embed=model_details(model), view=view)


async def _say(interaction: discord.Interaction, sentence: str) -> None:
    await interaction.followup.send(sentence, ephemeral=True)


def _question(model: StoredModel) -> str:
    falls_back = " /write will use the model that was in use before." if model.in_use else ""
    return f"Delete {escape(model.name)}? This cannot be undone.{falls_back}"


def _buttons(model_id: int, *actions: ModelAction) -> ui.View:
    return view_of(*(ModelButton(action, model_id) for action in actions))
