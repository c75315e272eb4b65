"""The network in today's Keras that a Keras file describes."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from charrnn.errors import ModelError
from charrnn.spec import ModelSpec
from charrnn.training.conversion.files import KerasFile
from charrnn.training.conversion.layers import Layer, described, guessed

# `hard_sigmoid(x)` is clip(0.2 x + 0.5, 0, 1) until Keras 2, and clip(x / 6 + 0.5, 0, 1) since
# Keras 3. So the older one of x is today's of 1.2 x.
OLD_SLOPE = 1.2


@dataclass(frozen=True)
class Hints:
    """What a person says about a file that does not say it."""

    gates: str | None = None  # "sigmoid" or "hard_sigmoid"
    window: int | None = None


def rebuild(file: KerasFile, hints: Hints) -> tuple[keras.Model, list[str]]:
    """The network, and sentences about what the file does not say and was assumed.

    Every setting in the file is honoured. Raises ModelError, naming the layer and the setting, for
    any that cannot be, and for a network that is not [Embedding,] LSTMs, Dense and a softmax, with
    dropout anywhere."""
    alone = file.configuration is None
    steps, layers = (None, guessed(file)) if alone else described(file)
    stack = _Stack(file, hints, steps)
    for layer in layers:
        stack.add(layer)
        layer.finish()
    stack.check()
    if alone:
        otherwise = "" if hints.gates else "; --gates says otherwise"
        stack.remarks.append(
            "The file contains weights only. It was taken for LSTMs with tanh and the gate "
            f"activation {stack.gates.pop()}{otherwise}."
        )
    return stack.model(), stack.remarks


@dataclass
class _Stack:
    """The layers of today, added from input to output."""

    file: KerasFile
    hints: Hints
    steps: int | None
    remarks: list[str] = field(default_factory=list)
    layers: list[Callable[[Any], Any]] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)
    width: int = 1  # of the last layer's output
    sequences: bool = True  # whether the last layer predicts at every step
    embedding: int | None = None  # V
    characters: int | None = None  # V of the Dense layer
    softmax: bool = False
    top: keras.layers.LSTM | None = None  # the last one
    gates: set[str] = field(default_factory=set)
    stateful: set[bool] = field(default_factory=set)

    def add(self, layer: Layer) -> None:
        match layer.kind:
            case "Embedding":
                self._add_embedding(layer)
            case "LSTM" | "CuDNNLSTM":
                self._add_lstm(layer)
            case "Dense" | "TimeDistributedDense":
                self._add_dense(layer)
            case "Activation" | "Softmax":
                self._add_activation(layer)
            case "Dropout":
                self.layers.append(keras.layers.Dropout(layer.rate("rate")))
            case "SpatialDropout1D" | "GaussianDropout" | "AlphaDropout" | "GaussianNoise":
                layer.settings.clear()  # it does something in training only, so it is left out
            case _:
                layer.refuse(
                    "is not supported: only Embedding, LSTM, CuDNNLSTM, Dropout, Dense and a "
                    "softmax can be converted"
                )

    def _add_embedding(self, layer: Layer) -> None:
        if self.embedding or self.top or self.characters:
            layer.refuse("is not the first layer")
        layer.require("mask_zero", False, default=False)
        self.embedding, self.width = layer.size("input_dim"), layer.size("output_dim")
        self.weights += layer.weights((self.embedding, self.width))
        self.layers.append(keras.layers.Embedding(self.embedding, self.width))

    def _add_lstm(self, layer: Layer) -> None:
        if self.characters:
            layer.refuse("follows a Dense layer")
        if not self.sequences:
            layer.refuse("follows an LSTM that has return_sequences=False")
        if (
            self.top is None
            and not self.embedding
            and [a.shape[0] for a in layer.arrays[:1]] != [1]
        ):
            layer.refuse(
                "takes several numbers at every step; without an Embedding layer, only a single "
                "number, the character's id divided by their number, can be converted"
            )
        layer.require("go_backwards", False, default=False)
        layer.require("return_state", False, default=False)
        layer.require("time_major", False, default=False)
        gates = "sigmoid"
        if layer.kind == "LSTM":
            layer.require("activation", "tanh", default="tanh")
            gates = self._gates(layer)
        self.gates.add(gates)
        self.stateful.add(layer.require("stateful", False, True, default=False))
        self.sequences = layer.require("return_sequences", False, True, default=False)
        units = layer.size("units")
        kernel, recurrent, bias = _lstm_weights(layer, self.width, units)
        if gates == "hard_sigmoid" and self.file.by_class and self.file.version is None:
            layer.refuse(
                "has hard_sigmoid gates, which are others since Keras 3, and the file does not say "
                "which Keras wrote it. Save the whole model: model.save('model.h5')"
            )
        if gates == "hard_sigmoid" and _version(self.file) < (3, 0):
            slopes = np.repeat([OLD_SLOPE, OLD_SLOPE, 1, OLD_SLOPE], units)  # gates i, f, c, o
            kernel, recurrent, bias = (slopes * array for array in (kernel, recurrent, bias))
        self.weights += [kernel, recurrent, bias]
        self.width = units
        self.top = lstm = keras.layers.LSTM(
            units,
            recurrent_activation=gates,
            return_sequences=self.sequences,
            dropout=layer.rate("dropout"),
            recurrent_dropout=layer.rate("recurrent_dropout"),
        )
        self.layers.append(lstm)

    def _gates(self, layer: Layer) -> str:
        """The gate activation of an LSTM layer."""
        hint = self.hints.gates
        gates = layer.take("recurrent_activation", None)
        if gates is not None:
            layer.check("recurrent_activation", gates, "sigmoid", "hard_sigmoid")
            if hint not in (None, gates):
                layer.refuse(f"has recurrent_activation={gates!r}: leave out --gates")
            return gates
        gates = hint or _default_gates(self.file)
        if gates is None:
            layer.refuse(
                "may have other gates than those of today: the file does not say which, and the "
                "default was hard_sigmoid before Keras 2.3 and is sigmoid since. Say with which it "
                "was trained: --gates hard_sigmoid or --gates sigmoid"
            )
        return gates

    def _add_dense(self, layer: Layer) -> None:
        if self.characters:
            layer.refuse("is a second Dense layer; only one, under the softmax, can be converted")
        if self.top is None:
            raise ModelError("The model has no LSTM layer before its Dense layer.")
        activation = layer.require("activation", "softmax", "linear", default="linear")
        use_bias = layer.require("use_bias", True, False, default=True)
        self.characters = layer.size("units")
        shapes = (self.width, self.characters), (self.characters,)
        self.weights += layer.weights(*shapes) if use_bias else layer.weights(shapes[0])
        if not use_bias:
            self.weights.append(np.zeros(self.characters, np.float32))
        self.softmax = activation == "softmax"
        self.layers.append(keras.layers.Dense(self.characters, activation))

    def _add_activation(self, layer: Layer) -> None:
        if layer.kind == "Softmax":
            layer.require("axis", -1, 2 if self.sequences else 1, default=-1)
        else:
            activation = layer.require("activation", "softmax", "linear", default=None)
            if activation == "linear":
                return
        if self.softmax or not self.characters:
            layer.refuse("is a softmax that does not follow a Dense layer without one")
        self.softmax = True
        self.layers.append(keras.layers.Softmax())

    def check(self) -> None:
        """Raises ModelError if the network is not complete."""
        if self.top is None:
            raise ModelError("The model has no LSTM layer.")
        if not self.characters:
            raise ModelError("The model has no Dense layer after its LSTM layers.")
        if not self.softmax:
            raise ModelError(
                "The model ends in logits: its Dense layer has activation='linear'. Add "
                "keras.layers.Softmax() as the last layer, and save the model again."
            )
        if self.embedding not in (None, self.characters):
            raise ModelError(
                f"The model reads {self.embedding} characters, but predicts {self.characters}."
            )
        if not all(np.isfinite(weights).all() for weights in self.weights):
            raise ModelError("Some weights are not finite numbers: the training diverged.")

    def model(self) -> keras.Model:
        shape = [self._window()] if self.embedding else [self._window(), 1]
        inputs = x = keras.Input(shape, dtype="int32" if self.embedding else "float32")
        for layer in self.layers:
            x = layer(x)
        model = keras.Model(inputs, x)
        model.set_weights(self.weights)
        return model

    def _window(self) -> int | None:
        """How many steps the network takes; None if it carries its state instead."""
        assert self.top is not None
        if len(self.stateful) > 1:
            raise ModelError("Some of the LSTM layers have stateful=True, and some do not.")
        stateful = True in self.stateful
        carries = (self.sequences and (stateful or self.steps is None)) or (
            stateful and self.steps == 1
        )
        if stateful and not carries:
            raise ModelError(
                "The LSTM layers have stateful=True, and predict once in several characters. Only "
                "a model that predicts after every character can carry its state."
            )
        if self.hints.window and (carries or self.steps not in (None, self.hints.window)):
            raise ModelError(
                "The file says how many characters the model reads. Leave out --window."
            )
        if carries:
            self.top.return_sequences = True
            return None
        if self.steps or self.hints.window:
            return self.steps or self.hints.window
        self.remarks.append(
            f"The file does not say how many characters the model reads. {ModelSpec.window} were "
            "assumed; --window says otherwise."
        )
        return ModelSpec.window


def _lstm_weights(layer: Layer, width: int, units: int) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias, with the gates i, f, c, o."""
    kernel, recurrent, bias = (width, 4 * units), (units, 4 * units), (4 * units,)
    if layer.kind == "CuDNNLSTM":
        weights = layer.weights(kernel, recurrent, (8 * units,))
        return [
            _from_cudnn(weights[0], lambda gate: gate.T.reshape(gate.shape, order="F")),
            _from_cudnn(weights[1], np.transpose),
            weights[2][: 4 * units] + weights[2][4 * units :],
        ]
    if not layer.require("use_bias", True, False, default=True):
        return [*layer.weights(kernel, recurrent), np.zeros(bias, np.float32)]
    if len(layer.arrays) == 12:  # Keras 1: kernel, recurrent kernel and bias of i, c, f, o
        one = (width, units), (units, units), (units,)
        weights = layer.weights(*4 * one)
        i, c, f, o = (weights[n : n + 3] for n in range(0, 12, 3))
        return [np.concatenate(gates, axis=-1) for gates in zip(i, f, c, o, strict=True)]
    return layer.weights(kernel, recurrent, bias)


def _from_cudnn(matrix: np.ndarray, turn: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.hstack([turn(gate) for gate in np.hsplit(matrix, 4)])


def _default_gates(file: KerasFile) -> str | None:
    """The gate activation of an LSTM that does not name one; None if that cannot be known."""
    if file.by_class:  # Keras 2.12 and later
        return "sigmoid"
    # TensorFlow 1.13 to 2.1 all say "2.2.4-tf", and have both defaults.
    if file.version is None or "-tf" in file.version:
        return None
    if _version(file) >= (2, 3):
        return "sigmoid"
    return None if file.configuration is None else "hard_sigmoid"


def _version(file: KerasFile) -> tuple[int, ...]:
    """Of the Keras that wrote the file, such as (2, 15); early versions did not say it."""
    return tuple(map(int, re.findall(r"\d+", file.version or "1.0")[:2]))
