"""Keras files of every version, written by hand: what they say is honoured or refused by name."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from charrnn import store
from charrnn.errors import ModelError
from charrnn.training import export
from charrnn.training.conversion.convert import Hints, convert, read_model

V, UNITS, WINDOW = 5, (3, 4), 7
SIGMOID = "sigmoid"

Layers = list[dict[str, Any]]


def lstm(units: int, name: str, **settings: Any) -> dict[str, Any]:
    config = {"name": name, "units": units, "activation": "tanh", "use_bias": True, **settings}
    return {"class_name": "LSTM", "config": config}


def layer(kind: str, name: str = "", **settings: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name or kind.lower(), **settings}}


def tutorial(**settings: Any) -> Layers:
    """Two LSTMs and a softmax, in Keras 2's words. `settings` are those of both LSTMs."""
    settings = {"recurrent_activation": SIGMOID, **settings}
    first = lstm(
        UNITS[0], "lstm_1", batch_input_shape=[None, WINDOW, 1], return_sequences=True, **settings
    )
    dropout = layer("Dropout", rate=0.2)
    second = lstm(UNITS[1], "lstm_2", return_sequences=False, **settings)
    return [first, dropout, second, layer("Dense", units=V, activation="softmax")]


def arrays(names: tuple[str, ...] = ("lstm_1", "lstm_2", "dense")) -> dict[str, list[np.ndarray]]:
    """Weights so large that gates saturate, by layer."""
    rng = np.random.default_rng(3)
    inputs = (1, UNITS[0])
    weights = [
        [rng.normal(0, 2, shape) for shape in ((size, 4 * units), (units, 4 * units), 4 * units)]
        for size, units in zip(inputs, UNITS, strict=True)
    ]
    weights.append([rng.normal(0, 2, (UNITS[1], V)), rng.normal(0, 1, V)])
    return {
        name: [array.astype(np.float32) for array in own]
        for name, own in zip(names, weights, strict=True)
    }


WEIGHTS = arrays()


def write_h5(
    path: Path,
    layers: Layers | None,
    version: str | None = "2.15.0",
    weights: dict[str, list[np.ndarray]] = WEIGHTS,
    configuration: Any = None,
) -> Path:
    """The HDF5 file of a Sequential model, or of weights alone if `layers` is None."""
    with h5py.File(path, "w") as file:
        root: Any = file
        if layers is not None:
            configuration = configuration or {
                "class_name": "Sequential",
                "config": {"layers": layers},
            }
            file.attrs["model_config"] = json.dumps(configuration)
            root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in weights]
        if version is not None:
            root.attrs["keras_version"] = version
        for name, own in weights.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{n}".encode() for n in range(len(own))]
            for n, array in enumerate(own):
                group[f"{name}/{n}"] = array
    return path


def write_keras(path: Path, layers: Layers, version: str, weights: dict[str, Any]) -> Path:
    """A `.keras` file, which keeps weights by class."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, own in weights.items():
            for n, array in enumerate(own):
                file[f"layers/{name}/{'cell/' * name.startswith('lstm')}vars/{n}"] = array
    configuration = {"module": "keras", "class_name": "Sequential", "config": {"layers": layers}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(configuration))
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("model.weights.h5", content.getvalue())
    return path


def opened(path: Path, **hints: Any) -> Any:
    return read_model(path, Hints(**hints))[0]


def gates_of_slope(slope: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.clip(slope * x + 0.5, 0, 1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


GATES = {SIGMOID: sigmoid, "Keras 2": gates_of_slope(0.2), "Keras 3": gates_of_slope(1 / 6)}


def expected(x: np.ndarray, gates: str, weights: dict[str, list[np.ndarray]] = WEIGHTS) -> Any:
    """The prediction of the tutorial's network, float64, from the equations of the LSTM."""
    *lstms, (kernel, bias) = weights.values()
    for own in lstms:
        h, c, outputs = np.zeros((len(x), len(own[1]))), 0.0, []
        for step in np.moveaxis(x, 1, 0):
            i, f, g, o = np.split(step @ own[0] + h @ own[1] + own[2], 4, axis=-1)
            c = GATES[gates](f) * c + GATES[gates](i) * np.tanh(g)
            h = GATES[gates](o) * np.tanh(c)
            outputs.append(h)
        x = np.stack(outputs, axis=1)
    odds = np.exp(x[:, -1] @ kernel + bias)
    return odds / odds.sum(axis=-1, keepdims=True)


