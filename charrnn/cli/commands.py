"""The command line: generate, train, evaluate, info, convert."""

import importlib
import io
import json
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from charrnn import evaluation, store
from charrnn.cli import tables
from charrnn.cli.reporter import ProgressFormat, Reporter
from charrnn.cli.stopping import stop_requests
from charrnn.errors import CharRNNError, OptionError, Stopped, needs_extra
from charrnn.generation import Prompt
from charrnn.generation import generate as generate_texts
from charrnn.sampling import Sampling
from charrnn.text import corpus
from charrnn.text.corpus import Document
from charrnn.training.events import Finished, Warned
from charrnn.training.recipes import (
    FROM_A_BASE,
    FROM_SCRATCH,
    PRESETS,
    fine_tuning,
    from_scratch,
)
from charrnn.verbatim import MAX_LONGEST
from charrnn.vocabulary import describe_characters

DEFAULT_MODEL = "shakespeare"
PICTURES = (".png", ".svg", ".pdf")
INTERRUPTED = 130  # the shell's exit code for a program that Ctrl-C ended

app = typer.Typer(
    help="Character-level LSTMs: write with them, train them, measure them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
notes = Console(stderr=True, highlight=False)

ModelOption = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME|FOLDER", help="A model that comes along, or one of yours."
    ),
]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Text files, folders of .txt, channels (.jsonl or .jsonl.gz with a message a line, "
        "DiscordChatExporter's .json), `plays` (Shakespeare's), `plays:macbeth` (one of them).",
        show_default=False,
    ),
]
Temperature = Annotated[float, typer.Option(help="0 is argmax; low is cautious, high is wild.")]
TopP = Annotated[
    float, typer.Option(help="Choose among the likeliest characters that make up this share.")
]
HeldOut = Annotated[
    list[str] | None,
    typer.Option(metavar="SOURCE", help="Measure on this, and not on what else there is."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class PresetName(StrEnum):
    SHAKESPEARE = "shakespeare"
    TINYSHAKESPEARE = "tinyshakespeare"
    CHAT = "chat"
    OTHELLO = "othello"


@app.command()
def generate(
    seed: Annotated[str, typer.Argument(help="What to go on from; may be empty.")] = "",
    model: ModelOption = DEFAULT_MODEL,
    length: Annotated[int, typer.Option(help="Characters to write.")] = 500,
    temperature: Temperature = Sampling.temperature,
    top_p: TopP = Sampling.top_p,
    top_k: Annotated[
        int | None, typer.Option(help="Choose among the so many likeliest characters.")
    ] = None,
    rng_seed: Annotated[
        int | None, typer.Option(help="The same one gives the same text.", show_default="random")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write on from SEED."""
    if rng_seed is None:
        rng_seed = secrets.randbelow(2**31)
    prompt = Prompt(seed, length, Sampling(temperature, top_p, top_k), rng_seed)
    loaded = store.load(model)
    [generated] = generate_texts(loaded, [prompt])
    if as_json:
        _print_json(
            seed=seed,
            text=generated.text,
            model=loaded.name,
            temperature=temperature,
            top_p=top_p,
            rng_seed=rng_seed,
            dropped=generated.dropped,
        )
        return
    print(seed + generated.text)
    if generated.dropped:
        _note(f"{loaded.name} cannot say: {describe_characters(generated.dropped)}")
    _note(f"{loaded.name}, temperature {temperature:g}, top-p {top_p:g}, random seed {rng_seed}")


@app.command()
def train(
    sources: Sources,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the model goes.", show_default=False)
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
    batch_size: Annotated[int | None, typer.Option(help="Texts read side by side.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak.")] = None,
    held_out: HeldOut = None,
    held_out_share: Annotated[
        float, typer.Option(help="Without --held-out: the last part of the text, held out.")
    ] = corpus.HELD_OUT_SHARE,
    rng_seed: Annotated[
        int, typer.Option(help="The same one gives the same model.", min=0, max=2**32 - 1)
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
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
    progress: Annotated[ProgressFormat, typer.Option(help="How to report.")] = ProgressFormat.RICH,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", hidden=True)  # for programs, such as the bot
    ] = False,
) -> None:
    """Train a model on SOURCE..., or fine-tune one with --base."""
    with Reporter(progress, notes) as report:
        if not resume:
            _check_new(output)
        if plot:
            _check_picture(plot)
        if base and preset:
            raise OptionError("--base brings its own network; leave out --preset.")
        documents = corpus.read_sources(sources)
        if progress is ProgressFormat.RICH:
            for document in documents:
                if document.counts:
                    _note(f"{Path(document.source).name}: {document.counts}")
        text, held_out_text = _split(documents, held_out or [], held_out_share)
        share = 0.0 if held_out else held_out_share
        characters = len(text) if held_out else len(text) + len(held_out_text)
        if warning := (FROM_A_BASE if base else FROM_SCRATCH).check(characters, share):
            report(Warned(f"{characters:,} characters are not many. {warning}"))
        if base:
            start = store.load(base)
            recipe = fine_tuning(start.card.spec, len(text))
        else:
            start = PRESETS[preset or PresetName.SHAKESPEARE]
            recipe = from_scratch(start, len(text))
        changes = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
        recipe = replace(recipe, **{k: v for k, v in changes.items() if v is not None})
        if progress is ProgressFormat.RICH:
            _note(f"{len(text):,} characters to learn from, {len(held_out_text):,} held out")
        training = _with_keras("run")
        job = training.Job(
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
        with stop_requests(notes, stop_with_stdin) as stopping:
            model = training.train(job, report, resume, stopping)
        untouched = model.card.training["history"][0]["validation_loss"] if base else None
        report(Finished(str(output), model.card.scores, untouched))


@app.command()
def evaluate(
    sources: Sources,
    model: ModelOption = DEFAULT_MODEL,
    held_out: HeldOut = None,
    held_out_share: Annotated[
        float, typer.Option(help="Measure on the last part of the text only; 1 is all of it.")
    ] = 1.0,
    samples: Annotated[
        int,
        typer.Option(
            min=0, max=10_000, help="Write so many texts, and judge them beside what is left."
        ),
    ] = 0,
    temperature: Temperature = Sampling.temperature,
    top_p: TopP = Sampling.top_p,
    as_json: Json = False,
) -> None:
    """How well a model predicts a text: nats and bits per character, perplexity. With --samples,
    how good a text it writes: then SOURCE is what it was trained on, and what was held out."""
    loaded = store.load(model)
    documents = corpus.read_sources(sources)
    training_text, text = _split(documents, held_out or [], held_out_share)
    if samples and not training_text:
        raise OptionError(
            "--samples judges beside the training text: give that as SOURCE, and what was held "
            "out with --held-out or --held-out-share."
        )
    encoded = loaded.vocabulary.encode(text)
    quality = None
    with notes.status("measuring"):
        score = evaluation.score(loaded.engine, encoded.ids)
        if samples:
            written = evaluation.write_samples(loaded, samples, Sampling(temperature, top_p))
            quality = evaluation.quality(written, training_text, loaded.vocabulary)
    if as_json:
        judged = {"quality": asdict(quality)} if quality else {}
        _print_json(model=loaded.name, dropped=encoded.dropped, **score.rounded(), **judged)
        return
    Console().print(tables.score(loaded.name, score))
    if encoded.dropped:
        _note(f"left out, unknown to {loaded.name}: {describe_characters(encoded.dropped)}")
    if quality:
        Console().print(tables.quality(quality))


@app.command()
def info(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|FOLDER]", help="Without it: the models there are."),
    ] = None,
) -> None:
    """What a model is, how it was trained and what it scored."""
    if model is None:
        cards = {name: store.read_card(store.locate(name))[0] for name in store.shipped()}
        Console().print(tables.models(cards))
    else:
        Console().print(tables.card(store.load(model).card))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A Keras file, or a model.")],
    destination: Annotated[Path, typer.Argument(help="A model folder, or a .keras or .onnx file.")],
    text: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For a Keras file: the text it was trained on."),
    ] = None,
) -> None:
    """A Keras model -> a model folder; a model folder -> a .keras or .onnx file."""
    names = {".keras": store.KERAS, ".onnx": store.ONNX}
    if source.suffix in (".keras", ".h5", ".hdf5"):
        if text is None:
            raise OptionError("--text FILE is needed: the text that the model was trained on.")
        _check_new(destination)
        _with_keras("conversion").convert(source, text, destination)
    elif destination.suffix in names:
        folder = store.load(str(source)).folder  # damaged files are not passed on
        shutil.copyfile(folder / names[destination.suffix], destination)
    elif not source.exists() and str(source) not in store.shipped():
        raise OptionError(f"There is no {source}.")
    else:
        raise OptionError(
            "Either SOURCE must be a .keras, .h5 or .hdf5 file, or DESTINATION a "
            ".keras or .onnx file."
        )
    _note(f"wrote {destination}")


def main() -> None:
    """The console script: what goes wrong is one sentence on standard error and exit code 1."""
    # Seeds and texts may hold what the terminal's encoding cannot.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except Stopped as stopped:
        notes.print(Text(str(stopped)), soft_wrap=True)
        sys.exit(INTERRUPTED)
    except CharRNNError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}." if error.strerror else f"{error}."
    else:
        return
    notes.print(tables.printable(f"Error: {message}"), style="red", soft_wrap=True)
    sys.exit(1)


def _check_new(output: Path) -> None:
    """Raises OptionError rather than let a model that took hours be written over."""
    if output.exists():
        raise OptionError(f"{output} exists already. Give another name, or delete it first.")


def _check_picture(path: Path) -> None:
    """Raises OptionError rather than fail to draw when the first epoch is done."""
    if path.suffix not in PICTURES:
        raise OptionError(f"--plot draws {', '.join(PICTURES)}; {path.name} is none of these.")
    if not path.parent.is_dir():
        raise OptionError(f"--plot: there is no folder {path.parent}.")


def _with_keras(module: str) -> Any:
    """A module of `charrnn.training`. It imports TensorFlow, which most commands do not need."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its log says nothing of use here
    try:
        with _quiet_stderr():
            config = importlib.import_module("tensorflow").config
            # Looking for devices, too, it says things that nobody asked.
            config.list_logical_devices()
            return importlib.import_module(f"charrnn.training.{module}")
    except ModuleNotFoundError as error:
        raise OptionError(needs_extra("This", error.name, "train")) from error


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """TensorFlow's C++ greets on standard error before its log level can be set."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _split(documents: list[Document], held_out: list[str], share: float) -> tuple[str, str]:
    """The text to train on, and the text held out."""
    if held_out:
        kept = corpus.read_sources(held_out)
        return corpus.join(corpus.without(documents, kept)), corpus.join(kept)
    return corpus.hold_out(corpus.join(documents), share)


def _command_line() -> str:
    arguments = [a for a in sys.argv[1:] if a not in ("--resume", "--stop-with-stdin")]
    return "charrnn " + " ".join(shlex.quote(a) for a in arguments)


def _print_json(**content: object) -> None:
    print(json.dumps(content))


def _note(sentence: str) -> None:
    notes.print(Text(sentence), style="dim", soft_wrap=True)
