"""How a job looks to people: an embed for each state, and the buttons under it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import discord

from bot.interactions.markup import BAD, GOOD, NEUTRAL, duration, escape
from bot.models.embeds import IN_USE, bits, losses, origin, shortened, sounds_like
from bot.storage.records import JobState, Scores, StoredModel, TrainingJob
from bot.training.job import Job
from bot.words.matching import WordFilter
from charrnn.sentences import counted
from charrnn.text.corpus import HELD_OUT_SHARE
from charrnn.text.messages import Counts
from charrnn.training.events import EpochEnd, Progress
from charrnn.training.recipes import alphabet_warning, least_text

PICTURE = "curve.png"
SAMPLE_LIMIT = 300  # characters of the sample that is shown during training
BAR_LENGTH = 20
LISTED_CHANNELS = 15  # they fit in a field's 1,024 characters, whatever their names
# Standard errors within which a difference of losses may be chance. Because a channel changes its
# topics, 2 of them cover only 80 % of its other stretches of the same length, and 3 about 90 %.
NOISE = 3
BUSY_CORES = 0.5  # of a processor; a training that gets less waits for other programs
CARICATURE = 1.3  # the voice from which a model repeats its people's pet phrases


class TrainingAction(StrEnum):
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
    actions: tuple[TrainingAction, ...] = ()


def screen(job: Job, note: str = "") -> Screen:
    """What is shown of a job. `note`: what somebody has just done with it."""
    row = job.row
    match job.state:
        case JobState.READING:
            read = (job.counts or Counts()).total()
            so_far = f": {counted(read, 'message')} so far" if read else ""  # a file is not counted
            text = f"Reading {escape(str(row.source))}{so_far}."
            if job.counts and len(job.counts.channels) > 1:
                text += f"\n\n{_by_channel(job.counts.channels.most_common())}"
            return Screen(_embed(f"Reading for {row.name}", text), (TrainingAction.CANCEL,))
        case JobState.READY:
            return _ready(row)
        case JobState.QUEUED:
            before = job.place - 1
            text = f"{counted(before, 'training')} before this one." if before else "Next in line."
            embed = _embed(f"Training {row.name}", f"{origin(row)}\n\nWaiting. {text}")
            return Screen(embed, (TrainingAction.CANCEL,))
        case JobState.TRAINING if job.paused:
            text = "I am being restarted. The training goes on by itself when I am back."
            return Screen(_embed(f"Training {row.name}", f"{origin(row)}\n\n{text}"))
        case JobState.TRAINING:
            embed = _embed(f"Training {row.name}", f"{origin(row)}\n\n{_progress(job)}")
            if job.progress:
                embed.set_footer(text=_losses(job.progress, job.epoch))
            return Screen(embed, (TrainingAction.CANCEL,))
        case JobState.FINISHED:
            if job.model is None:
                return Screen(_embed(row.name, note or "This model has been deleted.", BAD))
            return _candidate(job, job.model, note)
        case JobState.INTERRUPTED:
            embed = _embed(f"Interrupted: {row.name}", row.ending or "", BAD)
            return Screen(embed, (TrainingAction.RESUME, TrainingAction.CANCEL))
        case JobState.FAILED | JobState.CANCELLED:
            title = f"{row.state.title()}: {row.name}"
            return Screen(_embed(title, note or row.ending or "", BAD))


def _embed(title: str, text: str, colour: discord.Colour = NEUTRAL) -> discord.Embed:
    return discord.Embed(title=escape(title), description=text, colour=colour)


def _ready(row: TrainingJob) -> Screen:
    embed = _embed(f"Train {row.name}?", origin(row))
    if counts := row.counts:
        embed.add_field(name="Characters", value=f"{counts.characters:,}")
        if counts.messages:
            embed.add_field(name="Messages", value=f"{counts.messages:,}")
            embed.add_field(name="People", value=f"{counts.people:,}")
        if len(counts.channels) > 1:
            by_channel = _by_channel(counts.channels)
            embed.add_field(name="Messages by channel", value=by_channel, inline=False)
        if counts.left_out:
            lines = (f"{number:,} {why}" for why, number in counts.left_out)
            embed.add_field(name="Left out", value=escape("\n".join(lines)), inline=False)
    takes = f"About {duration(row.estimate_s or 0)} once it starts. I keep answering meanwhile."
    embed.add_field(name="Takes", value=takes, inline=False)
    if counts:
        warnings = (
            alphabet_warning(escape(row.base), counts.known),
            least_text(counts.known).check(counts.characters, HELD_OUT_SHARE),
        )
        if any(warnings):
            embed.add_field(name="Note", value="\n".join(filter(None, warnings)), inline=False)
    return Screen(embed, (TrainingAction.TRAIN, TrainingAction.CANCEL))


def _by_channel(messages: Sequence[tuple[str, int]]) -> str:
    listed, others = messages[:LISTED_CHANNELS], messages[LISTED_CHANNELS:]
    lines = [f"{escape(shortened(name))}: {number:,}" for name, number in listed]
    if others:
        lines.append(f"{len(others)} more: {sum(number for _, number in others):,}")
    return "\n".join(lines)


def _progress(job: Job) -> str:
    progress, epoch = job.progress, job.epoch
    busy = []
    if job.cores is not None and job.cores < BUSY_CORES:
        share = f"{100 * job.cores:.0f} % of a core"
        busy = [f"This machine is busy: the training gets only {share}."]
    if progress is None:
        steps = "loading the base and the text, then the first steps"
        starting = f"Starting: {steps}. {job.running_s:.0f} seconds so far."
        return "\n".join([starting, *busy])
    lines = [
        f"`{_bar((progress.epoch - 1 + progress.done) / progress.epochs)}`",
        f"Epoch {progress.epoch} of at most {progress.epochs} · "
        f"{progress.characters_per_second:,.0f} characters a second · "
        f"at most {duration(progress.seconds_left)} left",
        *busy,
    ]
    if epoch and epoch.voice is not None:
        lines.append(sounds_like(job.row.source.name, epoch))
    if epoch:
        lines += ["", *(f"> {line}" for line in _lines(job.never_said.mask(epoch.sample)))]
    return "\n".join(lines)


def _losses(progress: Progress, epoch: EpochEnd | None) -> str:
    held_out = f", {bits(epoch.validation_loss)} on held-out text" if epoch else ""
    return f"Loss: {bits(progress.loss)} bits per character in training{held_out}"


def _lines(text: str) -> list[str]:
    return escape(text.rstrip()[:SAMPLE_LIMIT]).splitlines() or ["…"]


def _bar(done: float) -> str:
    filled = round(done * BAR_LENGTH)
    return "█" * filled + "░" * (BAR_LENGTH - filled)


def _candidate(job: Job, model: StoredModel, note: str) -> Screen:
    row = job.row
    scores, base = model.scores, escape(model.base)
    verdict, colour = _verdict(scores, base)
    lines = []
    if scores.voice is not None:
        lines += [
            f"**{sounds_like(row.source.name, scores)}**",
            f"0 % is like its base, {base}; 100 % is like the people themselves.",
        ]
        if scores.voice > CARICATURE:
            lines.append("This one is a caricature: their pet phrases again and again.")
    lines += [*verdict, origin(row)]
    if model.samples is None:
        lines.append("Samples of both follow in a moment.")
    embed = _embed(f"{model.name} is ready", "\n".join(lines), colour)
    if model.samples:
        before = ((sample.seed, sample.before) for sample in model.samples)
        after = ((sample.seed, sample.after) for sample in model.samples)
        embed.add_field(name=base, value=_column(before, job.never_said))
        embed.add_field(name=escape(model.name), value=_column(after, job.never_said))
    copied = f"{counted(scores.longest_copied, 'character')} of {scores.characters:,}"
    embed.add_field(name="Longest passage copied", value=copied, inline=False)
    embed.set_image(url=f"attachment://{PICTURE}")
    footer = f"Loss on held-out text: {losses(scores)}. Lower is better."
    if now := note or (IN_USE if model.in_use else ""):
        footer = f"{now}\n{footer}"
    embed.set_footer(text=footer)
    if model.in_use:
        return Screen(embed, (TrainingAction.ROLL_BACK,))
    return Screen(embed, (TrainingAction.USE, TrainingAction.DISCARD))


def _verdict(scores: Scores, base: str) -> tuple[list[str], discord.Colour]:
    """Whether the held-out text shows that the model is better than its base."""
    gain, noise = scores.nats_before - scores.nats_after, NOISE * scores.standard_error
    if gain > noise:
        sentence = f"**Recommended:** it predicts what is written here better than {base}."
        return [sentence], GOOD
    if gain <= -noise:
        sentence = f"**Not recommended:** it predicts what is written here no better than {base}."
        return [sentence], BAD
    return [
        f"**I cannot tell** whether it predicts what is written here better than {base}: so little "
        "text is held out that the difference may be chance. Compare the samples, or train on "
        "more messages."
    ], NEUTRAL


def _column(written: Iterable[tuple[str, str]], never_said: WordFilter) -> str:
    """Texts one below the other, with their seeds in bold."""
    lines = []
    for seed, text in written:
        whole = never_said.mask(seed + text)  # of the same length
        seed, text = whole[: len(seed)], whole[len(seed) :]
        lines.append(f"**{escape(seed)}**{' / '.join(_lines(text))}")
    return "\n\n".join(lines)
