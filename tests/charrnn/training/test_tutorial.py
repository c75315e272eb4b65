"""A converted model against the classic tutorial, network and loop in the tutorial's own lines."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.layers import LSTM, Dense, Dropout
from keras.models import Sequential

from charrnn import store
from charrnn.errors import ModelError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.training.conversion.convert import convert

TEXT = "Tush! never tell me; I take it much unkindly\nThat thou, Iago, who hast had my purse\n" * 8
SEQUENCE_LENGTH = 100
LENGTH = 30  # enough to leave a short seed and to wander


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sequential, Path]:
    raw_text = TEXT.lower()
    chars = sorted(set(raw_text))
    keras.utils.set_random_seed(3)
    model = Sequential()
    model.add(LSTM(256, input_shape=(SEQUENCE_LENGTH, 1)))
    model.add(Dropout(0.2))
    model.add(Dense(len(chars), activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam")
    # Weights that make the text wander rather than settle on one character.
    model.set_weights([w * (4 if w.ndim == 2 else 1) for w in model.get_weights()])
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "text.txt").write_text(TEXT)
    return model, folder


def tutorial_loop(model: Sequential, seed: str, length: int) -> str:
    raw_text = TEXT.lower()
    chars = sorted(set(raw_text))
    char_to_int = {c: i for i, c in enumerate(chars)}
    int_to_char = dict(enumerate(chars))
    pattern = [char_to_int[c] for c in seed]
    result = ""
    for _ in range(length):
        x = np.reshape(pattern, (1, len(pattern), 1)) / float(len(chars))
        prediction = model.predict_on_batch(x)
        index = int(np.argmax(prediction))
        result += int_to_char[index]
        pattern = [*pattern[1:], index]
    return result


def argmax(model: Path, seed: str, length: int) -> str:
    prompt = Prompt(seed, length, Sampling(temperature=0))
    return generate(store.load(model), [prompt])[0].text


@pytest.fixture(scope="module")
def written(tutorial: tuple[Sequential, Path]) -> dict[str, str]:
    """The tutorial's text after each seed."""
    opening = TEXT.lower()
    opening = opening[: opening.index("\n", SEQUENCE_LENGTH - 1) + 1][-SEQUENCE_LENGTH:]
    hundred = TEXT.lower()[40:140]
    # A shorter seed follows the card's opening; of a longer one only the end is read.
    return {
        seed: tutorial_loop(tutorial[0], (opening + seed)[-SEQUENCE_LENGTH:], LENGTH)
        for seed in (hundred, "tell me", TEXT.lower()[:250])
    }


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5", "m.hdf5"])
def test_a_converted_model_writes_the_tutorials_characters(
    tutorial: tuple[Sequential, Path], written: dict[str, str], name: str
):
    model, folder = tutorial
    file, destination = folder / name, folder / f"{name}-folder"
    if name == "m.weights.h5":
        model.save_weights(file)
    else:
        model.save(file)
    convert(file, folder / "text.txt", destination)
    for seed, expected in written.items():
        assert argmax(destination, seed, LENGTH) == expected
    assert len(set().union(*written.values())) > 5


def test_a_file_of_an_older_keras_is_read(
    tutorial: tuple[Sequential, Path], written: dict[str, str], tmp_path: Path
):
    model, folder = tutorial
    file = tmp_path / "old.hdf5"
    model.save(file)
    with h5py.File(file, "r+") as content:
        configuration = json.loads(content.attrs["model_config"])
        for layer in configuration["config"]["layers"]:
            if layer["class_name"] == "LSTM":
                layer["config"]["time_major"] = False  # an option of Keras 2
        content.attrs["model_config"] = json.dumps(configuration)
    convert(file, folder / "text.txt", tmp_path / "m")
    for seed, expected in written.items():
        assert argmax(tmp_path / "m", seed, LENGTH) == expected


def test_a_network_that_only_looks_like_the_tutorials_is_refused(tmp_path: Path):
    model = Sequential()
    model.add(keras.Input((SEQUENCE_LENGTH, 1)))
    model.add(LSTM(8))
    model.add(Dense(len(set(TEXT.lower())), activation="relu"))
    model.add(keras.layers.Softmax())
    model.save(tmp_path / "m.keras")
    (tmp_path / "text.txt").write_text(TEXT)
    with pytest.raises(ModelError, match="activation='relu'"):
        convert(tmp_path / "m.keras", tmp_path / "text.txt", tmp_path / "m")


def test_a_text_of_another_alphabet_is_refused(tutorial: tuple[Sequential, Path], tmp_path: Path):
    model, _ = tutorial
    model.save(tmp_path / "m.keras")
    (tmp_path / "text.txt").write_text("abc" * 100)
    with pytest.raises(ModelError, match="Give the text that the model was trained on"):
        convert(tmp_path / "m.keras", tmp_path / "text.txt", tmp_path / "m")
    assert not (tmp_path / "m").exists()
