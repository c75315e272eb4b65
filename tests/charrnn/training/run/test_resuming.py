"""However a run is interrupted, it ends at the same weights when resumed."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from charrnn import store
from charrnn.errors import Stopped, TrainingError
from charrnn.training.events import EpochEnd, Event
from charrnn.training.job import TrainingData
from charrnn.training.run.checkpoint import Checkpoints, checkpoints_of
from charrnn.training.run.state import RunState
from charrnn.training.run.train import Build, train
from tests.charrnn.training.conftest import (
    BATCHES,
    TEXT,
    VALIDATION,
    WINDOWED,
    ignore,
    job,
    weights,
)

# `stopping` is asked after each batch, and for each step of measuring.
MEASURED = len(VALIDATION) - 1


class Killed(BaseException):
    """The process ends here."""


def killed(*_: object) -> bool:
    raise Killed


def at(ask: int, then: Callable[[], bool]) -> Callable[[], bool]:
    """For `stopping`: false until it is asked so often, then `then()`."""
    asked = itertools.count(1)
    return lambda: next(asked) >= ask and then()


def assert_same(model: store.Model, other: store.Model) -> None:
    for one, two in zip(weights(model), weights(other), strict=True):
        assert (one == two).all()
    assert model.card.training["history"] == other.card.training["history"]
    assert [path.name for path in model.folder.parent.iterdir()] == [model.name]


def test_a_run_killed_at_any_moment_resumes(
    build: Build, tmp_path: Path, uninterrupted: store.Model
):
    a_checkpoint_each_batch = itertools.count(step=1000.0).__next__
    moments = {"before any checkpoint": 1, "after a batch": 2, "while measuring": BATCHES + 1}
    for n, ask in enumerate(moments.values()):
        with pytest.raises(Killed):
            train(
                job(tmp_path / "m"),
                ignore,
                resume=n > 0,
                stopping=at(ask, killed),
                clock=a_checkpoint_each_batch,
                build=build,
            )

    def killed_after_epoch(event: Event) -> None:
        if isinstance(event, EpochEnd):
            raise Killed

    with pytest.raises(Killed):
        train(job(tmp_path / "m"), killed_after_epoch, True, build=build)
    assert not (tmp_path / "m").exists()
    assert_same(train(job(tmp_path / "m"), ignore, True, build=build), uninterrupted)


def test_a_stopped_run_says_how_far_it_got_and_resumes(
    build: Build, tmp_path: Path, uninterrupted: store.Model
):
    output = tmp_path / "m"

    def stop(ask: int, sentence: str, resume: bool = True) -> None:
        with pytest.raises(Stopped, match=sentence):
            train(job(output), ignore, resume, stopping=at(ask, lambda: True), build=build)

    stop(BATCHES, r"in epoch 1\. The same command with --resume continues", resume=False)
    stop(5, r"in epoch 1\. The same command")  # while measuring
    assert not output.exists()
    stop(MEASURED + 3, r"in epoch 2\. The best so far, of epoch 1, is in")
    assert store.load(output).card.training["epochs"] == 1
    assert_same(train(job(output), ignore, True, build=build), uninterrupted)


def test_a_stopped_run_of_windows_resumes(
    build: Build, tmp_path: Path, uninterrupted_windows: store.Model
):
    stopped = job(tmp_path / "m", WINDOWED)
    with pytest.raises(Stopped, match="epoch 2"):
        train(stopped, ignore, stopping=at(BATCHES + MEASURED + 3, lambda: True), build=build)
    assert_same(train(stopped, ignore, True, build=build), uninterrupted_windows)


def test_a_fine_tuning_stopped_while_its_base_is_measured_resumes(
    build: Build, tmp_path: Path, uninterrupted: store.Model
):
    fine_tuning = job(tmp_path / "stopped" / "m", uninterrupted)
    straight = replace(fine_tuning, output=tmp_path / "straight" / "m")
    for folder in ("stopped", "straight"):
        (tmp_path / folder).mkdir()
    with pytest.raises(Stopped):
        train(fine_tuning, ignore, stopping=at(5, lambda: True), build=build)
    resumed = train(fine_tuning, ignore, True, build=build)
    assert_same(resumed, train(straight, ignore, build=build))
    assert len(resumed.card.training["history"]) == 3


def test_a_run_killed_after_writing_its_model_resumes(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: store.Model
):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "remove", killed)
        train(job(tmp_path / "m"), ignore, build=build)
    (tmp_path / ".m.training.finished" / "left").mkdir(parents=True)  # by a run killed later still
    assert_same(train(job(tmp_path / "m"), ignore, True, build=build), uninterrupted)


def test_a_damaged_checkpoint_is_named(build: Build, tmp_path: Path):
    with pytest.raises(Stopped):
        train(job(tmp_path / "m"), ignore, stopping=lambda: True, build=build)
    for name in ("0-1.weights.h5", "state.json"):
        file = checkpoints_of(tmp_path / "m") / name
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(TrainingError, match=f"{name} is damaged"):
            train(job(tmp_path / "m"), ignore, True, build=build)


def test_only_an_unfinished_run_of_the_same_job_is_resumed(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "m")
    with pytest.raises(TrainingError, match="no run to resume"):
        checkpoints.resume(RunState())
    checkpoints.start()
    assert checkpoints.resume(RunState(fingerprint="this")) == RunState(fingerprint="this")
    checkpoints.save(Path.touch, RunState(checkpoint="1.weights.h5", fingerprint="this"))
    with pytest.raises(TrainingError, match="belongs to another text or other options"):
        checkpoints.resume(RunState(fingerprint="that"))
    with pytest.raises(TrainingError, match="holds an unfinished run"):
        checkpoints.start()


def test_whatever_decides_the_weights_is_in_the_fingerprint(
    stateful: store.Model, uninterrupted: store.Model
):
    output = Path("m")
    one = job(output)
    jobs = [
        one,
        replace(one, text=TEXT + "me"),
        replace(one, validation_text=VALIDATION + "me"),
        replace(one, rng_seed=1),
        replace(one, longest_copy=40),  # by which each epoch's voice is measured
        job(output, segment=30),
        job(output, epochs=3),  # the learning rate falls until the last one
        job(output, stateful),
        job(output, uninterrupted),
    ]
    assert len({TrainingData(job).fingerprint() for job in jobs}) == len(jobs)
    two, three = (job(output, cosine=False, epochs=epochs) for epochs in (2, 3))
    assert TrainingData(two).fingerprint() == TrainingData(three).fingerprint()
