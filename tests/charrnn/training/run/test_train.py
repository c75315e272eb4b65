import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest

from charrnn import evaluation, store
from charrnn.errors import ModelError, TrainingError
from charrnn.sampling import Sampling
from charrnn.spec import ModelSpec
from charrnn.training.events import EpochEnd, Event
from charrnn.training.network import averaged
from charrnn.training.recipes import Recipe
from charrnn.training.run.checkpoint import checkpoints_of
from charrnn.training.run.train import Build, train
from charrnn.verbatim import longest_copy
from tests.charrnn.training.conftest import (
    BATCHES,
    SMALL,
    TEXT,
    VALIDATION,
    ignore,
    job,
    weights,
)


def epoch_ends(events: list[Event]) -> list[EpochEnd]:
    return [event for event in events if isinstance(event, EpochEnd)]


def test_training_teaches_and_keeps_the_best_epoch(tmp_path: Path):
    events: list[Event] = []
    network = replace(SMALL, units=(24,))
    options = job(
        tmp_path / "model", network, segment=20, epochs=4, learning_rate=0.04, averaging=0.9
    )
    model = train(replace(options, text=TEXT * 8), events.append)
    epochs = epoch_ends(events)
    assert epochs[-1].loss < 1.8 < epochs[0].loss - 0.5
    best = min(epochs, key=lambda e: e.validation_loss)
    assert model.card.training["best_epoch"] == best.epoch
    # As shipped, in int8, it scores what it did in training.
    assert model.card.scores["held out"]["nats"] == pytest.approx(best.validation_loss, abs=0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_model_that_is_kept_is_the_moving_average_of_the_weights(build: Build, tmp_path: Path):
    networks: list[keras.Model] = []

    def watched(*arguments: Any) -> keras.Model:
        networks.append(build(*arguments))
        return networks[-1]

    model = train(job(tmp_path / "m", calibrate=False), ignore, build=watched)
    assert model.card.training["best_epoch"] == 2  # the last one
    trained = networks[0].get_weights()
    with averaged(networks[0]):
        for kept, average, last in zip(
            weights(model), networks[0].get_weights(), trained, strict=True
        ):
            assert (kept == average).all() and (kept != last).any()


def test_calibration_multiplies_the_softmax_layer_and_nothing_else(build: Build, tmp_path: Path):
    plain = train(job(tmp_path / "plain", calibrate=False), ignore, build=build)
    calibrated = train(job(tmp_path / "calibrated"), ignore, build=build)
    *hidden, kernel, bias = zip(weights(calibrated), weights(plain), strict=True)
    assert all((one == two).all() for one, two in hidden)
    factor = kernel[0].flat[0] / kernel[1].flat[0]
    assert factor != pytest.approx(1, abs=0.01)
    for after, before in (kernel, bias):
        assert after == pytest.approx(factor * before, rel=1e-5)
    assert calibrated.card.scores["held out"]["nats"] < plain.card.scores["held out"]["nats"]


def test_a_fine_tuning_reports_the_voice_and_loss_of_each_epoch_beside_the_bases(
    build: Build, tmp_path: Path, uninterrupted: store.Model
):
    events: list[Event] = []
    chat = replace(job(tmp_path / "m", uninterrupted), text=TEXT * 8)  # enough to judge a voice
    training = train(chat, events.append, build=build).card.training
    base, *epochs = training["history"]
    assert base["standard_error"] == 0 and "loss" not in base
    for event, epoch in zip(epoch_ends(events), epochs, strict=True):
        assert epoch["voice"] == pytest.approx(event.voice, abs=1e-4)
        assert epoch["voice_error"] == pytest.approx(event.voice_error, abs=1e-4)
        assert epoch["validation_loss"] == pytest.approx(event.validation_loss, abs=1e-4)
        assert epoch["standard_error"] > 0
    kept = training["history"][training["best_epoch"]]
    assert training["voice"] == pytest.approx(kept["voice"], abs=0.1)  # of other samples


def test_a_model_trained_from_scratch_has_no_standard_error(uninterrupted: store.Model):
    assert all("standard_error" not in e for e in uninterrupted.card.training["history"])


def test_a_text_without_messages_has_no_voice(
    build: Build, tmp_path: Path, uninterrupted: store.Model
):
    prose = replace(job(tmp_path / "m", uninterrupted), text=TEXT.replace("\n", " "))
    training = train(prose, ignore, build=build).card.training
    assert "voice" not in training
    assert all("voice" not in epoch for epoch in training["history"])


def test_the_learning_curve_is_drawn_after_each_epoch(build: Build, tmp_path: Path):
    picture = tmp_path / "curve.png"
    drawn: list[bool] = []

    def look(event: Event) -> None:
        if isinstance(event, EpochEnd):
            drawn.append(picture.read_bytes().startswith(b"\x89PNG"))
            picture.unlink()

    train(replace(job(tmp_path / "m"), plot=picture), look, build=build)
    assert drawn == [True] * 2


class Replaced:
    """A network with some of its methods replaced."""

    def __init__(self, model: keras.Model, **methods: Callable[..., Any]):
        self.__dict__.update(methods)
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def spoilt(build: Build, by: float, first: int = 1) -> Any:
    """Builds networks whose weights are multiplied by that at each batch from the first one on."""
    batches = itertools.count(1)

    def build_spoilt(spec: ModelSpec, recipe: Recipe, count: int) -> Any:
        model = build(spec, recipe, count)

        def step(*data: Any, **options: Any) -> Any:
            if next(batches) >= first:
                model.set_weights([w * by for w in model.get_weights()])
            return model.train_on_batch(*data, **options)

        return Replaced(model, train_on_batch=step)

    return build_spoilt


def test_the_time_left_includes_measuring_and_follows_a_machine_that_becomes_busy(
    build: Build, tmp_path: Path
):
    now = 0.0
    batches, events = itertools.count(1), list[Event]()

    def pass_time(seconds: float) -> bool:
        nonlocal now
        now += seconds
        return False

    def build_timed(*arguments: Any) -> Any:
        model = build(*arguments)

        def step(*data: Any, **options: Any) -> Any:
            number = next(batches)  # the first one compiles the network
            pass_time(60 if number == 1 else 1 if number <= 2 * BATCHES else 10)
            return model.train_on_batch(*data, **options)

        return Replaced(model, train_on_batch=step)

    measuring_s = 0.01 * (len(VALIDATION) - 1)
    train(
        job(tmp_path / "m", epochs=4),
        events.append,
        stopping=lambda: pass_time(0.01),  # which is asked at each step of measuring
        clock=lambda: now,
        build=build_timed,
    )
    _, second, third, fourth = epoch_ends(events)
    assert second.measuring_s == pytest.approx(measuring_s)
    assert second.characters_per_second == pytest.approx(40, rel=0.02)
    left = 2 * len(TEXT) / 40 + 3 * measuring_s
    assert second.seconds_left == pytest.approx(left, rel=0.02)
    assert third.seconds_left == pytest.approx(10 * len(TEXT) / 40 + 2 * measuring_s, rel=0.25)
    assert fourth.seconds_left == pytest.approx(measuring_s)  # to write the model


@pytest.mark.parametrize("batch", [2, BATCHES], ids=["training", "measuring"])
def test_a_loss_that_is_no_number_ends_the_run_and_leaves_nothing(
    build: Build, tmp_path: Path, batch: int
):
    with pytest.raises(TrainingError, match=r"nan in epoch 1\. Try a learning rate below"):
        train(job(tmp_path / "m"), ignore, build=spoilt(build, math.nan, batch))
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_loses_no_epoch_before_it(build: Build, tmp_path: Path):
    with pytest.raises(TrainingError, match=r"in epoch 2\. The best so far, of epoch 1, is in"):
        train(job(tmp_path / "m"), ignore, build=spoilt(build, math.nan, BATCHES + 2))
    assert store.load(tmp_path / "m").card.training["best_epoch"] == 1


def test_a_full_disk_stops_the_run_and_spoils_nothing(
    build: Build, tmp_path: Path, uninterrupted: store.Model
):
    saved = itertools.count(1)

    def full(spec: ModelSpec, recipe: Recipe, count: int) -> Any:
        model = build(spec, recipe, count)

        def save(path: Path) -> None:
            """As HDF5 does when the disk is full at the second checkpoint."""
            model.save_weights(path)
            if next(saved) == 2:
                path.write_bytes(path.read_bytes()[:100])
                raise OSError(
                    "Can't close file (file write failed: errno = 28, error message = "
                    "'No space left on device', total write size = 2048)"
                )

        return Replaced(model, save_weights=save)

    with pytest.raises(TrainingError, match=r"No space left on device.*--resume"):
        train(job(tmp_path / "m"), ignore, build=full)
    assert not list(checkpoints_of(tmp_path / "m").glob("new-*"))
    resumed = train(job(tmp_path / "m"), ignore, True, build=build)
    for one, two in zip(weights(resumed), weights(uninterrupted), strict=True):
        assert (one == two).all()


def test_a_base_that_training_makes_no_better_is_kept_when_patience_runs_out(
    build: Build, tmp_path: Path, uninterrupted: store.Model
):
    impatient = job(tmp_path / "m", uninterrupted, patience=1, calibrate=False)
    tuned = train(impatient, ignore, build=spoilt(build, by=2.0))
    training = tuned.card.training
    assert training["epochs"] == 1 < impatient.recipe.epochs
    assert training["best_epoch"] == 0
    before, after = [epoch["validation_loss"] for epoch in training["history"]]
    assert before < after
    for one, two in zip(weights(tuned), weights(uninterrupted), strict=True):
        assert (one == two).all()


def test_a_model_that_must_not_copy_its_text_does_not_and_does_not_keep_a_passage_of_it(
    build: Build, tmp_path: Path, uninterrupted: store.Model
):
    text, events = TEXT[::-1], list[Event]()
    fine_tuning = replace(job(tmp_path / "m", uninterrupted), text=text, longest_copy=3)
    trained = train(fine_tuning, events.append, build=build)
    assert trained.guard.longest == 3
    assert set(trained.opening) == {"\n"}
    samples = [event.sample for event in epoch_ends(events)]
    samples += evaluation.write_samples(trained, 5, Sampling())
    ids = [trained.vocabulary.encode(sample).ids for sample in samples]
    assert longest_copy(ids, trained.vocabulary.encode(text).ids)[0] <= 3
    assert trained.card.training["longest_copy"]["allowed"] == 3
    assert 1 <= trained.card.training["longest_copy"]["found"] <= 3


def test_a_folder_that_is_not_a_model_is_refused_before_training(tmp_path: Path):
    (tmp_path / "precious").mkdir()
    with pytest.raises(ModelError, match="is not a model"):
        train(job(tmp_path / "precious"), ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