X = np.random.default_rng(1).integers(V, size=(3, WINDOW, 1)) / V


def assert_predicts(model: Any, gates: str) -> None:
    np.testing.assert_allclose(np.asarray(model(X)), expected(X, gates), atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "version", "gates"),
    [
        (SIGMOID, "2.15.0", SIGMOID),
        ("hard_sigmoid", "2.2.4", "Keras 2"),
        ("hard_sigmoid", "3.4.1", "Keras 3"),
        ({"class_name": "function", "config": "hard_sigmoid"}, "3.0.0", "Keras 3"),
    ],
)
def test_an_lstm_has_the_gates_of_its_file_and_of_the_keras_that_wrote_it(
    tmp_path: Path, activation: Any, version: str, gates: str
):
    layers = tutorial(recurrent_activation=activation)
    assert_predicts(opened(write_h5(tmp_path / "m.h5", layers, version)), gates)


@pytest.mark.parametrize(
    ("version", "gates"), [("2.2.4", "Keras 2"), ("2.3.0", SIGMOID), ("3.1.0", SIGMOID)]
)
def test_a_setting_that_is_missing_has_the_default_of_that_version(
    tmp_path: Path, version: str, gates: str
):
    layers = tutorial()
    for number in (0, 2):
        del layers[number]["config"]["recurrent_activation"]
    assert_predicts(opened(write_h5(tmp_path / "m.h5", layers, version)), gates)


@pytest.mark.parametrize("version", [None, "2.2.4", "2.2.4-tf"])
def test_weights_alone_of_an_old_keras_need_to_be_told_their_gates(
    tmp_path: Path, version: str | None
):
    path = write_h5(tmp_path / "m.h5", None, version)
    with pytest.raises(ModelError, match="--gates hard_sigmoid or --gates sigmoid"):
        opened(path, window=WINDOW)
    assert_predicts(opened(path, gates="hard_sigmoid", window=WINDOW), "Keras 2")


def test_weights_alone_say_what_was_assumed(tmp_path: Path):
    model, remarks = read_model(write_h5(tmp_path / "m.h5", None, "2.15.0"), Hints())
    assert export.spec_of(model).window == 100
    assert "gate activation sigmoid; --gates says otherwise" in remarks[0]
    assert "--window says otherwise" in remarks[1]


def test_weights_alone_with_their_architecture_are_a_whole_model(tmp_path: Path):
    path = write_h5(tmp_path / "m.h5", None, "2.2.4")
    architecture = tmp_path / "m.json"
    layers = tutorial(recurrent_activation="hard_sigmoid")
    architecture.write_text(json.dumps({"class_name": "Sequential", "config": layers}))
    model, remarks = read_model(path, Hints(), architecture)
    assert_predicts(model, "Keras 2")
    assert remarks == []


def test_weights_alone_of_other_layers_are_refused(tmp_path: Path):
    weights = {"flatten_1": [], **WEIGHTS}
    with pytest.raises(ModelError, match=r"flatten_1 does, which has no weights.*--architecture"):
        opened(write_h5(tmp_path / "m.h5", None, weights=weights))
    weights = {"gru_1": [np.zeros((1, 9)), np.zeros((3, 9)), np.zeros((2, 9))], **WEIGHTS}
    with pytest.raises(ModelError, match=r"gru_1 does, which has weights of shapes \[\(1, 9\)"):
        opened(write_h5(tmp_path / "m.h5", None, weights=weights))


