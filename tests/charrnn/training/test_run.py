import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from charrnn import evaluation, store
from charrnn.errors import CorpusError, ModelError, Stopped, TrainingError
from charrnn.sampling import Sampling
from charrnn.training import export
from charrnn.training.checkpoint import Checkpoints
from charrnn.training.events import EpochEnd, Event
from charrnn.training.network import build
from charrnn.training.recipes import PRESETS, Preset, Recipe
from charrnn.training.run import Job, train
from charrnn.verbatim import longest_copy

TEXT = "HERO:\nSo be it.\n\nURSULA:\nAnd one for thee, and one for me.\n\n" * 60
SMALL = Preset(
    units=(20, 12),
    embedding=8,
    stateful=True,
    recipe=replace(
        PRESETS["shakespeare"].recipe, epochs=3, batch_size=4, segment=25, weight_dropout=0.1
    ),
)
# Windows of 100 characters: as many batches an epoch as there are segments.
BATCHES = len(TEXT) // 4 // 25

WINDOWED = Preset(
    (9,),
    None,
    False,
    replace(PRESETS["othello"].recipe, epochs=3, batch_size=math.ceil((len(TEXT) - 100) / BATCHES)),
)


def job(output: Path, preset: Preset = SMALL, **changes: object) -> Job:
    recipe = replace(preset.recipe, **changes)
    return Job(TEXT, TEXT[:400], output, preset, recipe)


def ignore(event: Event) -> None:
    del event


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> store.Model:
    """What all runs of `job` must come to."""
    return train(job(tmp_path_factory.mktemp("run") / "m"), ignore)


@pytest.fixture(scope="module")
def uninterrupted_windows(tmp_path_factory: pytest.TempPathFactory) -> store.Model:
    """What all runs of `job` must come to that are given windows."""
    return train(job(tmp_path_factory.mktemp("run") / "m", WINDOWED), ignore)


BOTH = pytest.mark.parametrize(
    ("preset", "whole"),
    [(SMALL, "uninterrupted"), (WINDOWED, "uninterrupted_windows")],
    ids=["carried state", "windows"],
)


class Killed(BaseException):
    """The process ends here."""


def kill_after(epoch: int):
    def report(event: Event) -> None:
        if isinstance(event, EpochEnd) and event.epoch == epoch:
            raise Killed

    return report


def test_training_teaches_and_keeps_the_best_epoch(tmp_path: Path):
    epochs: list[EpochEnd] = []
    options = job(tmp_path / "model", epochs=12, learning_rate=0.01)
    model = train(options, lambda e: epochs.append(e) if isinstance(e, EpochEnd) else None)
    assert epochs[-1].loss < 1.5 < 2.5 < epochs[0].loss
    best = min(epochs, key=lambda e: e.validation_loss)
    assert model.card.training["best_epoch"] == best.epoch
    # As shipped, in int8, it scores what it did in training.
    assert model.card.scores["held out"]["nats"] == pytest.approx(best.validation_loss, abs=0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@BOTH
def test_a_resumed_run_ends_at_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, request: pytest.FixtureRequest, preset: Preset, whole: str
):
    resumed = job(tmp_path / "m", preset)
    with pytest.raises(Killed):
        train(resumed, kill_after(2))
    assert not resumed.output.exists()
    assert_same(train(resumed, ignore, resume=True), request.getfixturevalue(whole))


def assert_same(model: store.Model, other: store.Model) -> None:
    for one, two in zip(weights(model), weights(other), strict=True):
        assert (one == two).all()
    assert model.card.training["history"] == other.card.training["history"]


def weights(model: store.Model) -> list[np.ndarray]:
    return export.load_keras(model.folder / store.KERAS).get_weights()


