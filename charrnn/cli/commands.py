"""The command line: generate, train, web, evaluate, info, convert."""

import json
import secrets
import shutil
import sys
from collections import Counter
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from charrnn import __version__, evaluation, store
from charrnn.cli import tables
from charrnn.cli.backend import with_keras
from charrnn.cli.options import (
    DEFAULT_MODEL,
    HeldOut,
    Sources,
    Temperature,
    TopP,
    check_new,
    note,
    note_counts,
    notes,
    split,
)
from charrnn.cli.streams import ENCODING, set_up_output
from charrnn.cli.training import train
from charrnn.cli.web import web
from charrnn.errors import CharRNNError, CorpusError, OptionError, Stopped
from charrnn.generation import Prompt, speaker_called
from charrnn.generation import generate as generate_texts
from charrnn.sampling import Sampling
from charrnn.text import corpus
from charrnn.vocabulary import LEAST_KNOWN, describe_characters

KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
INTERRUPTED = 130  # the shell's exit code for a program that Ctrl-C ended

app = typer.Typer(
    help="Character-level LSTMs: generate text, train models, measure them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ModelOption = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME|FOLDER", help="A model that comes with charrnn, or your own."
    ),
]


class Gates(StrEnum):
    SIGMOID = "sigmoid"
    HARD_SIGMOID = "hard_sigmoid"


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _print_version(asked: bool) -> None:
    if asked:
        print(f"charrnn {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def generate(
    seed: Annotated[
        str,
        typer.Argument(
            help="The text to continue; may be empty. `-` reads it from standard input."
        ),
    ] = "",
    model: ModelOption = DEFAULT_MODEL,
    speaker: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Who says SEED: a speaker of the model's plays."),
    ] = None,
    length: Annotated[int, typer.Option(help="Characters to write.")] = 500,
    temperature: Temperature = Sampling.temperature,
    top_p: TopP = Sampling.top_p,
    top_k: Annotated[
        int | None, typer.Option(help="Choose among this many of the likeliest characters.")
    ] = None,
    rng_seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text.", show_default="random")
    ] = None,
    as_json: Json = False,
) -> None:
    """Continue the text SEED."""
    if rng_seed is None:
        rng_seed = secrets.randbelow(2**31)
    loaded = store.load(model)
    if seed == "-":
        stdin = typer.get_text_stream("stdin", ENCODING, "backslashreplace")
        seed = stdin.read().removesuffix("\n")
    if speaker is not None:
        seed = f"{speaker_called(speaker, loaded.name, loaded.card.speakers)}:\n{seed}"
    prompt = Prompt(seed, length, Sampling(temperature, top_p, top_k), rng_seed)
    [generated] = generate_texts(loaded, [prompt])
    if as_json:
        _print_json(
            seed=seed,
            text=generated.text,
            model=loaded.name,
            **asdict(prompt.sampling),
            rng_seed=rng_seed,
            dropped=generated.dropped,
        )
        return
    print(tables.printable(seed + generated.text))
    if generated.dropped:
        note(f"{loaded.name} does not know: {describe_characters(generated.dropped)}")
    chosen = f"temperature {temperature:g}, top-p {top_p:g}" + (f", top-k {top_k}" if top_k else "")
    note(f"{loaded.name}, {chosen}, random seed {rng_seed}")


app.command()(train)
app.command()(web)


