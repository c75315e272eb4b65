"""Texts written in threads of the process, and the models that stay in memory for it."""

import asyncio
import threading
from pathlib import Path

import pytest

from bot.inference import executor
from bot.inference.executor import LocalExecutor
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from charrnn import store
from charrnn.errors import ModelError
from charrnn.generation import Prompt, generate
from charrnn.store import Model

UNLIMITED = 2**40


def size(model: Model) -> int:
    return executor.MEMORY_FACTOR * (model.folder / store.ONNX).stat().st_size


async def test_the_texts_are_what_the_model_writes(stateful: Model):
    local = LocalExecutor(2, LoadedModels(UNLIMITED))
    prompts = [Prompt("So be it", 20, rng_seed=n) for n in range(3)]
    reference = ModelReference.of(stateful.folder)
    assert await local.write(reference, prompts) == generate(stateful, prompts)
    await local.close()


async def test_the_event_loop_is_free_while_a_model_is_loaded_and_writes(stateful: Model):
    gate = threading.Event()

    def load(folder: Path) -> Model:
        gate.wait(10)
        return store.load(folder)

    local = LocalExecutor(1, LoadedModels(UNLIMITED, load))
    reference = ModelReference.of(stateful.folder)
    writing = asyncio.create_task(local.write(reference, [Prompt("", 20)]))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not writing.done()
    gate.set()
    assert len((await writing)[0].text) == 20


def test_a_model_is_loaded_once(stateful: Model):
    models = LoadedModels(UNLIMITED)
    assert models.get(stateful.folder) is models.get(stateful.folder)


def test_beyond_the_limit_the_model_not_used_for_longest_goes(stateful: Model, windowed: Model):
    loads: list[Path] = []

    def load(folder: Path) -> Model:
        loads.append(folder)
        return store.load(folder)

    one, two, three = stateful.folder, windowed.folder, Path("shakespeare")
    models = LoadedModels(size(stateful) + size(windowed), load)
    for folder in (one, two, one, three, one, two):
        models.get(store.locate(str(folder)))
    # The third is larger than the limit, and so stays only for as long as it is used.
    assert [folder.name for folder in loads] == [
        "tiny",
        "sliding",
        "shakespeare",
        "tiny",
        "sliding",
    ]


def test_a_model_that_is_not_there_is_named_and_the_others_go_on(stateful: Model, tmp_path: Path):
    models = LoadedModels(UNLIMITED)
    with pytest.raises(ModelError, match=r"card\.json cannot be read"):
        models.get(tmp_path)
    assert models.get(stateful.folder).name == "tiny"


def test_a_model_put_in_anothers_place_is_loaded_and_a_damaged_one_is_not(
    model_folder: Path, windowed: Model
):
    models = LoadedModels(UNLIMITED)
    before = models.get(model_folder)
    store.write_files(model_folder, store.read_files(windowed.folder))
    after = models.get(model_folder)
    assert before.card.spec.stateful
    assert not after.card.spec.stateful
    (model_folder / store.CARD).write_text("{}")
    assert models.get(model_folder) is after


def test_a_model_that_is_replaced_while_it_is_loaded_is_loaded_again(model_folder: Path):
    def load(folder: Path) -> Model:
        if folder.is_dir() and hidden.is_dir():
            raise AssertionError("there is one model")
        if hidden.is_dir():
            hidden.rename(folder)
            raise ModelError("There is no model.")
        return store.load(folder)

    hidden = model_folder.with_name("hidden")
    model_folder.rename(hidden)
    assert LoadedModels(UNLIMITED, load).get(model_folder).folder == model_folder
