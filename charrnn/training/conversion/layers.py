"""The layers of a network as a Keras file describes them, from input to output."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from charrnn.errors import ModelError
from charrnn.training.conversion.files import KerasFile

# Keras 1's names of settings.
_OLD_NAMES = {
    "units": "output_dim",
    "recurrent_activation": "inner_activation",
    "use_bias": "bias",
    "rate": "p",
    "dropout": "dropout_W",
    "recurrent_dropout": "dropout_U",
}
# Settings that change training, speed or size, but not what a trained network predicts.
_WITHOUT_EFFECT = {
    *("name", "trainable", "dtype", "seed", "noise_shape", "unroll", "implementation", "use_cudnn"),
    *("unit_forget_bias", "kernel_initializer", "recurrent_initializer", "bias_initializer"),
    *("kernel_regularizer", "recurrent_regularizer", "bias_regularizer", "activity_regularizer"),
    *("kernel_constraint", "recurrent_constraint", "bias_constraint", "embeddings_initializer"),
    *("embeddings_regularizer", "embeddings_constraint", "dropout", "zero_output_for_mask"),
    # Keras 1
    *("init", "inner_init", "forget_bias_init", "consume_less", "input_dtype", "W_regularizer"),
    *("U_regularizer", "b_regularizer", "W_constraint", "U_constraint", "b_constraint"),
    # The input's shape, which `described` has read.
    *("batch_input_shape", "batch_shape", "input_shape", "input_length", "input_dim"),
}

# Names that Keras gives to layers that have no weights and need none to be understood.
_IDLE = {
    *("dropout", "spatial_dropout1d", "gaussian_dropout", "gaussian_noise", "alpha_dropout"),
    *("activation", "softmax", "input_layer"),
}


@dataclass
class Layer:
    """A layer, as a file describes it. `settings` are those that nobody has read yet."""

    kind: str  # its class in Keras
    name: str
    settings: dict[str, Any]
    arrays: list[np.ndarray]

    def take(self, setting: str, default: Any) -> Any:
        """The setting's value under its name in any version of Keras."""
        for name in (setting, _OLD_NAMES.get(setting, setting)):
            if name in self.settings:
                value = self.settings.pop(name)
                # Keras 3 may write {"class_name": "function", "config": "tanh"}.
                return value.get("config", value) if isinstance(value, dict) else value
        return default

    def require(self, setting: str, *allowed: Any, default: Any) -> Any:
        """The setting's value. Raises ModelError if it is not one of `allowed`."""
        return self.check(setting, self.take(setting, default), *allowed)

    def check(self, setting: str, value: Any, *allowed: Any) -> Any:
        if not any(type(value) is type(other) and value == other for other in allowed):
            works = " or ".join(map(repr, allowed))
            self.refuse(f"has {setting}={value!r}; only {works} can be converted")
        return value

    def size(self, setting: str) -> int:
        value = self.take(setting, None)
        if type(value) is not int or value < 1:
            self.refuse(f"has {setting}={value!r}, which is not a size")
        return value

    def rate(self, setting: str) -> float:
        value = self.take(setting, 0.0)
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            self.refuse(f"has {setting}={value!r}, which is not between 0 and 1")
        return value

    def weights(self, *shapes: tuple[int, ...]) -> list[np.ndarray]:
        """The layer's arrays. Raises ModelError if they have other shapes."""
        found = [array.shape for array in self.arrays]
        if found != list(shapes):
            self.refuse(f"has weights of shapes {found}, but its settings need {list(shapes)}")
        return self.arrays

    def finish(self) -> None:
        """Raises ModelError if a setting that nobody has read is on."""
        for setting, value in self.settings.items():
            if value and setting not in _WITHOUT_EFFECT:
                self.refuse(f"has {setting}={value!r}, which cannot be converted")

    def refuse(self, reason: str) -> NoReturn:
        raise ModelError(f"The layer {self.name} ({self.kind}) {reason}.")


def described(file: KerasFile) -> tuple[int | None, list[Layer]]:
    """The steps that the network takes, None for any number, and its layers without the input.

    Raises ModelError for a network that is no chain of layers."""
    network = file.configuration
    kind, settings = network["class_name"], network["config"]
    if kind not in ("Sequential", "Functional", "Model"):
        raise ModelError(f"The file contains a {kind}, not a Sequential or Functional model.")
    if isinstance(settings, list):  # Sequential, before Keras 2.2.3
        settings = {"layers": settings}
    entries = settings["layers"] if kind == "Sequential" else list(_chain(settings))
    steps = _steps(settings, entries)
    numbers: dict[str, int] = {}
    layers = []
    for entry in entries:
        kind, name = _kind(entry), _name(entry)
        key = name
        if file.by_class:
            number = numbers[kind] = numbers.get(kind, -1) + 1
            key = _snake_case(kind) + (f"_{number}" if number else "")
        if kind == "InputLayer":
            continue
        if kind == "TimeDistributed":
            entry = entry["config"]["layer"]
            kind = _kind(entry)
            if kind != "Dense":
                raise ModelError(f"The layer {name} (TimeDistributed) applies a {kind}, not Dense.")
        layers.append(Layer(kind, name, dict(entry["config"]), file.weights.get(key, [])))
    return steps, layers


