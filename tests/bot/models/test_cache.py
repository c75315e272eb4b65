from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Semaphore

import pytest

from bot.models.cache import LoadedModels, size_bytes
from charrnn import store
from charrnn.errors import ModelError
from charrnn.store import Model

UNLIMITED = 2**40


def test_a_model_is_loaded_once(stateful: Model):
    models = LoadedModels(UNLIMITED)
    assert models.get(stateful.folder) is models.get(stateful.folder)


def test_two_threads_that_want_the_same_model_load_it_once(stateful: Model):
    loads: list[Path] = []
    asked, asked_twice = Semaphore(0), Event()

    def load(folder: Path) -> Model:
        loads.append(folder)
        assert asked_twice.wait(60)
        return stateful

    def get() -> Model:
        asked.release()
        return models.get(stateful.folder)

    models = LoadedModels(UNLIMITED, load)
    with ThreadPoolExecutor(2) as pool:
        gets = [pool.submit(get) for _ in range(2)]
        for _ in gets:
            assert asked.acquire(timeout=60)
        asked_twice.set()
        assert [got.result() for got in gets] == [stateful, stateful]
    assert loads == [stateful.folder]


def test_the_least_recently_used_model_is_dropped_and_one_larger_than_the_limit_kept_alone(
    stateful: Model, windowed: Model
):
    loads: list[str] = []

    def load(folder: Path) -> Model:
        loads.append(folder.name)
        return store.load(folder)

    small, other, large = stateful.folder, windowed.folder, store.locate("shakespeare")
    models = LoadedModels(size_bytes(stateful) + size_bytes(windowed), load)
    for folder in (small, other, small, large, large, small, other):
        models.get(folder)
    assert loads == ["tiny", "sliding", "shakespeare", "tiny", "sliding"]


def test_one_model_is_kept_whatever_the_limit(stateful: Model):
    models = LoadedModels(0)
    assert models.get(stateful.folder) is models.get(stateful.folder)
    assert len(models) == 1


def test_a_model_that_cannot_be_loaded_is_an_error_and_the_others_stay(
    stateful: Model, tmp_path: Path
):
    models = LoadedModels(UNLIMITED)
    with pytest.raises(ModelError, match=r"it has no card\.json"):
        models.get(tmp_path)
    assert models.get(stateful.folder).name == "tiny"


def test_writing_needs_no_keras_file(model_folder: Path):
    (model_folder / store.KERAS).unlink()
    assert LoadedModels(UNLIMITED).get(model_folder).name == model_folder.name
