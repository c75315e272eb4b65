"""The command `charrnn train`."""

import shlex
import sys
from collections import Counter
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from charrnn import store
from charrnn.cli.backend import with_keras
from charrnn.cli.options import HeldOut, Sources, check_new, note, note_counts, notes, split
from charrnn.cli.reporter import ProgressFormat, Reporter
from charrnn.cli.stopping import end_of_stdin, stop_requests
from charrnn.errors import OptionError
from charrnn.text import corpus
from charrnn.training.events import Finished, Warned
from charrnn.training.job import Job, learnt_vocabulary, left_out
from charrnn.training.recipes import (
    FROM_SCRATCH,
    PRESETS,
    alphabet_warning,
    fine_tuning,
    from_scratch,
    least_text,
)
from charrnn.verbatim import MAX_LONGEST

PICTURES = (".png", ".svg", ".pdf")


class PresetName(StrEnum):
    SHAKESPEARE = "shakespeare"
    TINYSHAKESPEARE = "tinyshakespeare"
    CHAT = "chat"
    OTHELLO = "othello"


def train(
    sources: Sources,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The model's folder.", show_default=False)
    ],
    preset: Annotated[
        PresetName | None,
        typer.Option(
            help="The network and its recipe, without --base.", show_default="shakespeare"
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="Fine-tune this model.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the text.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Stretches of text that are read in parallel.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its highest value.")] = None,
    held_out: HeldOut = None,
    held_out_share: Annotated[
        float, typer.Option(help="Without --held-out: hold out this last part of the text.")
    ] = corpus.HELD_OUT_SHARE,
    rng_seed: Annotated[
        int, typer.Option(help="The same seed gives the same model.", min=0, max=2**32 - 1)
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the learning curve: .png, .svg, .pdf.")
    ] = None,
    longest_copy: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_LONGEST,
            help="The model never copies more characters in a row from SOURCE.",
            show_default="any number",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads to use.", show_default="all")
    ] = None,
    progress: Annotated[
        ProgressFormat, typer.Option(help="How to report progress.")
    ] = ProgressFormat.RICH,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", hidden=True)  # for programs, such as the bot
    ] = False,
) -> None:
    """Train a model on SOURCE..., or fine-tune one with --base."""
    with Reporter(progress, notes) as report:
        stdin_ended = end_of_stdin() if stop_with_stdin else None
        if not resume:
            check_new(output)
        if plot:
            _check_picture(plot)
        if base and preset:
            raise OptionError("--base brings its own network; leave out --preset.")
        documents = corpus.read_sources(sources)
        if progress is ProgressFormat.RICH:
            note_counts(sources, documents)
        text, held_out_text = split(documents, held_out, held_out_share)
        share = 0.0 if held_out else held_out_share
        learnt, everything = Counter(text), Counter(text if held_out else text + held_out_text)
        characters = everything.total()
        why = "too rare to learn"
        if base:
            start = store.load(base, for_training=True)
            card = start.card
            if card.spec.embedding is None:
                known, why = 1.0, f"that {start.name} does not know and cannot learn"
            else:
                known = start.vocabulary.known_share(everything)
            recipe, stateful = fine_tuning(card.spec, len(text), known), card.spec.stateful
            least, unknown = least_text(known), alphabet_warning(start.name, known)
        else:
            start = PRESETS[preset or PresetName.SHAKESPEARE]
            recipe, stateful = from_scratch(start, len(text)), start.stateful
            card, least, unknown = None, FROM_SCRATCH, ""
        if unknown:  # also the reason for a refusal that may follow
            report(Warned(unknown))
        if warning := least.check(characters, share):
            report(Warned(f"{characters:,} characters are not many. {warning}"))
        if rare := learnt_vocabulary(learnt, recipe, card).unknown(everything):
            percent = 100 * rare.total() / characters
            report(Warned(f"Left out: {rare.total():,} {left_out(rare, why)} ({percent:.2g} %)."))
        changes = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
        recipe = replace(recipe, **{k: v for k, v in changes.items() if v is not None})
        if progress is ProgressFormat.RICH:
            note(f"{len(text):,} characters to learn from, {len(held_out_text):,} held out")
        run = with_keras("run.train", threads, in_shares=stateful)
        job = Job(
            text=text,
            validation_text=held_out_text,
            output=output,
            start=start,
            recipe=recipe,
            source={"command": _command_line()},
            rng_seed=rng_seed,
            plot=plot,
            longest_copy=longest_copy,
        )
        with stop_requests(notes, stdin_ended) as stopping:
            model = run.train(job, report, resume, stopping)
        trained = model.card.training
        history = trained["history"]
        report(
            Finished(
                str(output),
                model.card.scores,
                history[0]["validation_loss"] if base else None,
                trained.get("voice"),
                history[trained["best_epoch"]].get("standard_error") if base else None,
                trained.get("voice_error"),
            )
        )


def _check_picture(path: Path) -> None:
    """Raises OptionError now, and not when the first epoch ends."""
    if path.suffix not in PICTURES:
        raise OptionError(f"--plot draws {', '.join(PICTURES)}, not {path.name}.")
    if not path.parent.is_dir():
        raise OptionError(f"--plot: there is no folder {path.parent}.")


def _command_line() -> str:
    arguments = [a for a in sys.argv[1:] if a not in ("--resume", "--stop-with-stdin")]
    return "charrnn " + " ".join(shlex.quote(a) for a in arguments)
