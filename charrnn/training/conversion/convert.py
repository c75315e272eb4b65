"""A Keras file and its training text -> a model folder."""

import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from charrnn import store
from charrnn.errors import ModelError
from charrnn.sentences import first_line
from charrnn.spec import ModelSpec
from charrnn.text import corpus
from charrnn.training import export, keras_files
from charrnn.training.conversion import files
from charrnn.training.conversion.rebuild import Hints, rebuild
from charrnn.vocabulary import Vocabulary


def convert(
    source: Path,
    text: Path,
    destination: Path,
    hints: Hints = Hints(),  # noqa: B008 - it is frozen
    architecture: Path | None = None,
) -> list[str]:
    """Write a model folder for a Keras model that was trained elsewhere on `text`.

    Returns sentences about what was assumed.

    The vocabulary is the sorted set of the text's characters, lower-cased or not, as the file has
    them or in one of Unicode's normal forms: the first with as many characters as the model's
    softmax. Raises ModelError, CorpusError."""
    model, remarks = read_model(source, hints, architecture)
    spec = export.spec_of(model)
    raw = corpus.read_text(text)
    for training_text in _forms(raw):
        if len(set(training_text)) == spec.characters:
            break
    else:
        raise ModelError(
            f"{source} has {spec.characters} characters, but {text} has {len(set(raw.lower()))} in "
            f"lower case and {len(set(raw))} as it is. Give the text that the model was trained on."
        )
    if _depends_on_rounding(model, spec):
        remarks.append(
            "The weights are so large that rounding alone changes what the model predicts. Its "
            "text may differ from Keras's, as Keras's own text does from machine to machine."
        )
    vocabulary = Vocabulary.of(training_text)
    opening = corpus.opening(training_text, spec.window)
    training = {"converted_from": source.name, "parameters": model.count_params()}
    card = store.Card(spec, vocabulary, opening, training, scores={})
    with tempfile.TemporaryDirectory() as folder:
        keras_file = Path(folder) / store.KERAS
        model.save(keras_file)
        # float32, so that it writes the text that the model's own loop writes
        store.write(destination, card, keras_file, export.writing_graph(model, int8=False))
    return remarks


def _forms(text: str) -> Iterator[str]:
    yield from (text.lower(), text)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):  # an editor may have saved the text in another one
        normal = unicodedata.normalize(form, text)
        yield from (normal.lower(), normal)


def read_model(
    source: Path, hints: Hints, architecture: Path | None = None
) -> tuple[keras.Model, list[str]]:
    """The model in a Keras file of any version, rebuilt, and what was assumed. Nothing in the file
    is unpickled, executed or given to Keras. Raises ModelError."""
    file = files.read(source, architecture)
    try:
        return rebuild(file, hints)
    except keras_files.KERAS_ERRORS as error:
        raise ModelError(
            f"{architecture or source} has a configuration that cannot be read: {first_line(error)}"
        ) from error


def _depends_on_rounding(model: keras.Model, spec: ModelSpec) -> bool:
    """Whether predictions change when each weight becomes the next float32."""
    ids = np.random.default_rng(0).integers(spec.characters, size=(64, spec.window))
    inputs = ids if spec.embedding is not None else ids[..., np.newaxis] / spec.characters
    weights = model.get_weights()
    predicted = np.asarray(model(inputs))
    model.set_weights([np.nextafter(array, np.float32(np.inf)) for array in weights])
    nudged = np.asarray(model(inputs))
    model.set_weights(weights)
    return not np.allclose(predicted, nudged, atol=1e-3)
