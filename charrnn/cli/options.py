"""Options that several commands share, and the texts that they name."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from charrnn.cli.tables import printable
from charrnn.errors import OptionError
from charrnn.sentences import few
from charrnn.text import corpus
from charrnn.text.corpus import Document
from charrnn.text.messages import Counts
from charrnn.training.run.checkpoint import checkpoints_of

DEFAULT_MODEL = "shakespeare"

MOST_NAMES = 5  # of skipped files

notes = Console(stderr=True, highlight=False)

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Texts, exported chats (of DiscordChatExporter, WhatsApp, Telegram or Slack), folders "
        "of them, `plays` (all of Shakespeare's) or `plays:macbeth`.",
        show_default=False,
    ),
]
HeldOut = Annotated[
    list[str] | None,
    typer.Option(metavar="SOURCE", help="Measure on this text instead of a part of SOURCE."),
]
Temperature = Annotated[
    float,
    typer.Option(help="0 to 5. 0 always takes the likeliest character; higher is more varied."),
]
TopP = Annotated[
    float,
    typer.Option(help="Choose among the likeliest characters that together have this probability."),
]


def note(sentence: str) -> None:
    """Print a sentence for people on standard error."""
    notes.print(printable(sentence), style="dim", soft_wrap=True)


def note_counts(sources: list[str], documents: list[Document]) -> None:
    """Print, a line for each source, what was kept of exported chats and what was left out, and
    which files were skipped."""
    for source in sources:
        path = Path(source).resolve()
        found = (d.counts for d in documents if d.counts and Path(d.source).is_relative_to(path))
        counts = sum(found, Counts())
        if counts.total():
            note(f"{path.name}: {counts}")
        if names := corpus.skipped_in(source):
            note(f"skipped in {path.name}: {few(names, MOST_NAMES)}")


def split(documents: list[Document], held_out: list[str] | None, share: float) -> tuple[str, str]:
    """The text to train on, and the text held out: `held_out` if given, else the last `share`."""
    if held_out:
        kept = corpus.read_sources(held_out)
        return corpus.join(corpus.without(documents, kept)), corpus.join(kept)
    return corpus.hold_out(corpus.join(documents), share)


def check_new(output: Path) -> None:
    """Raises OptionError if `output` exists, since a model may have taken hours to train, or if it
    cannot be written."""
    if output.exists():
        otherwise = "or delete it first"
        if checkpoints_of(output).is_dir():
            otherwise = "delete it first, or continue with --resume"
        raise OptionError(f"{output} exists already. Choose another name, {otherwise}.")
    existing = next(folder for folder in output.absolute().parents if folder.exists())
    try:
        tempfile.TemporaryDirectory(dir=existing).cleanup()
    except OSError as error:
        raise OptionError(f"{output} cannot be written: {error.strerror}.") from error