@pytest.mark.parametrize("name", ["state.json", "1-0.weights.h5"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str):
    with pytest.raises(Killed):
        train(job(tmp_path / "m"), kill_after(1))
    file = tmp_path / "m.training" / name
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(TrainingError, match=f"{name} is damaged"):
        train(job(tmp_path / "m"), ignore, resume=True)


def test_a_checkpoint_of_another_run_is_not_resumed(tmp_path: Path):
    with pytest.raises(Killed):
        train(job(tmp_path / "m"), kill_after(1))
    with pytest.raises(TrainingError, match="belongs to another text or other options"):
        train(job(tmp_path / "m", segment=30), ignore, resume=True)


def hurried() -> Callable[[], float]:
    """A clock by which every batch takes so long that a report and a checkpoint are due."""
    return itertools.count(step=1000.0).__next__


def kill_at(batch: int) -> Callable[[], bool]:
    """Asked after each batch but an epoch's last, kills the run when so many have been done."""
    asked = itertools.count(1)

    def kill() -> bool:
        if next(asked) == batch:
            raise Killed
        return False

    return kill


@pytest.mark.parametrize("batch", [1, 2, BATCHES - 1, BATCHES, BATCHES + 1])
def test_a_run_killed_within_an_epoch_goes_on_from_the_last_checkpoint(
    tmp_path: Path, batch: int, uninterrupted: store.Model
):
    with pytest.raises(Killed):
        train(job(tmp_path / "m"), ignore, stopping=kill_at(batch), clock=hurried())
    assert_same(train(job(tmp_path / "m"), ignore, resume=True), uninterrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_run_killed_after_writing_its_model_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: store.Model
):
    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "remove", kill)
        train(job(tmp_path / "m"), ignore)
    (tmp_path / ".m.training.finished" / "left").mkdir(parents=True)  # by a run killed later still
    assert_same(train(job(tmp_path / "m"), ignore, resume=True), uninterrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def stop_after(batches: int) -> Callable[[], bool]:
    """Asked after each batch but an epoch's last."""
    asked = itertools.count(1)
    return lambda: next(asked) >= batches


@BOTH
def test_a_stopped_run_writes_its_best_epoch_and_goes_on_from_the_very_batch(
    tmp_path: Path, request: pytest.FixtureRequest, preset: Preset, whole: str
):
    stopped = job(tmp_path / "m", preset)
    with pytest.raises(Stopped, match=r"epoch 2\. The best so far, of epoch 1, is in"):
        train(stopped, ignore, stopping=stop_after(BATCHES + 3))
    assert store.load(stopped.output).card.training["epochs"] == 1
    assert_same(train(stopped, ignore, resume=True), request.getfixturevalue(whole))


def test_a_run_that_is_asked_to_stop_when_an_epoch_ends_stops_in_the_next(
    tmp_path: Path, uninterrupted: store.Model
):
    with pytest.raises(Stopped, match="Stopped in epoch 2"):
        train(job(tmp_path / "m"), ignore, stopping=stop_after(BATCHES))
    assert_same(train(job(tmp_path / "m"), ignore, resume=True), uninterrupted)


def test_a_run_stopped_in_its_first_epoch_says_how_to_go_on(tmp_path: Path):
    with pytest.raises(Stopped, match=r"in epoch 1\. The same command with --resume goes on"):
        train(job(tmp_path / "m"), ignore, stopping=lambda: True)
    assert not (tmp_path / "m").exists()


def test_training_stops_early_and_keeps_the_best_epoch(tmp_path: Path):
    # What is learnt by heart from noise does not help with other noise.
    rng = np.random.default_rng(1)
    options = replace(
        job(tmp_path / "m", epochs=30, patience=3, dropout=0.0, learning_rate=0.01, averaging=0.0),
        text="".join(rng.choice(list("abcdefgh "), 3000)),
        validation_text="".join(rng.choice(list("abcdefgh "), 500)),
    )
    trained = train(options, ignore).card.training
    assert trained["epochs"] == trained["best_epoch"] + 3 < 30
    losses = [epoch["validation_loss"] for epoch in trained["history"]]
    assert min(losses) == losses[trained["best_epoch"] - 1]


def test_what_is_measured_is_the_moving_average_of_the_weights(tmp_path: Path):
    def fall(averaging: float) -> float:
        options = job(tmp_path / str(averaging), averaging=averaging, learning_rate=0.02)
        model = train(options, ignore)
        history = model.card.training["history"]
        return history[0]["validation_loss"] - history[-1]["validation_loss"]

    assert abs(fall(0.999999)) < 0.01  # an average that hardly moves stays where training began
    assert fall(0.0) > 0.2


def test_a_full_disk_stops_the_run_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: store.Model
):
    sentence = "No space left on device. What was kept before is safe"
    with monkeypatch.context() as patch, pytest.raises(TrainingError, match=sentence):
        patch.setattr(keras.Model, "save_weights", no_space_at(2, keras.Model.save_weights))
        train(job(tmp_path / "m"), ignore)
    assert not list((tmp_path / "m.training").glob("new-*"))
    assert_same(train(job(tmp_path / "m"), ignore, resume=True), uninterrupted)


