"""Keras files from strangers are opened or refused, and nothing in them is executed."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from charrnn import store
from charrnn.errors import ModelError
from charrnn.store import Model
from charrnn.training import export, keras_files, network
from charrnn.training.recipes import PRESETS
from tests.conftest import replace_file


def edited_keras(folder: Path, edit: Callable[[Any], Any]) -> Path:
    """A model's Keras file with another configuration."""
    path = folder / store.KERAS
    with zipfile.ZipFile(path) as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    configuration = json.loads(files["config.json"])
    files["config.json"] = json.dumps(edit(configuration) or configuration).encode()
    with zipfile.ZipFile(path, "w") as whole:
        for name, content in files.items():
            whole.writestr(name, content)
    replace_file(folder, store.KERAS, path.read_bytes())
    return path


def naming(module: str, name: str, config: Any) -> Callable[[Any], Any]:
    """A configuration that has Keras call something else than a layer."""
    named = {"module": module, "class_name": name, "config": config, "registered_name": None}

    def edit(configuration: Any) -> None:
        configuration["config"]["layers"][-1]["config"]["activation"] = named

    return edit


def as_wide(units: int) -> Callable[[Any], Any]:
    def edit(configuration: Any) -> None:
        for layer in configuration["config"]["layers"]:
            if "units" in layer["config"]:
                layer["config"]["units"] = units

    return edit


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (naming("os", "function", "system"), "it names 'function'"),
        (naming("subprocess", "Popen", {"args": ["false"]}), "it names 'Popen'"),
        (naming("os", "Dense", {}), "it names 'Dense'"),
        (naming("keras.layers", "Lambda", {}), "it names 'Lambda'"),
        (naming("keras.layers", "TFSMLayer", {"filepath": "/"}), "it names 'TFSMLayer'"),
        (naming("keras.utils", "get_file", {}), "it names 'get_file'"),
        (naming("keras", "__lambda__", {"value": ["4wE="]}), "it names '__lambda__'"),
        (as_wide(-3), "Keras cannot open"),
        (lambda _: [1], "Keras cannot open"),
        (lambda _: {"class_name": []}, r"it names \[\]"),
        (lambda _: {"class_name": "Sequential", "config": {"layers": []}}, "Keras cannot open"),
    ],
)
def test_a_keras_file_that_means_harm_is_refused(model_folder: Path, edit: Any, sentence: str):
    path = edited_keras(model_folder, edit)
    with pytest.raises(ModelError, match=sentence):
        export.spec_of(keras_files.load_keras(path))


def test_a_base_with_another_network_in_it_is_refused(
    model_folder: Path, stateful: Model, windowed: Model
):
    replace_file(model_folder, store.KERAS, (windowed.folder / store.KERAS).read_bytes())
    fresh = network.build(stateful.card.spec, PRESETS["shakespeare"].recipe)
    with pytest.raises(ModelError, match=r"model\.keras is not the network that card\.json"):
        network.adopt(fresh, store.load(model_folder))


def test_a_base_with_hard_sigmoid_gates_is_not_trained_further(model_folder: Path, stateful: Model):
    def edit(configuration: Any) -> None:
        for layer in configuration["config"]["layers"]:
            if layer["class_name"] == "LSTM":
                layer["config"]["recurrent_activation"] = "hard_sigmoid"

    edited_keras(model_folder, edit)
    fresh = network.build(stateful.card.spec, PRESETS["shakespeare"].recipe)
    with pytest.raises(ModelError, match="hard_sigmoid gates, which cannot be trained further"):
        network.adopt(fresh, store.load(model_folder))


def test_a_keras_file_with_code_in_it_is_refused(tmp_path: Path):
    inputs = keras.Input((10, 1))
    outputs = keras.layers.Lambda(lambda x: x)(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "evil.keras")
    with pytest.raises(ModelError, match="Keras cannot open"):
        keras_files.load_keras(tmp_path / "evil.keras")


def test_a_keras_file_with_a_flipped_byte_is_refused_or_read(tmp_path: Path, stateful: Model):
    whole = (stateful.folder / store.KERAS).read_bytes()
    file = tmp_path / "m.keras"
    refused = 0
    for position in np.random.default_rng(0).integers(len(whole), size=20):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 255]) + whole[position + 1 :])
        try:
            keras_files.load_keras(file)
        except ModelError:
            refused += 1
    assert refused > 15


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([keras.layers.GRU(4)], "GRU"),
        ([keras.layers.LSTM(4, activation="relu")], "not a standard forward LSTM"),
        ([keras.layers.Flatten()], "Flatten"),
        ([keras.layers.LSTM(4), keras.layers.Dense(3)], "Dense with a softmax"),
        (
            [keras.layers.LSTM(4), keras.layers.Dense(3, "softmax", use_bias=False)],
            "Dense with a softmax",
        ),
    ],
)
def test_a_network_that_is_something_else_is_refused(layers: list, sentence: str):
    model = keras.Sequential([keras.Input((10, 1)), *layers])
    if not isinstance(layers[-1], keras.layers.Dense):
        model.add(keras.layers.Dense(3, activation="softmax"))
    with pytest.raises(ModelError, match=sentence):
        export.spec_of(model)