def guessed(file: KerasFile) -> list[Layer]:
    """The layers of a file of weights alone, taken for LSTMs and a softmax.

    Their kinds follow from the shapes of the weights. Raises ModelError for other shapes, and for a
    layer without weights that may be anything."""
    lstms, others = [], []
    for name, arrays in file.weights.items():
        stem = re.sub(r"_\d+$", "", name)
        shapes = [array.shape for array in arrays]
        match shapes:
            case [] if stem in _IDLE or stem.endswith("input"):
                continue
            case [(_, a), (units, b), (c,)] if a == b == 4 * units and c in (a, 2 * a):
                kind = "LSTM" if c == a else "CuDNNLSTM"
                lstms.append(Layer(kind, name, {"units": units, "return_sequences": True}, arrays))
            case [_, (units, _), *rest] if len(rest) == 10:
                lstms.append(
                    Layer("LSTM", name, {"units": units, "return_sequences": True}, arrays)
                )
            case [(_, units), (also,)] if units == also:
                settings = {"units": units, "activation": "softmax"}
                others.append(Layer("Dense", name, settings, arrays))
            case _:
                what = f"weights of shapes {shapes}" if shapes else "no weights"
                raise ModelError(
                    f"The file contains weights only, and does not say what the layer {name} does, "
                    f"which has {what}. Give the model's JSON, from model.to_json(), with "
                    "--architecture, or save the whole model: model.save('model.h5')."
                )
    if file.by_class:
        lstms.sort(key=lambda layer: (len(layer.name), layer.name))  # lstm, lstm_1, ..., lstm_10
    if lstms:
        lstms[-1].settings["return_sequences"] = False
    return lstms + others


def _chain(settings: Any) -> Iterator[Any]:
    """The layers of a Functional model from its input to its output."""
    entries = {entry["name"]: entry for entry in settings["layers"]}
    sources = {name: _sources(entry["inbound_nodes"]) for name, entry in entries.items()}
    [name] = _ends(settings["input_layers"])
    path = [name]
    while following := [other for other, names in sources.items() if name in names]:
        name = following[0]
        if len(following) > 1 or sources[name] != [path[-1]] or name in path:
            raise ModelError(f"The layer {name} does not follow another one in a plain chain.")
        path.append(name)
    if len(path) != len(entries) or _ends(settings["output_layers"]) != [name]:
        raise ModelError("The model's layers are not a plain chain from one input to one output.")
    return (entries[name] for name in path)


def _sources(nodes: Any) -> list[str]:
    """The names of the layers whose output a layer reads.

    Keras 3 writes `[{"args": [tensor], "kwargs": {...}}]`, older ones `[[[name, 0, 0, {...}]]]`."""
    names = []
    for node in nodes:
        if isinstance(node, dict):
            names += [name for name, *_ in _histories(node)]
        else:
            names += [name for name, *_ in node]
    return names


def _histories(part: Any) -> Iterator[Any]:
    """What the tensors in a node of Keras 3 come from: (layer, node, output)."""
    if isinstance(part, dict):
        if part.get("class_name") == "__keras_tensor__":
            yield part["config"]["keras_history"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _histories(inner)


def _ends(layers: Any) -> list[str]:
    """The layers' names in `["a", 0, 0]` or `[["a", 0, 0], ["b", 0, 0]]`."""
    return [layers[0]] if isinstance(layers[0], str) else [name for name, *_ in layers]


def _steps(settings: Any, entries: list[Any]) -> int | None:
    """The length of the sequences that the first layer takes; None for any length."""
    first = entries[0]["config"]
    batched = [first.get("batch_input_shape"), first.get("batch_shape")]
    batched.append(settings.get("build_input_shape"))
    batched.append(entries[0].get("build_config", {}).get("input_shape"))
    for shape in batched:
        if shape is not None:
            return _positive(shape[1])
    return _positive(first.get("input_length"))


def _positive(steps: Any) -> int | None:
    if steps is not None and (type(steps) is not int or steps < 1):
        raise ModelError(f"The model's input has {steps!r} steps.")
    return steps


def _kind(entry: Any) -> str:
    """The class of a layer. Raises ModelError for a class that is not Keras's own."""
    package = str(entry.get("module") or "keras").partition(".")[0]
    if package not in ("keras", "tf_keras"):
        raise ModelError(f"The file names {entry['module']}.{entry['class_name']}, not Keras's.")
    return str(entry["class_name"])


def _name(entry: Any) -> str:
    return str(entry["config"].get("name") or entry.get("name") or entry["class_name"])


def _snake_case(name: str) -> str:
    """As Keras writes it: LSTM -> lstm, TimeDistributed -> time_distributed."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