def no_space_at(checkpoint: int, save: Callable[..., None]) -> Callable[..., None]:
    """What HDF5 does when the disk is full at the so manieth checkpoint."""
    saved = itertools.count(1)

    def fill(model: keras.Model, path: Path) -> None:
        save(model, path)
        if next(saved) == checkpoint:
            path.write_bytes(path.read_bytes()[:100])
            raise OSError(
                "Can't close file (file write failed: errno = 28, error message = "
                "'No space left on device', total write size = 2048)"
            )

    return fill


def test_there_must_be_a_run_to_go_on_with(tmp_path: Path):
    with pytest.raises(TrainingError, match="no run to go on with"):
        train(job(tmp_path / "m"), ignore, resume=True)


def test_a_base_that_training_makes_no_better_is_kept(tmp_path: Path):
    base = train(job(tmp_path / "base"), ignore)
    spoiling = replace(SMALL.recipe, learning_rate=3.0, warmup=0.0, averaging=0.0, epochs=2)
    tuned = train(Job(TEXT, TEXT[:400], tmp_path / "m", base, spoiling), ignore)
    assert tuned.card.training["best_epoch"] == 0
    before, *after = [epoch["validation_loss"] for epoch in tuned.card.training["history"]]
    assert before < min(after)


def test_the_learning_curve_is_drawn_after_each_epoch(tmp_path: Path):
    picture = tmp_path / "curve.png"
    drawn: list[bool] = []

    def look(event: Event) -> None:
        if isinstance(event, EpochEnd):
            drawn.append(picture.read_bytes().startswith(b"\x89PNG"))

    train(replace(job(tmp_path / "m"), plot=picture), look)
    assert drawn == [True] * 3


def test_another_base_is_another_run(stateful: store.Model, windowed: store.Model, tmp_path: Path):
    recipe = replace(SMALL.recipe, epochs=2)
    first = Job(TEXT, TEXT, tmp_path / "m", stateful, recipe)
    with pytest.raises(Killed):
        train(first, kill_after(1))
    with pytest.raises(TrainingError, match="belongs to another text or other options"):
        train(replace(first, start=windowed), ignore, resume=True)


def test_a_model_that_must_not_copy_its_text_does_not_and_does_not_keep_a_passage_of_it(
    stateful: store.Model, tmp_path: Path
):
    ends: list[Event] = []
    fine_tuning = replace(job(tmp_path / "m"), start=stateful, longest_copy=4)
    trained = train(fine_tuning, ends.append)
    assert trained.guard.longest == 4
    assert trained.opening == stateful.opening
    text = trained.vocabulary.encode(TEXT).ids
    samples = [event.sample for event in ends if isinstance(event, EpochEnd)]
    samples += evaluation.write_samples(trained, 5, Sampling())
    assert longest_copy([trained.vocabulary.encode(s).ids for s in samples], text)[0] <= 4
    assert trained.card.training["longest_copy"]["allowed"] == 4
    assert 1 <= trained.card.training["longest_copy"]["found"] <= 4


def test_a_windowed_base_keeps_its_vocabulary(windowed: store.Model, tmp_path: Path):
    recipe = Recipe(epochs=1, learning_rate=1e-12, batch_size=512)
    tuned = train(Job(TEXT + "☃" * 20, TEXT, tmp_path / "m", windowed, recipe), ignore)
    assert tuned.vocabulary.characters == windowed.vocabulary.characters
    for old, new in zip(weights(windowed), weights(tuned), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path):
    with pytest.raises(Killed):
        train(job(tmp_path / "m"), kill_after(1))
    with pytest.raises(TrainingError, match="holds an unfinished run"):
        train(job(tmp_path / "m"), ignore)
    assert train(job(tmp_path / "m"), ignore, resume=True).card.training["epochs"] == 3


def test_a_loss_that_is_no_number_stops_with_a_sentence(tmp_path: Path):
    with pytest.raises(TrainingError, match="Try a learning rate below"):
        train(job(tmp_path / "m", learning_rate=1e38, warmup=0.0), ignore)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_loses_no_epoch_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    step = keras.Model.train_on_batch

    def break_down(model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        broken = int(model.optimizer.iterations) >= 40
        return {"loss": math.nan} if broken else step(model, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "train_on_batch", break_down)
    with pytest.raises(TrainingError, match=r"in epoch 2\. The best so far, of epoch 1, is in"):
        train(job(tmp_path / "m"), ignore)
    assert store.load(tmp_path / "m").card.training["best_epoch"] == 1


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
    still = replace(
        SMALL.recipe, epochs=1, learning_rate=1e-12, weight_decay=0.0, least_occurrences=5
    )
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
