"""A model on disk: a folder with `model.keras`, `model.onnx` and `card.json`."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.engine import Engine
from charrnn.errors import ModelError
from charrnn.spec import ModelSpec
from charrnn.verbatim import VerbatimGuard
from charrnn.vocabulary import Vocabulary

FORMAT = 2
KERAS, ONNX, CARD = "model.keras", "model.onnx", "card.json"
GUARD = "guard.npz"  # only in models that must not copy their training text


@dataclass(frozen=True)
class Card:
    """The contents of `card.json`: everything about a model except its weights."""

    spec: ModelSpec
    vocabulary: Vocabulary
    opening: str  # stands before a seed that is too short to fill the window
    training: dict[str, Any]  # how it was trained: command, data, recipe, time
    scores: dict[str, dict[str, float]]  # the name of a text -> the model's score on it
    # Who speaks in a training text that is a play, most frequent first: "HAMLET". After a line
    # "HAMLET:", the model goes on with a speech of his.
    speakers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A loaded model, for `generation.generate` and `evaluation.score`."""

    name: str
    card: Card
    engine: Engine
    folder: Path
    guard: VerbatimGuard | None = None  # keeps the model from copying its training text
    _primed: dict[int, np.ndarray] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def vocabulary(self) -> Vocabulary:
        return self.card.vocabulary

    @property
    def opening(self) -> str:
        return self.card.opening

    @cached_property
    def opening_ids(self) -> np.ndarray:
        """The end of the opening that fills the window, ids int32 `(T,)`."""
        return self.vocabulary.encode(self.opening).ids[-self.card.spec.window :]

    def primed(self, seed_length: int) -> np.ndarray:
        """The state `(S,)` after the part of the opening that a seed of this length leaves in the
        window; without a seed, after all but the last character of the window. Computed once."""
        if seed_length not in self._primed:
            window = self.opening_ids
            part = window[seed_length:] if seed_length else window[:-1]
            self._primed[seed_length] = self.engine.read(part[np.newaxis])[1][0]
        return self._primed[seed_length]

    def guard_against(self, text: str, longest: int) -> VerbatimGuard:
        """A guard for `generate` that lets the model copy at most `longest` characters in a row
        from `text`. Raises OptionError when `longest` is out of range."""
        return VerbatimGuard.of(self.vocabulary.encode(text).ids, longest, len(self.vocabulary))


def shipped() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(path.parent.name for path in package_data("weights").glob(f"*/{CARD}"))


def locate(model: str | Path) -> Path:
    """The folder of a shipped model's name, or of a path. Raises ModelError."""
    if model in shipped():
        return package_data("weights") / model
    if Path(model).is_dir():
        return Path(model)
    raise ModelError(
        f"There is no model {str(model)!r}: it is neither a folder nor one of "
        f"{', '.join(shipped())}."
    )


def load(model: str | Path, threads: int = 1, *, for_training: bool = False) -> Model:
    """Load a model by its shipped name or from its folder, and check its files.

    The engine uses `threads` threads. `model.keras` is ignored, and may be missing, unless the
    model is loaded `for_training`. Raises ModelError, which names the file and what is wrong with
    it."""
    folder = locate(model)
    card, checksums = read_card(folder)
    if not for_training:
        del checksums[KERAS]
    elif not (folder / KERAS).is_file():
        raise ModelError(
            f"{folder / KERAS} is missing; training and conversion to Keras need it. An installed "
            "charrnn lacks it for tinyshakespeare: use a clone of the repository."
        )
    _check(folder, checksums)
    try:
        engine = Engine((folder / ONNX).read_bytes(), card.spec, threads)
    except ModelError as error:
        raise ModelError(f"{folder / ONNX}: {error}") from error
    guard = None
    if GUARD in checksums:
        guard = VerbatimGuard.load(folder / GUARD, card.spec.characters)
    return Model(folder.resolve().name, card, engine, folder, guard)


