"""Small models with random weights, hostile input, and the command line, for all tests."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from charrnn import store
from charrnn.cli import commands
from charrnn.spec import ModelSpec
from charrnn.training import export
from charrnn.training.network import build
from charrnn.training.recipes import PRESETS
from charrnn.vocabulary import Vocabulary

# The same examples every time, however slow the machine.
settings.register_profile(
    "same",
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("same")

TEXTS = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)

CHARACTERS = "\n !',.:?ABCDEHINORSTabcdefghiklmnoprstuvwy"
SPEAKERS = ("HERO", "Beatrice", "FIRST LORD")
OPENING = ("And there an end.\n\nHERO:\nSo be it.\n\n" * 4)[-100:]


def keras_model(spec: ModelSpec, rng_seed: int = 1) -> keras.Model:
    """A network with random weights, large enough that its texts vary."""
    keras.utils.set_random_seed(rng_seed)
    model = build(spec, PRESETS["shakespeare"].recipe)
    scale = 2.5 if spec.stateful else 6
    model.set_weights([weights * scale for weights in model.get_weights()])
    return model


def write_model(folder: Path, spec: ModelSpec, characters: str) -> store.Model:
    """Write a model with random weights to `folder`, and load it."""
    model = keras_model(spec)
    file = folder.with_name(f"{folder.name}.keras")
    model.save(file)
    opening = OPENING if "H" in characters else OPENING.lower()
    card = store.Card(spec, Vocabulary(characters), opening, {"parameters": 1}, {}, SPEAKERS)
    store.write(folder, card, file, export.shipped_graph(model))
    return store.load(folder)


@pytest.fixture(scope="session")
def stateful(tmp_path_factory: pytest.TempPathFactory) -> store.Model:
    """A small model like `shakespeare`."""
    spec = ModelSpec(len(CHARACTERS), units=(24, 17), embedding=9, stateful=True)
    return write_model(tmp_path_factory.mktemp("models") / "tiny", spec, CHARACTERS)


@pytest.fixture(scope="session")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> store.Model:
    """A small model like `othello`."""
    lower = "".join(sorted(set(CHARACTERS.lower())))
    spec = ModelSpec(len(lower), units=(19,), embedding=None, stateful=False)
    return write_model(tmp_path_factory.mktemp("models") / "sliding", spec, lower)


@pytest.fixture
def model_folder(stateful: store.Model, tmp_path: Path) -> Path:
    """A copy of `stateful` that a test may damage."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in (store.KERAS, store.ONNX, store.CARD):
        (folder / name).write_bytes((stateful.folder / name).read_bytes())
    return folder


@pytest.fixture
def charrnn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command with arguments. Returns what it prints, or its error if it `fails`."""

    def run(*arguments: object, fails: bool = False, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["charrnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        printed, said = capsys.readouterr()
        assert ended.value.code in ((1, 2) if fails else (code,)), said
        return said if fails else printed

    return run


def random_ids(rng_seed: int, characters: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(rng_seed).integers(characters, size=shape, dtype=np.int32)


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Replace one of a model's files, and its checksum in the card."""
    (folder / name).write_bytes(content)
    card = json.loads((folder / store.CARD).read_text("utf-8"))
    card["sha256"][name] = store.sha256(folder / name)
    (folder / store.CARD).write_text(json.dumps(card))
