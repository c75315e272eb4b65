"""Keras models trained elsewhere -> model folders."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from charrnn import store
from charrnn.engine import Engine
from charrnn.errors import ModelError
from charrnn.sampling import log_softmax
from charrnn.text import corpus
from charrnn.training import export
from charrnn.vocabulary import Vocabulary


def convert(source: Path, text: Path, destination: Path) -> None:
    """Write a trained Keras model as a model folder. Its vocabulary is the sorted set of the
    characters of `text`, lower-cased or not, whichever the model's softmax is the size of.

    Raises ModelError, CorpusError."""
    model = export.load_keras(source)
    spec = export.spec_of(model)
    _check_same(model, Engine(export.writing_graph(model, int8=False), spec))
    raw = corpus.read_text(text)
    for training_text in (raw.lower(), raw):
        vocabulary = Vocabulary.of(training_text)
        if len(vocabulary) == spec.characters:
            break
    else:
        raise ModelError(
            f"{source} tells {spec.characters} characters apart, {text} has "
            f"{len(set(raw.lower()))} in lower case and {len(set(raw))} as it is. "
            "Give the very text the model was trained on."
        )
    card = store.Card(
        spec,
        vocabulary,
        corpus.opening(training_text, spec.window),
        {"converted_from": source.name, "parameters": model.count_params()},
        {},
    )
    with tempfile.TemporaryDirectory() as folder:
        keras_file = Path(folder) / store.KERAS
        model.save(keras_file)
        store.write(destination, card, keras_file, export.shipped_graph(model))


def _check_same(model: Any, engine: Engine) -> None:
    """Raises ModelError unless the graph gives what `model` gives on some text: whatever else
    there is in a stranger's network shows here."""
    spec = engine.spec
    ids = np.random.default_rng(0).integers(spec.characters, size=(2, spec.window), dtype=np.int32)
    inputs = ids if spec.embedding is not None else ids[..., np.newaxis] / spec.characters
    expected = model.predict_on_batch(inputs)
    last = expected[:, -1] if spec.stateful else expected
    if not np.allclose(np.exp(log_softmax(engine.read(ids)[0])), last, atol=1e-4):
        raise ModelError("The model is not a plain stack of LSTMs under one softmax.")
