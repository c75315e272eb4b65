"""A model on disk: a folder of `model.keras`, `model.onnx` and `card.json`, whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from io import BufferedReader
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
GUARD = "guard.npz"  # of a model that must not copy its text
MAX_CARD_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Card:
    """What `card.json` says: everything about a model but its weights."""

    spec: ModelSpec
    vocabulary: Vocabulary
    opening: str  # what stands before a seed too short to fill the window
    training: dict[str, Any]  # how it was trained: command, data, recipe, time
    scores: dict[str, dict[str, float]]  # what it scored, by what it was measured on


@dataclass(frozen=True)
class Model:
    """A model as loaded: it writes (`generation.generate`) and is measured (`evaluation.score`)."""

    name: str
    card: Card
    engine: Engine
    folder: Path
    guard: VerbatimGuard | None = None  # what keeps it from copying the text it learnt from
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
        """The window that the opening fills, ids int32 `(T,)`."""
        return self.vocabulary.encode(self.opening).ids[-self.card.spec.window :]

    def primed(self, seed_length: int) -> np.ndarray:
        """The state `(S,)` after that part of the opening which stands, in the window, before a
        seed of so many characters; of an empty seed, before the window's last character. Each is
        worked out once."""
        if seed_length not in self._primed:
            window = self.opening_ids
            part = window[seed_length:] if seed_length else window[:-1]
            self._primed[seed_length] = self.engine.read(part[np.newaxis])[1][0]
        return self._primed[seed_length]


def shipped() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(path.parent.name for path in _weights().glob(f"*/{CARD}"))


def locate(model: str | Path) -> Path:
    """The folder of a shipped model's name, or of a path. Raises ModelError."""
    if model in shipped():
        return _weights() / model
    try:
        if Path(model).is_dir():
            return Path(model)
    except (OSError, ValueError):
        pass  # no folder can have such a name
    raise ModelError(
        f"There is no model {str(model)!r}: neither a folder nor one of {', '.join(shipped())}."
    )


def load(model: str | Path, threads: int = 1, *, only_to_write: bool = False) -> Model:
    """A model by its shipped name or from its folder, checked: format, spec, checksums, the
    graph's shapes. `threads` are for one step of the engine; `only_to_write` does without the
    file that training starts from.

    Raises ModelError, naming the file and what is wrong with it."""
    folder = locate(model)
    card, checksums = read_card(folder)
    if only_to_write:
        del checksums[KERAS]
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
    """`card.json` and the SHA-256 it gives for each of the other files. Raises ModelError."""
    path = folder / CARD
    with _opened(path) as file:
        content = file.read(MAX_CARD_BYTES + 1)
    if len(content) > MAX_CARD_BYTES:
        raise ModelError(f"{path} is too large to be a card.")
    try:
        data = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not valid JSON; the model is damaged.") from error
    version = data.get("format") if isinstance(data, dict) else None
    if not isinstance(version, int) or version < 1:
        raise ModelError(f"{path} is not a charrnn model card: it has no format number.")
    if version < FORMAT:
        raise ModelError(
            f"{path} has format {version}, which this charrnn reads no more. Convert or train the "
            "model anew."
        )
    if version > FORMAT:
        raise ModelError(
            f"{path} has format {version}, this charrnn reads up to {FORMAT}. Update charrnn."
        )
    try:
        spec = ModelSpec(**{**data["spec"], "units": tuple(data["spec"]["units"])})
        kinds = {"vocabulary": str, "opening": str, "training": dict, "scores": dict}
        for name, kind in kinds.items():
            if not isinstance(data[name], kind):
                raise TypeError(f"{name} is no {kind.__name__}")
        vocabulary = Vocabulary(data["vocabulary"])
        for name, score in data["scores"].items():
            if not all(isinstance(figure, int | float) for figure in score.values()):
                raise TypeError(f"the score {name!r} is no table of numbers")
        card = Card(spec, vocabulary, data["opening"], data["training"], data["scores"])
        files = (KERAS, ONNX, GUARD) if GUARD in data["sha256"] else (KERAS, ONNX)
        checksums = {name: str(data["sha256"][name]) for name in files}
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} lacks or garbles an entry: {error}.") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    if len(vocabulary) != spec.characters:
        raise ModelError(
            f"{path} names {len(vocabulary)} characters, its spec {spec.characters}; "
            "the model is damaged."
        )
    if len(card.opening) < spec.window or not set(card.opening) <= set(vocabulary.characters):
        raise ModelError(f"{path}: the opening must fill the window, in the model's characters.")
    return card, checksums


def write(
    folder: Path,
    card: Card,
    keras_file: Path,
    graph: bytes,
    guard: VerbatimGuard | None = None,
) -> None:
    """Write a model folder, whole or not at all. A model that was there before stays until the
    new one is on the disk; then two renames swap them, and should the machine stop between the
    two, the old one is beside it, as `.NAME.old.…`.

    Raises ModelError when something else than a model is there."""
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
            "training": card.training,
            "scores": card.scores,
            "sha256": {path.name: sha256(path) for path in sorted(new.iterdir())},
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (new / CARD).write_text(text, encoding="utf-8")


def read_files(folder: Path, *, only_to_write: bool = False) -> dict[str, bytes]:
    """The files of a model by name, for `write_files` on another machine; `only_to_write`, without
    the one that training starts from. Raises ModelError."""
    names = [CARD, *read_card(folder)[1]]
    try:
        return {
            name: (folder / name).read_bytes()
            for name in names
            if not (only_to_write and name == KERAS)
        }
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be read: {error.strerror}.") from error


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the model folder that `read_files` has read elsewhere, whole or not at all.

    Raises ModelError when a file is missing, is not what the card says, or has no place in a
    model, and when something else than a model is in `folder`."""
    if strangers := files.keys() - {CARD, KERAS, ONNX, GUARD}:
        raise ModelError(f"A model has no file named {min(strangers)!r}.")
    with _whole(folder) as new:
        for name, content in files.items():
            (new / name).write_bytes(content)
        _, checksums = read_card(new)
        if KERAS not in files:
            del checksums[KERAS]
        _check(new, checksums)


def check_destination(folder: Path) -> None:
    """Raises ModelError when a model cannot be written to `folder` without loss."""
    if folder.exists() and not (folder / CARD).is_file():
        raise ModelError(f"{folder} exists and is not a model; give another name.")


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    new = path.with_name(f"new-{path.name}")
    new.write_bytes(content)
    sync(new)
    new.replace(path)


def _weights() -> Path:
    """Where the shipped models are: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "weights"
    return inside if inside.is_dir() else package.parent / "weights"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises ModelError when it cannot be read."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """A file to read; a pipe or a device in its place may have no end. Raises ModelError."""
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} is not a file; the model is damaged.")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error


def _check(folder: Path, checksums: Mapping[str, str]) -> None:
    for name, checksum in checksums.items():
        if sha256(folder / name) != checksum:
            raise ModelError(f"{folder / name} is damaged: it is not the file {CARD} describes.")


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A new folder to write a model's files in. When the block ends, it takes the place of
    `folder`; when the block raises, it goes."""
    check_destination(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield new
        for path in new.iterdir():
            path.chmod(0o644)
            sync(path)
        new.chmod(0o755)
        _swap(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _swap(new: Path, folder: Path) -> None:
    """Put `new` where `folder` is or would be."""
    if not folder.exists():
        new.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def sync(path: Path) -> None:
    """See to it that the file is on the disk before anything refers to it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
