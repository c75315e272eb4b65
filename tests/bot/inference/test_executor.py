import asyncio
import threading
from pathlib import Path

from bot.inference.executor import LocalExecutor
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from charrnn import store
from charrnn.generation import Prompt, generate
from charrnn.store import Model

UNLIMITED = 2**40


async def test_the_texts_are_what_the_model_writes(stateful: Model):
    executor = LocalExecutor(2, LoadedModels(UNLIMITED))
    prompts = [Prompt("So be it", 20, rng_seed=n) for n in range(3)]
    reference = ModelReference.of(stateful.folder)
    assert await executor.write(reference, prompts) == generate(stateful, prompts)
    await executor.close()


async def test_loading_one_model_delays_neither_the_event_loop_nor_a_text_of_another(
    stateful: Model, windowed: Model
):
    may_load = threading.Event()

    def load(folder: Path) -> Model:
        if folder == windowed.folder:
            assert may_load.wait(60)
        return store.load(folder)

    executor = LocalExecutor(2, LoadedModels(UNLIMITED, load))
    slow, fast = (ModelReference.of(model.folder) for model in (windowed, stateful))
    waiting = asyncio.create_task(executor.write(slow, [Prompt("", 20)]))
    [text] = await executor.write(fast, [Prompt("", 20)])
    assert len(text.text) == 20
    assert not waiting.done()
    may_load.set()
    await waiting
    await executor.close()