def test_a_file_of_keras_1_is_read(tmp_path: Path):
    def old(units: int, name: str, **settings: Any) -> dict[str, Any]:
        gates = {"inner_activation": "hard_sigmoid", "activation": "tanh"}
        return layer("LSTM", name, output_dim=units, init="glorot_uniform", **gates, **settings)

    layers = [
        old(UNITS[0], "lstm_1", batch_input_shape=[None, WINDOW, 1], return_sequences=True),
        layer("Dropout", p=0.2),
        old(UNITS[1], "lstm_2", return_sequences=False, input_dim=1),
        layer("Dense", output_dim=V, activation="linear", bias=True, W_regularizer=None),
        layer("Activation", activation="softmax"),
    ]
    weights = {"dense": WEIGHTS["dense"]}
    for name in ("lstm_1", "lstm_2"):
        gates = [np.split(array, 4, axis=-1) for array in WEIGHTS[name]]
        weights[name] = [parts[gate] for gate in (0, 2, 1, 3) for parts in gates]  # i, c, f, o
    configuration = {"class_name": "Sequential", "config": layers}
    path = write_h5(tmp_path / "m.h5", layers, None, weights, configuration)
    assert_predicts(opened(path), "Keras 2")


def test_weights_of_cudnn_are_turned_and_their_two_biases_added(tmp_path: Path):
    def cudnn(kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
        # As Keras 2 turned an LSTM's weights into those of CuDNNLSTM.
        kernels = [gate.T.reshape(gate.shape) for gate in np.hsplit(kernel, 4)]
        recurrents = [gate.T for gate in np.hsplit(recurrent, 4)]
        return [np.hstack(kernels), np.hstack(recurrents), np.tile(0.5 * bias, 2)]

    layers = tutorial()
    for number in (0, 2):
        layers[number]["class_name"] = "CuDNNLSTM"
        for setting in ("activation", "recurrent_activation", "use_bias"):
            del layers[number]["config"][setting]
    weights = {name: cudnn(*WEIGHTS[name]) for name in ("lstm_1", "lstm_2")}
    weights["dense"] = WEIGHTS["dense"]
    assert_predicts(opened(write_h5(tmp_path / "m.h5", layers, "2.2.4", weights)), SIGMOID)


def test_a_keras_file_of_keras_2_is_read(tmp_path: Path):
    weights = arrays(("lstm", "lstm_1", "dense"))
    layers = tutorial(recurrent_activation="hard_sigmoid")
    assert_predicts(opened(write_keras(tmp_path / "m.keras", layers, "2.15.0", weights)), "Keras 2")


def functional(layers: Layers, reads: dict[str, list[str]]) -> Any:
    """The configuration of a Functional model. `reads` names each layer's inputs."""
    first = layers[0]["config"]
    layers = [layer("InputLayer", "input", batch_input_shape=first["batch_input_shape"]), *layers]
    entries = [
        {
            **entry,
            "name": entry["config"]["name"],
            "inbound_nodes": [[[name, 0, 0, {}] for name in names]] if names else [],
        }
        for entry in layers
        for names in [reads.get(entry["config"]["name"], [])]
    ]
    ends = {"input_layers": [["input", 0, 0]], "output_layers": [["dense", 0, 0]]}
    return {"class_name": "Model", "config": {"layers": entries, **ends}}


def test_a_functional_model_is_read_along_its_connections(tmp_path: Path):
    layers = tutorial()
    chain = {"lstm_1": ["input"], "dropout": ["lstm_1"], "lstm_2": ["dropout"], "dense": ["lstm_2"]}
    configuration = functional([layers[0], *layers[:0:-1]], chain)
    assert_predicts(
        opened(write_h5(tmp_path / "m.h5", layers, configuration=configuration)), SIGMOID
    )


@pytest.mark.parametrize(
    "other",
    [
        {"lstm_2": ["dropout", "lstm_1"]},
        {"lstm_2": ["lstm_1"]},
        {"dropout": ["lstm_1", "lstm_1"]},
        {"dropout": ["dense"]},
    ],
)
def test_a_functional_model_with_other_connections_is_refused(tmp_path: Path, other: Any):
    layers = tutorial()
    chain = {"lstm_1": ["input"], "dropout": ["lstm_1"], "lstm_2": ["dropout"], "dense": ["lstm_2"]}
    configuration = functional(layers, chain | other)
    with pytest.raises(ModelError, match="chain"):
        opened(write_h5(tmp_path / "m.h5", layers, configuration=configuration))


@pytest.mark.parametrize(
    ("number", "change", "sentence"),
    [
        (2, {"activation": "relu"}, r"lstm_2 \(LSTM\) has activation='relu'; only 'tanh'"),
        (2, {"recurrent_activation": "tanh"}, "lstm_2 .* has recurrent_activation='tanh'"),
        (0, {"go_backwards": True}, "lstm_1 .* has go_backwards=True"),
        (0, {"return_sequences": False}, "lstm_2 .* follows an LSTM that has return_sequences"),
        (0, {"time_major": True}, "time_major=True"),
        (0, {"return_state": True}, "return_state=True"),
        (0, {"stateful": True}, "Some of the LSTM layers have stateful=True"),
        (0, {"something_new": 3}, "lstm_1 .* has something_new=3"),
        (0, {"units": 10**12}, "weights of shapes"),
        (0, {"units": "many"}, "units='many'"),
        (0, {"batch_input_shape": [None, "x", 1]}, "has 'x' steps"),
        (1, {"rate": "x"}, "rate='x'"),
        (3, {"activation": "relu"}, r"dense \(Dense\) has activation='relu'"),
        (3, {"activation": "linear"}, r"ends in logits.* Add keras\.layers\.Softmax\(\)"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_refused_by_its_name(
    tmp_path: Path, number: int, change: dict[str, Any], sentence: str
):
    layers = tutorial()
    layers[number]["config"].update(change)
    with pytest.raises(ModelError, match=sentence):
        opened(write_h5(tmp_path / "m.h5", layers))


@pytest.mark.parametrize(
    ("added", "sentence"),
    [
        (
            layer("BatchNormalization"),
            r"batchnormalization \(BatchNormalization\) is not supported",
        ),
        (layer("Masking"), "Masking"),
        (layer("Flatten"), "Flatten"),
        (layer("Lambda", function=["4wE="]), "Lambda"),
        (layer("Bidirectional", layer=lstm(3, "lstm")), "Bidirectional"),
        (layer("Custom>PeepholeLSTM"), "PeepholeLSTM"),
        (layer("TimeDistributed", layer=layer("Flatten")), "applies a Flatten"),
        (layer("Activation", activation="tanh"), "activation='tanh'"),
        (layer("Softmax", axis=-1), "softmax that does not follow a Dense"),
        (layer("Dense", units=4, activation="relu"), "activation='relu'"),
        ({"module": "os", "class_name": "LSTM", "config": {}}, "os.LSTM"),
    ],
)
def test_a_layer_that_cannot_be_converted_is_refused_by_its_name(
    tmp_path: Path, added: Any, sentence: str
):
    layers = tutorial()
    with pytest.raises(ModelError, match=sentence):
        opened(write_h5(tmp_path / "m.h5", [*layers[:3], added, layers[3]]))


@pytest.mark.parametrize(
    ("hints", "option"), [({"gates": "hard_sigmoid"}, "--gates"), ({"window": 99}, "--window")]
)
def test_an_option_that_contradicts_the_file_is_refused(tmp_path: Path, hints: Any, option: str):
    with pytest.raises(ModelError, match=option):
        opened(write_h5(tmp_path / "m.h5", tutorial()), **hints)


@pytest.mark.parametrize(
    ("steps", "stateful", "sequences", "spec"),
    [
        (WINDOW, False, False, (False, WINDOW)),
        (WINDOW, False, True, (False, WINDOW)),
        (WINDOW, True, True, (True, 100)),
        (None, False, True, (True, 100)),
        (1, True, False, (True, 100)),
    ],
)
def test_the_input_says_whether_a_model_slides_a_window_or_carries_its_state(
    tmp_path: Path, steps: int | None, stateful: bool, sequences: bool, spec: Any
):
    layers = tutorial(stateful=stateful)
    layers[0]["config"]["batch_input_shape"] = [2, steps, 1]
    layers[2]["config"]["return_sequences"] = sequences
    found = export.spec_of(opened(write_h5(tmp_path / "m.h5", layers)))
    assert (found.stateful, found.window) == spec


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path):
    weights = {**WEIGHTS, "dense": [WEIGHTS["dense"][0] * np.nan, WEIGHTS["dense"][1]]}
    with pytest.raises(ModelError, match="training diverged"):
        opened(write_h5(tmp_path / "m.h5", tutorial(), weights=weights))


def test_weights_larger_than_their_file_are_not_read(tmp_path: Path):
    path = write_h5(tmp_path / "m.h5", tutorial())
    with h5py.File(path, "r+") as file:
        del file["model_weights/dense/dense/0"]
        file.create_dataset("model_weights/dense/dense/0", (10**7, 10**7), "f4", chunks=True)
    with pytest.raises(ModelError, match="too large"):
        opened(path)


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.hdf5"])
def test_a_file_that_is_no_keras_file_is_refused(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"neither HDF5 nor a \.keras file"):
        opened(tmp_path / name)


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize("kept", [0, 4, 8, 0.01, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_called_so(tmp_path: Path, name: str, kept: float):
    path = tmp_path / name
    if name == "m.h5":
        write_h5(path, tutorial())
    else:
        write_keras(path, tutorial(), "3.0", arrays(("lstm", "lstm_1", "dense")))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])
    with pytest.raises(ModelError, match=f"{name} is cut off or damaged: copy it again"):
        opened(path)


@pytest.mark.parametrize("content", ["", "{", "[1]", '"a"', "[" * 100_000, '{"a": 1}', "\xff"])
def test_an_architecture_that_is_none_is_named(tmp_path: Path, content: str):
    (tmp_path / "m.json").write_text(content, "latin-1")
    weights = write_h5(tmp_path / "m.h5", None)
    with pytest.raises(ModelError, match=r"m\.json (is not the JSON|has a configuration that)"):
        read_model(weights, Hints(), tmp_path / "m.json")


@pytest.mark.parametrize("kept", [[3], [1, 3]])
def test_a_model_without_an_lstm_is_refused_as_such(tmp_path: Path, kept: list[int]):
    layers = [tutorial()[number] for number in kept]
    with pytest.raises(ModelError, match="The model has no LSTM layer"):
        opened(write_h5(tmp_path / "m.h5", layers))


@pytest.mark.parametrize(
    "configuration",
    [
        [1],
        {"class_name": []},
        {"class_name": "Sequential", "config": {"layers": []}},
        {"class_name": "Sequential"},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(tmp_path: Path, configuration: Any):
    with pytest.raises(ModelError):
        opened(write_h5(tmp_path / "m.h5", tutorial(), configuration=configuration))


def test_a_saved_model_folder_is_refused_with_what_to_do(tmp_path: Path):
    with pytest.raises(ModelError, match="SavedModel"):
        opened(tmp_path)


@pytest.mark.parametrize(("scale", "warned"), [(1, False), (50, True)])
def test_a_network_that_depends_on_rounding_is_converted_with_a_warning(
    tmp_path: Path, scale: float, warned: bool
):
    rng = np.random.default_rng(0)
    shapes = {"lstm_1": [(1, 96), (24, 96), (96,)], "dense": [(24, V), (V,)]}
    weights = {
        name: [scale * rng.normal(0, 0.2, shape).astype(np.float32) for shape in own]
        for name, own in shapes.items()
    }
    write_h5(tmp_path / "m.h5", None, "2.15.0", weights)
    (tmp_path / "text.txt").write_text("abcd\n" * 30)
    said = convert(tmp_path / "m.h5", tmp_path / "text.txt", tmp_path / "m", Hints(window=100))
    assert any("rounding alone" in sentence for sentence in said) == warned
    assert store.load(tmp_path / "m").card.spec.units == (24,)