def read_card(folder: Path) -> tuple[Card, dict[str, str]]:
    """Read `card.json`: the card, and the SHA-256 of each of the other files by name. Raises
    ModelError."""
    path = folder / CARD
    with _reading():
        if folder.is_dir() and not path.exists():
            raise ModelError(f"{folder} is not a model: it has no {CARD}.")
        content = path.read_bytes()
    try:
        data = json.loads(content)
        version = data["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} is not a charrnn model card.") from error
    if version != FORMAT:
        raise ModelError(
            f"{path} has format {version!r}, this charrnn reads format {FORMAT}. Update charrnn, "
            "or train the model again."
        )
    try:
        card = _card(data)
        files = (KERAS, ONNX, GUARD) if GUARD in data["sha256"] else (KERAS, ONNX)
        return card, {name: data["sha256"][name] for name in files}
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path} has a missing or wrong entry: {error}.") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _card(data: dict[str, Any]) -> Card:
    kinds = {"vocabulary": str, "opening": str, "training": dict, "scores": dict}
    for name, kind in kinds.items():
        if not isinstance(data[name], kind):
            raise TypeError(f"{name} is not a {kind.__name__}")
    speakers = data.get("speakers", [])  # models of older versions have none
    if not isinstance(speakers, list) or not all(isinstance(name, str) for name in speakers):
        raise TypeError("speakers is not a list of names")
    spec = ModelSpec(**{**data["spec"], "units": tuple(data["spec"]["units"])})
    vocabulary = Vocabulary(data["vocabulary"])
    card = Card(
        spec, vocabulary, data["opening"], data["training"], data["scores"], tuple(speakers)
    )
    if len(vocabulary) != spec.characters:
        raise ModelError(
            f"The vocabulary has {len(vocabulary)} characters, the spec {spec.characters}."
        )
    if len(card.opening) < spec.window or not set(card.opening) <= set(vocabulary.characters):
        raise ModelError("The opening must fill the window, and use known characters only.")
    return card


def write(
    folder: Path,
    card: Card,
    keras_file: Path,
    graph: bytes,
    guard: VerbatimGuard | None = None,
) -> None:
    """Write a model folder, all of it or nothing. A model that was there before is replaced by
    two renames; if the machine stops between them, the old model is beside it in `.NAME.old.…`.

    Raises ModelError when `folder` holds something other than a model."""
    with _whole(folder) as new:
        shutil.copyfile(keras_file, new / KERAS)
        (new / ONNX).write_bytes(graph)
        if guard is not None:
            guard.save(new / GUARD)
        content = {
            "format": FORMAT,
            "spec": asdict(card.spec),
            "vocabulary": card.vocabulary.characters,
            "opening": card.opening,
            "speakers": card.speakers,
            "training": card.training,
            "scores": card.scores,
            "sha256": {path.name: sha256(path) for path in sorted(new.iterdir())},
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (new / CARD).write_text(text, encoding="utf-8")


def read_files(folder: Path, *, for_training: bool = False) -> dict[str, bytes]:
    """The files of a model by name, for `write_files` on another machine, with `model.keras` if
    it is to be loaded `for_training` there. Raises ModelError."""
    _, checksums = read_card(folder)
    if not for_training:
        del checksums[KERAS]
    with _reading():
        return {name: (folder / name).read_bytes() for name in (CARD, *checksums)}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a model that `read_files` returned, all of them or none.

    Raises ModelError when a file is missing or damaged, and when `folder` holds something other
    than a model."""
    with _whole(folder) as new:
        for name, content in files.items():
            (new / name).write_bytes(content)
        _, checksums = read_card(new)
        if KERAS not in files:
            del checksums[KERAS]
        _check(new, checksums)


def check_destination(folder: Path) -> None:
    """Raises ModelError when writing a model to `folder` would destroy something else."""
    if folder.exists() and not (folder / CARD).is_file():
        raise ModelError(f"{folder} exists and is not a model. Give another name.")


def write_file(path: Path, content: bytes) -> None:
    """Write a file, all of it or nothing."""
    new = path.with_name(f"new-{path.name}")
    new.write_bytes(content)
    sync(new)
    new.replace(path)


def sync(path: Path) -> None:
    """Wait until the file is on the disk, so that what refers to it never finds half of it."""
    with path.open("r+b") as file:  # Windows refuses this for files that are only read
        os.fsync(file.fileno())


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises ModelError when it cannot be read."""
    with _reading(), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_data(name: str) -> Path:
    """A folder that comes with the package: inside it when installed, beside it in a clone."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def _check(folder: Path, checksums: Mapping[str, str]) -> None:
    for name, checksum in checksums.items():
        if sha256(folder / name) != checksum:
            raise ModelError(
                f"{folder / name} is damaged: its checksum differs from the one in {CARD}."
            )


@contextmanager
def _reading() -> Iterator[None]:
    """Turn an OSError into a ModelError."""
    try:
        yield
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be read: {error.strerror}.") from error


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A temporary folder that replaces `folder` at the end; deleted if the body raises."""
    check_destination(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield new
        for path in new.iterdir():
            sync(path)
        new.chmod(0o755)  # mkdtemp's folders are private
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            folder.rename(old / folder.name)  # Windows renames nothing to what exists
            new.rename(folder)
            shutil.rmtree(old)
        else:
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
