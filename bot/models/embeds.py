"""What the bot has, for people to read: a server's models, and what is kept about a person."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import log

import discord

from bot.interactions.markup import NEUTRAL, day, escape, megabytes, unescape
from bot.storage.records import KeptAbout, Scores, StoredModel

LISTED = 12  # models in one embed, whose text may have
EMBED_LIMIT = 4096  # characters

NO_MODELS = "This server has no model of its own yet. /retrain makes one."
NOT_OUT = "You have not opted out: the models of servers may learn from what you write there."
NOTHING = "No model has learnt from your messages, and you have asked for no training."
NOTHING_ELSE = "Nothing else about you is kept: neither what I was asked nor what I answered."
TEXTS_KEPT = "What such a model has learnt from is kept beside it, until the model is deleted."


def model_list(models: Sequence[StoredModel], default: str) -> discord.Embed:
    """A server's models, the newest first. `default`: what it uses before any of them."""
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
    """One model, with all that is known of it."""
    state = "In use: /write writes with it." if model.in_use else "Not in use."
    text = f"From {escape(model.source)}, starting from {escape(model.base)}.\n{state}"
    embed = discord.Embed(title=escape(model.name), description=text, colour=NEUTRAL)
    embed.add_field(name="Made", value=day(model.created_at))
    embed.add_field(name="Size", value=megabytes(model.size_bytes))
    embed.add_field(name="Characters learnt from", value=f"{model.scores.characters:,}")
    return embed.add_field(name="Loss on text held out", value=losses(model.scores), inline=False)


def kept_text(
    kept: KeptAbout,
    server_name: Callable[[int], str],
    *,
    texts_kept: bool,  # of models, once they are made
    day: Callable[[int], str] = day,
) -> str:
    """All that is kept about a person, server by server."""
    if kept.opted_out_at is None:
        paragraphs = [NOT_OUT]
    else:
        since = day(kept.opted_out_at)
        paragraphs = [f"You opted out on {since}: nothing learns from what you write."]
    paragraphs.append("\n".join(_servers(kept, server_name, day)) or NOTHING)
    if kept.models and texts_kept:
        paragraphs.append(TEXTS_KEPT)
    return "\n\n".join([*paragraphs, NOTHING_ELSE])


def kept_file(kept: KeptAbout, server_name: Callable[[int], str], *, texts_kept: bool) -> str:
    """The same for a text file, which Discord does not render."""
    return unescape(kept_text(kept, server_name, texts_kept=texts_kept, day=_iso_day))


def _servers(
    kept: KeptAbout, server_name: Callable[[int], str], day: Callable[[int], str]
) -> list[str]:
    about: defaultdict[int, list[str]] = defaultdict(list)
    for model in kept.models:
        made = day(model.created_at)
        sentence = f"{escape(model.name)}, made on {made}, has learnt from your messages."
        about[model.guild_id].append(sentence)
    for job in kept.learning:
        sentence = f"{escape(job.name)} is to learn from your messages; it is not ready yet."
        about[job.guild_id].append(sentence)
    for job in kept.asked_for:
        asked = f"you asked for this training on {day(job.created_at)}, which is {job.state}."
        sentence = f"{escape(job.name)}: {asked}"
        about[job.guild_id].append(sentence)
    return [
        line
        for guild_id, sentences in sorted(about.items())
        for line in (f"**{escape(server_name(guild_id))}**", *(f"- {s}" for s in sentences))
    ]


def _iso_day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _line(model: StoredModel) -> str:
    in_use = " · **in use**" if model.in_use else ""
    return (
        f"**{escape(model.name)}** · {day(model.created_at)}{in_use}\n"
        f"-# {losses(model.scores)} · {model.scores.characters:,} characters learnt from · "
        f"from {escape(model.base)} · {megabytes(model.size_bytes)}"
    )


def bits(nats: float) -> str:
    """A loss in nats per character, in bits."""
    return f"{nats / log(2):.2f}"


def losses(scores: Scores) -> str:
    """What a training has come to."""
    return f"{bits(scores.nats_before)} → {bits(scores.nats_after)} bits per character"