@app.command()
def evaluate(
    sources: Sources,
    model: ModelOption = DEFAULT_MODEL,
    held_out: HeldOut = None,
    held_out_share: Annotated[
        float, typer.Option(help="Measure only on this last part of the text; 1 is all of it.")
    ] = 1.0,
    samples: Annotated[
        int,
        typer.Option(
            min=0, max=10_000, help="Also write this many texts, and measure their quality."
        ),
    ] = 0,
    temperature: Temperature = Sampling.temperature,
    top_p: TopP = Sampling.top_p,
    as_json: Json = False,
) -> None:
    """Measure how well a model predicts a text: nats and bits per character, perplexity.

    With --samples, also measure how good the texts are that it writes. Then SOURCE is the text it
    was trained on."""
    loaded = store.load(model)
    documents = corpus.read_sources(sources)
    note_counts(sources, documents)
    training_text, text = split(documents, held_out, held_out_share)
    if samples and not training_text:
        raise OptionError(
            "--samples compares with the training text. Give that as SOURCE, and the held-out text "
            "with --held-out or --held-out-share."
        )
    encoded = loaded.vocabulary.encode(text)
    dropped = encoded.dropped
    unknown = 1 - loaded.vocabulary.known_share(Counter(text))
    if unknown > 1 - LEAST_KNOWN:
        raise CorpusError(
            f"{loaded.name} does not know {unknown:.0%} of this text's characters, and its loss on "
            "the others would say little. Choose a model that learnt this alphabet."
        )
    quality = None
    with notes.status("measuring"):
        score = evaluation.Score.of(evaluation.losses(loaded.engine, encoded.ids))
        if samples:
            written = evaluation.write_samples(loaded, samples, Sampling(temperature, top_p))
            quality = evaluation.quality(written, training_text, loaded.vocabulary)
    if as_json:
        judged = {"quality": asdict(quality)} if quality else {}
        _print_json(
            model=loaded.name,
            dropped=dropped,
            unknown=round(unknown, 4),
            **score.rounded(),
            **judged,
        )
        return
    Console().print(tables.score(loaded.name, score))
    if dropped:
        note(
            f"not counted, unknown to {loaded.name}, {unknown:.1%} of the characters: "
            f"{describe_characters(dropped)}"
        )
    if quality:
        Console().print(tables.quality(quality))


@app.command()
def info(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|FOLDER]", help="Leave out to list the models."),
    ] = None,
) -> None:
    """Describe a model: its network, how it was trained, its scores."""
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
    gates: Annotated[
        Gates | None,
        typer.Option(help="For a Keras file that does not say it: the gate activation."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="For a Keras file that does not say it: the characters it reads."),
    ] = None,
    architecture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For a file of weights: the JSON of model.to_json()."),
    ] = None,
) -> None:
    """Turn a Keras file into a model folder, or a model into a .keras or .onnx file.

    A Keras file is a .keras, .h5 or .hdf5 of Keras 1, 2 or 3: a whole model, or weights alone."""
    names = {".keras": store.KERAS, ".onnx": store.ONNX}
    saved_model = source / "saved_model.pb"  # a folder of TensorFlow's, which is refused
    check_new(destination)
    if source.suffix in KERAS_SUFFIXES or source.is_file() or saved_model.exists():
        for path in filter(None, (source, text, architecture)):
            if not path.exists():
                raise OptionError(f"There is no {path}.")
        if text is None:
            raise OptionError("--text FILE is needed: the text that the model was trained on.")
        conversion = with_keras("conversion.convert")
        hints = conversion.Hints(gates and gates.value, window)
        for remark in conversion.convert(source, text, destination, hints, architecture):
            note(remark)
    elif destination.suffix in names:
        # Loading checks the files.
        folder = store.load(str(source), for_training=destination.suffix == ".keras").folder
        shutil.copyfile(folder / names[destination.suffix], destination)
    elif not source.exists() and str(source) not in store.shipped():
        raise OptionError(f"There is no {source}.")
    else:
        raise OptionError(
            "Either SOURCE must be a .keras, .h5 or .hdf5 file, or DESTINATION a "
            ".keras or .onnx file."
        )
    note(f"wrote {'the folder ' if destination.is_dir() else ''}{destination}")


def main() -> None:
    """The console script. An error is one sentence on standard error, and exit code 1."""
    set_up_output()
    try:
        app()
    except Stopped as stopped:
        notes.print(tables.printable(str(stopped)), soft_wrap=True)
        sys.exit(INTERRUPTED)
    except CharRNNError as error:
        message = str(error)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        message = f"{place}{error.strerror or error}."
    else:
        return
    notes.print(tables.printable(f"Error: {message}"), style="red", soft_wrap=True)
    sys.exit(1)


def _print_json(**content: object) -> None:
    print(json.dumps(content))
