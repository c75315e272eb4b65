from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from charrnn import export, store, training
from charrnn.checkpoint import Checkpoints
from charrnn.errors import CorpusError, ModelError, TrainingError
from charrnn.progress import EpochEnd, Event
from charrnn.spec import PRESETS, Preset, Recipe
from charrnn.training import Job, build, train

TEXT = "HERO:\nSo be it.\n\nURSULA:\nAnd one for thee, and one for me.\n\n" * 60
SMALL = Preset(
    units=(20, 12),
    embedding=8,
    stateful=True,
    recipe=replace(PRESETS["shakespeare"].recipe, epochs=3, batch_size=4, segment=25),
)


def job(output: Path, preset: Preset = SMALL, **changes: object) -> Job:
    recipe = replace(preset.recipe, **changes)
    return Job(TEXT, TEXT[:400], output, preset, recipe)


def ignore(event: Event) -> None:
    del event


def interrupt_after(epoch: int):
    def report(event: Event) -> None:
        if isinstance(event, EpochEnd) and event.epoch == epoch:
            raise InterruptedError

    return report


def test_training_teaches_and_keeps_the_best_epoch(tmp_path: Path):
    epochs: list[EpochEnd] = []
    options = job(tmp_path / "model", epochs=12, learning_rate=0.01)
    model = train(options, lambda e: epochs.append(e) if isinstance(e, EpochEnd) else None)
    assert epochs[-1].loss < 1.5 < 2.5 < epochs[0].loss
    best = min(epochs, key=lambda e: e.validation_loss)
    assert model.card.training["best_epoch"] == best.epoch
    # Read in one stretch, the text is a little easier than in many.
    assert 0.5 < model.card.scores["held out"]["nats"] < best.validation_loss
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("preset", [SMALL, replace(PRESETS["othello"], units=(9,))])
def test_a_resumed_run_ends_at_the_weights_of_an_uninterrupted_one(tmp_path: Path, preset: Preset):
    straight, resumed = job(tmp_path / "a", preset, epochs=3), job(tmp_path / "b", preset, epochs=3)
    whole = train(straight, ignore)
    with pytest.raises(InterruptedError):
        train(resumed, interrupt_after(2))
    assert not resumed.output.exists()
    halves = train(resumed, ignore, resume=True)
    for one, other in zip(weights(whole), weights(halves), strict=True):
        assert (one == other).all()
    assert halves.card.training["history"] == whole.card.training["history"]


def weights(model: store.Model) -> list[np.ndarray]:
    return export.load_keras(model.folder / store.KERAS).get_weights()


@pytest.mark.parametrize("name", ["state.json", "epoch-1.weights.h5"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str):
    with pytest.raises(InterruptedError):
        train(job(tmp_path / "m"), interrupt_after(1))
    file = tmp_path / "m.training" / name
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(TrainingError, match=f"{name} is damaged"):
        train(job(tmp_path / "m"), ignore, resume=True)


def test_a_checkpoint_of_another_run_is_not_resumed(tmp_path: Path):
    with pytest.raises(InterruptedError):
        train(job(tmp_path / "m"), interrupt_after(1))
    with pytest.raises(TrainingError, match="belongs to another text or other options"):
        train(job(tmp_path / "m", segment=30), ignore, resume=True)


@pytest.mark.parametrize("moment", ["within an epoch", "after writing the model"])
def test_a_run_stopped_at_any_moment_ends_the_same(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object) -> None:
        raise InterruptedError

    whole = train(job(tmp_path / "a"), ignore)
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        if moment == "within an epoch":
            patch.setattr(training, "REPORT_INTERVAL_S", 0)
            train(job(tmp_path / "b"), stop)
        else:
            patch.setattr(Checkpoints, "remove", stop)
            train(job(tmp_path / "b"), ignore)
    halves = train(job(tmp_path / "b"), ignore, resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    for one, other in zip(weights(whole), weights(halves), strict=True):
        assert (one == other).all()


def test_another_base_is_another_run(stateful: store.Model, windowed: store.Model, tmp_path: Path):
    recipe = replace(SMALL.recipe, epochs=2)
    first = Job(TEXT, TEXT, tmp_path / "m", stateful, recipe)
    with pytest.raises(InterruptedError):
        train(first, interrupt_after(1))
    with pytest.raises(TrainingError, match="belongs to another text or other options"):
        train(replace(first, start=windowed), ignore, resume=True)


def test_a_windowed_base_keeps_its_vocabulary(windowed: store.Model, tmp_path: Path):
    recipe = Recipe(epochs=1, learning_rate=1e-12, batch_size=512)
    tuned = train(Job(TEXT + "☃" * 20, TEXT, tmp_path / "m", windowed, recipe), ignore)
    assert tuned.vocabulary.characters == windowed.vocabulary.characters
    for old, new in zip(weights(windowed), weights(tuned), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path):
    with pytest.raises(InterruptedError):
        train(job(tmp_path / "m"), interrupt_after(1))
    with pytest.raises(TrainingError, match="holds an unfinished run"):
        train(job(tmp_path / "m"), ignore)
    assert train(job(tmp_path / "m"), ignore, resume=True).card.training["epochs"] == 3


def test_a_loss_that_is_no_number_stops_with_a_sentence(tmp_path: Path):
    with pytest.raises(TrainingError, match="lower learning rate"):
        train(job(tmp_path / "m", learning_rate=float("inf"), warmup=0.0), ignore)


def test_what_could_not_be_written_is_refused_before_training(tmp_path: Path):
    (tmp_path / "precious").mkdir()
    with pytest.raises(ModelError, match="is not a model"):
        train(job(tmp_path / "precious"), ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_too_little_text_is_refused(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"too little text|must be longer"):
        train(replace(job(tmp_path / "m"), text="So be it."), ignore)


def test_fine_tuning_starts_from_the_base_and_learns_new_characters(
    stateful: store.Model, tmp_path: Path
):
    text = TEXT + "é☃" * 20 + "$"
    still = replace(SMALL.recipe, epochs=1, learning_rate=1e-12, weight_decay=0.0)
    tuned = train(Job(text, TEXT, tmp_path / "m", stateful, still), ignore)
    known = stateful.vocabulary.characters
    assert tuned.vocabulary.characters == known + "LUé☃"
    for old, new in zip(weights(stateful), weights(tuned), strict=True):
        rows = new if old.shape == new.shape else new[tuple(slice(n) for n in old.shape)]
        np.testing.assert_allclose(rows, old, atol=1e-5)


def test_the_othello_preset_is_the_tutorials_network():
    preset = PRESETS["othello"]
    assert preset.recipe == Recipe(
        epochs=5, batch_size=128, learning_rate=0.001, dropout=0.2, lowercase=True
    )
    model = build(preset.spec(38), preset.recipe, preset.recipe.batch_size)
    assert model.input_shape == (None, 100, 1)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["InputLayer", "LSTM", "Dropout", "Dense"]
    assert model.layers[1].units == 256
    assert model.layers[3].activation is keras.activations.softmax
    assert model.count_params() == 4 * 256 * (1 + 256 + 1) + 257 * 38
