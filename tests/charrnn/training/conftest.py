"""A tiny training job, and networks that TensorFlow traces once for all tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from charrnn import store
from charrnn.spec import ModelSpec
from charrnn.training import keras_files, network
from charrnn.training.events import Event
from charrnn.training.job import Job
from charrnn.training.recipes import PRESETS, Preset, Recipe
from charrnn.training.run.train import Build, train

TEXT = ("HERO:\nSo be it.\n\nURSULA:\nAnd one for thee, and one for me.\n\n" * 6)[:310]
VALIDATION = TEXT[:210]
SMALL = Preset(
    units=(7, 6),
    embedding=5,
    stateful=True,
    recipe=replace(
        PRESETS["shakespeare"].recipe, epochs=2, batch_size=4, segment=10, weight_dropout=0.1
    ),
)
BATCHES = len(TEXT) // 4 // 10  # an epoch
# Batches of one size, since XLA compiles for each size.
WINDOWED_RECIPE = replace(
    PRESETS["othello"].recipe, epochs=2, batch_size=(len(TEXT) - 100) // BATCHES
)
WINDOWED = Preset((5,), None, False, WINDOWED_RECIPE)


def job(output: Path, start: Preset | store.Model = SMALL, **changes: Any) -> Job:
    recipe = start.recipe if isinstance(start, Preset) else SMALL.recipe
    return Job(TEXT, VALIDATION, output, start, replace(recipe, **changes))


def ignore(event: Event) -> None:
    del event


@pytest.fixture(scope="session")
def build() -> Build:
    """`network.trainable`, but with the variables of each network reset instead of built again."""
    built: dict[Any, tuple[keras.Model, list[np.ndarray]]] = {}

    def build(spec: ModelSpec, recipe: Recipe, batches: int) -> keras.Model:
        key = (spec, replace(recipe, patience=None, calibrate=False), batches)
        if key not in built:
            model = network.trainable(*key)
            built[key] = model, [np.array(variable) for variable in _variables(model)]
        model, initial = built[key]
        for variable, value in zip(_variables(model), initial, strict=True):
            variable.assign(value)
        return model

    return build


def _variables(model: keras.Model) -> list[Any]:
    states = [s for layer in model.layers for s in getattr(layer, "states", None) or []]
    return [*model.weights, *model.optimizer.variables, *states]


@pytest.fixture(scope="session")
def uninterrupted(build: Build, tmp_path_factory: pytest.TempPathFactory) -> store.Model:
    """The model of every run of `job`, interrupted or not."""
    return train(job(tmp_path_factory.mktemp("run") / "m"), ignore, build=build)


@pytest.fixture(scope="session")
def uninterrupted_windows(build: Build, tmp_path_factory: pytest.TempPathFactory) -> store.Model:
    """The same of `WINDOWED`."""
    return train(job(tmp_path_factory.mktemp("run") / "m", WINDOWED), ignore, build=build)


def weights(model: store.Model) -> list[np.ndarray]:
    return keras_files.load_keras(model.folder / store.KERAS).get_weights()
