"""How models look to people: a list of them, and one in detail."""

from collections.abc import Sequence
from math import log

import discord

from bot.interactions.markup import NEUTRAL, day, escape, megabytes
from bot.storage.records import Scores, StoredModel, TrainingJob
from charrnn.training.events import EpochEnd

LISTED = 12  # models in one embed, so that they fit
LISTED_SOURCE = 24  # characters of a source's or a channel's name in a list
STANDARD_ERRORS = 2  # after the ± of a voice: about 95 % of all measurements are within it

IN_USE = "In use: /write writes with it."
NO_MODELS = "This server has no model of its own yet. /retrain makes one."


def model_list(models: Sequence[StoredModel], default: str) -> discord.Embed:
    """A server's models, newest first. `default`: the model that it uses if none is in use."""
    embed = discord.Embed(title="Models of this server", colour=NEUTRAL)
    if not models:
        embed.description = NO_MODELS
        return embed
    newest = list(reversed(models))[:LISTED]
    embed.description = "\n".join(map(_line, newest))
    if not any(model.in_use for model in models):
        embed.description += f"\n\nNone of them is in use: /write writes with {escape(default)}."
    older = f"And {len(models) - LISTED:,} older. " if len(models) > LISTED else ""
    return embed.set_footer(text=f"{older}/models with a name shows what can be done with one.")


def model_details(model: StoredModel) -> discord.Embed:
    """One model in detail."""
    lines = [origin(model), IN_USE if model.in_use else "Not in use."]
    if model.scores.voice is not None:
        lines.insert(0, f"**{sounds_like(model.source.name, model.scores)}**")
    embed = discord.Embed(title=escape(model.name), description="\n".join(lines), colour=NEUTRAL)
    embed.add_field(name="Made", value=day(model.created_at))
    embed.add_field(name="Size", value=megabytes(model.size_bytes))
    embed.add_field(name="Trained on", value=f"{model.scores.characters:,} characters")
    return embed.add_field(name="Loss on held-out text", value=losses(model.scores), inline=False)


def _line(model: StoredModel) -> str:
    in_use = " · **in use**" if model.in_use else ""
    source = shortened(model.source.name)
    scores = model.scores
    sounds = "" if scores.voice is None else f"{sounds_like(source, scores)} · "
    return (
        f"**{escape(model.name)}** · {day(model.created_at)}{in_use}\n"
        f"-# {sounds}{losses(model.scores)} · {model.scores.characters:,} characters · "
        f"from {escape(model.base)} · {megabytes(model.size_bytes)}"
    )


def shortened(source: str) -> str:
    """A name as lists show it."""
    return source if len(source) <= LISTED_SOURCE else f"{source[:LISTED_SOURCE]}…"


def origin(made: TrainingJob | StoredModel) -> str:
    """What a model, or the model of a job, learns from."""
    return f"From {escape(str(made.source))}, starting from {escape(made.base)}."


def sounds_like(source: str, measured: Scores | EpochEnd) -> str:
    """How much a model sounds like the people who wrote its text, if that was measured. `source`:
    that text's name."""
    error = measured.voice_error
    uncertain = "" if error is None else f" ± {100 * STANDARD_ERRORS * error:.0f} %"
    return escape(f"Sounds like {source}: {100 * max(0.0, measured.voice or 0.0):.0f} %{uncertain}")


def bits(nats: float) -> str:
    """A loss in nats per character, as bits per character."""
    return f"{nats / log(2):.2f}"


def losses(scores: Scores) -> str:
    """The loss before and after training."""
    return f"{bits(scores.nats_before)} → {bits(scores.nats_after)} bits per character"
