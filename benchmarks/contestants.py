"""The contestants of `writing.py`: every framework that is installed."""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import frameworks
import numpy as np
import tensorflow as tf
from writing import SAMPLING, Others

from charrnn import store
from charrnn.errors import OptionError
from charrnn.training import export


def others(model: store.Model, tutorial: store.Model, threads: int) -> Others:
    """Those that can be had, to write with `model` on so many threads, and the classic tutorial's
    loop over the network of `tutorial`. TensorFlow's threads are set before it starts, not here.

    Raises OptionError for a model of another kind than they are written for."""
    if model.card.spec.embedding is None or not model.card.spec.stateful:
        raise OptionError(f"{model.name} carries no state; --model takes one that does.")
    network = frameworks.network(model)
    given = (network, frameworks.after(network, model.opening_ids), SAMPLING)
    writers = {
        "NumPy": frameworks.with_numpy(*given),
        "TensorFlow": frameworks.with_tensorflow(*given),
    }
    limits = {
        "onnxruntime": threads,
        "numpy": _limit_numpy(threads),
        "tensorflow": tf.config.threading.get_intra_op_parallelism_threads(),
    }
    if torch := _installed("torch"):
        torch.set_num_threads(threads)
        limits["torch"] = torch.get_num_threads()
        writers["PyTorch"] = frameworks.with_pytorch(torch, *given)
        writers["PyTorch nn.LSTM"] = frameworks.with_pytorch(torch, *given, as_layers=True)
    return Others(writers, tutorials_loop(tutorial), limits, [] if torch else ["PyTorch"])


def tutorials_loop(model: store.Model) -> Callable[[int], str]:
    """The tutorial's loop over its own network, in its own lines: each character is what
    `model.predict` thinks likeliest after the hundred before it. The first call goes on from the
    opening of `model`, each later one from the last, for so many characters."""
    network: Any = export.load_keras(model.folder / store.KERAS)
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
    """A package of the extra `benchmark`, or None."""
    return importlib.import_module(name) if find_spec(name) else None


def _limit_numpy(threads: int) -> int | None:
    """Give NumPy's products so many threads, if there is a way to; how many they have now."""
    if not (threadpoolctl := _installed("threadpoolctl")):
        return None
    threadpoolctl.threadpool_limits(threads, user_api="blas")
    pools = threadpoolctl.threadpool_info()
    return max((p["num_threads"] for p in pools if p["user_api"] == "blas"), default=None)
