"""The contestants of `writing.py`: the installed frameworks, and the tutorial's loop."""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import frameworks
import numpy as np
from frameworks import Write

from charrnn import store
from charrnn.errors import OptionError
from charrnn.sampling import Sampling
from charrnn.training import keras_files

SAMPLING = Sampling()


def others(model: store.Model, threads: int) -> dict[str, Write]:
    """The other frameworks, writing with `model` from the end of its opening. TensorFlow's threads
    must be set before it starts, so not here. Raises OptionError for a stateless model."""
    if model.card.spec.embedding is None or not model.card.spec.stateful:
        raise OptionError(f"{model.name} is stateless; --model takes a stateful model.")
    if threadpoolctl := _installed("threadpoolctl"):
        threadpoolctl.threadpool_limits(threads, user_api="blas")  # NumPy's
    network = frameworks.network(model)
    given = (network, frameworks.after(network, model.opening_ids), SAMPLING)
    writers = {
        "NumPy": frameworks.with_numpy(*given),
        "TensorFlow": frameworks.with_tensorflow(*given),
    }
    if torch := _installed("torch"):
        torch.set_num_threads(threads)
        writers["PyTorch"] = frameworks.with_pytorch(torch, *given)
        writers["PyTorch nn.LSTM"] = frameworks.with_pytorch(torch, *given, as_layers=True)
    return writers


def tutorials_loop(model: store.Model) -> Callable[[int], str]:
    """The tutorial's loop in its own lines: `model.predict` on the last hundred characters for each
    new one, by argmax. The first call continues the model's opening, later calls the text so far;
    the argument is the number of characters."""
    network: Any = keras_files.load_keras(model.folder / store.KERAS)
    network.compile(loss="categorical_crossentropy", optimizer="adam")
    int_to_char = dict(enumerate(model.vocabulary.characters))
    n_vocab = len(int_to_char)
    pattern = list(model.opening_ids)

    def write(length: int) -> str:
        nonlocal pattern
        result = ""
        for _ in range(length):
            x = np.reshape(pattern, (1, len(pattern), 1))
            x = x / float(n_vocab)
            prediction = network.predict(x, verbose=0)
            index = int(np.argmax(prediction))
            result += int_to_char[index]
            pattern.append(index)
            pattern = pattern[1 : len(pattern)]
        return result

    return write


def _installed(name: str) -> Any:
    """A package, or None if it is not installed."""
    return importlib.import_module(name) if find_spec(name) else None
