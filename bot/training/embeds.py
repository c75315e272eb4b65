"""How a training looks to people: each status as an embed, and the buttons under it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import discord

from bot.interactions.markup import BAD, GOOD, NEUTRAL, counted, duration, escape
from bot.models.embeds import bits, losses
from bot.storage.records import StoredModel, TrainingJob
from bot.training.statuses import (
    Candidate,
    Ended,
    Learning,
    Paused,
    Queued,
    Reading,
    Ready,
    Sample,
    Status,
)

PICTURE = "curve.png"
SAMPLE_LIMIT = 300  # characters shown of a text in the making
BAR_LENGTH = 20


class Action(StrEnum):
    """What the buttons do."""

    TRAIN = "train"
    CANCEL = "cancel"
    RESUME = "resume"
    USE = "use"
    DISCARD = "discard"
    ROLL_BACK = "rollback"
    AGAIN = "again"


@dataclass(frozen=True)
class Screen:
    embed: discord.Embed
    actions: tuple[Action, ...] = ()


def screen(status: Status) -> Screen:
    """What is shown of a training."""
    match status:
        case Reading(job, counts):
            seen = counts.total()
            text = f"Reading {escape(job.source)}: {seen:,} messages so far."
            return Screen(_embed(f"Reading for {job.name}", text), (Action.CANCEL,))
        case Ready():
            return _ready(status)
        case Queued(job, place):
            before = place - 1
            text = "It is next." if not before else f"{counted(before, 'training')} before it."
            text = f"{_from(job)}\n\nWaiting for its turn. {text}"
            return Screen(_embed(f"Training {job.name}", text), (Action.CANCEL,))
        case Learning(job):
            embed = _embed(f"Training {job.name}", f"{_from(job)}\n\n{_progress(status)}")
            return Screen(embed, (Action.CANCEL,))
        case Paused(job):
            text = f"{_from(job)}\n\nI am being restarted. It goes on by itself when I am back."
            return Screen(_embed(f"Training {job.name}", text))
        case Candidate(job, model, samples):
            return _candidate(job, model, samples)
        case Ended(job, sentence):
            state = "Interrupted" if status.resumable else job.state.title()
            actions = (Action.RESUME, Action.CANCEL) if status.resumable else ()
            return Screen(_embed(f"{state}: {job.name}", sentence, BAD), actions)


def _embed(title: str, text: str, colour: discord.Colour = NEUTRAL) -> discord.Embed:
    return discord.Embed(title=escape(title), description=text, colour=colour)


def _from(job: TrainingJob) -> str:
    return f"From {escape(job.source)}, starting from {escape(job.base)}."


def _ready(status: Ready) -> Screen:
    counts, job = status.counts, status.job
    embed = _embed(f"Train {job.name}?", _from(job))
    embed.add_field(name="Characters", value=f"{counts.characters:,}")
    if counts.messages:
        embed.add_field(name="Messages", value=f"{counts.messages:,}")
        embed.add_field(name="People", value=f"{len(counts.authors):,}")
    if left_out := counts.left_out:
        lines = (f"{number:,} {why}" for why, number in left_out.most_common() if number)
        embed.add_field(name="Left out", value="\n".join(lines), inline=False)
    takes = f"About {duration(status.seconds)}, once it is its turn. I go on answering meanwhile."
    embed.add_field(name="Takes", value=takes, inline=False)
    if status.warning:
        embed.add_field(name="Mind", value=status.warning, inline=False)
    return Screen(embed, (Action.TRAIN, Action.CANCEL))


def _progress(status: Learning) -> str:
    progress, epoch = status.progress, status.epoch
    if progress is None:
        return "Starting."
    lines = [
        f"`{_bar((progress['epoch'] - 1 + progress['done']) / progress['epochs'])}`",
        f"Epoch {progress['epoch']} of {progress['epochs']} · "
        f"{progress['characters_per_second']:,.0f} characters a second · "
        f"{duration(progress['seconds_left'])} left",
        f"Loss: {bits(progress['loss'])} bits per character in training{_validation(epoch)}",
    ]
    if epoch is not None:
        lines += ["", *(f"> {line}" for line in _lines(epoch["sample"]))]
    return "\n".join(lines)


def _validation(epoch: dict[str, Any] | None) -> str:
    return f", {bits(epoch['validation_loss'])} on text held out" if epoch else ""


def _lines(text: str) -> list[str]:
    return escape(text.rstrip()[:SAMPLE_LIMIT]).splitlines() or ["…"]


def _bar(done: float) -> str:
    filled = round(done * BAR_LENGTH)
    return "█" * filled + "░" * (BAR_LENGTH - filled)


def _candidate(job: TrainingJob, model: StoredModel, samples: tuple[Sample, ...] | None) -> Screen:
    scores, base = model.scores, escape(model.base)
    better = scores.nats_after < scores.nats_before
    if better:
        text = f"It guesses what is written here better than {base} does, which it started from."
    else:
        text = f"**Not recommended:** it guesses what is written here no better than {base} does."
    embed = _embed(f"{model.name} is ready", f"{_from(job)}\n{text}", GOOD if better else BAD)
    embed.add_field(name="Loss on text held out", value=losses(scores), inline=False)
    copied = f"{counted(scores.longest_copied, 'character')}, of {scores.characters:,} learnt from"
    embed.add_field(name="Longest run copied", value=copied, inline=False)
    if samples:
        before = ((sample.seed, sample.before) for sample in samples)
        after = ((sample.seed, sample.after) for sample in samples)
        embed.add_field(name=base, value=_column(before))
        embed.add_field(name=escape(model.name), value=_column(after))
    embed.set_image(url=f"attachment://{PICTURE}")
    if model.in_use:
        return Screen(embed.set_footer(text="In use."), (Action.ROLL_BACK,))
    return Screen(embed, (Action.USE, Action.DISCARD))


def _column(written: Iterable[tuple[str, str]]) -> str:
    """Texts one below the other, their seeds in bold."""
    lines = (f"**{escape(seed)}**{' / '.join(_lines(text))}" for seed, text in written)
    return "\n\n".join(lines)
