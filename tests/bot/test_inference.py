import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from bot.errors import BusyError, StoppingError
from bot.inference import Inference
from charrnn.generation import Generated, Prompt, generate
from charrnn.store import Model


class Gate(ThreadPoolExecutor):
    """An executor of one thread that works when it is opened, and notes each batch's size."""

    def __init__(self):
        super().__init__(1)
        self.open = threading.Event()
        self.batches: list[int] = []

    def submit(self, fn: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        self.batches.append(len(args[1]))

        def work() -> Any:
            self.open.wait(10)
            return fn(*args, **kwargs)

        return super().submit(work)


def prompt(n: int) -> Prompt:
    return Prompt("So be it", length=20, rng_seed=n)


async def start(inference: Inference, *numbers: int) -> "list[asyncio.Task[Generated]]":
    """Let people ask, and a worker that is free take up what they ask."""
    tasks = [asyncio.create_task(inference.generate(prompt(n))) for n in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_requests_that_come_while_a_batch_is_written_form_the_next_one(stateful: Model):
    gate = Gate()
    inference = Inference(stateful, gate, batch_limit=4, queue_limit=100)
    [first] = await start(inference, 0)
    assert gate.batches == [1]  # whoever asks alone waits for nobody
    others = await start(inference, *range(1, 7))
    gate.open.set()
    texts = await asyncio.gather(first, *others)
    assert gate.batches == [1, 4, 2]
    assert texts == [generate(stateful, [prompt(n)])[0] for n in range(7)]


async def test_the_event_loop_is_free_while_a_text_is_written(stateful: Model):
    gate = Gate()
    inference = Inference(stateful, gate, batch_limit=4, queue_limit=100)
    writing = asyncio.create_task(inference.generate(prompt(0)))
    turns = 0
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
        if turns == 100:
            gate.open.set()
    assert turns >= 100


async def test_a_full_queue_is_refused_with_the_wait_to_expect(stateful: Model):
    gate = Gate()
    now = 0.0
    inference = Inference(stateful, gate, batch_limit=1, queue_limit=2, clock=lambda: now)
    waiting = await start(inference, 0)
    waiting += await start(inference, 1, 2)
    with pytest.raises(BusyError, match="again in about 1 second") as refusal:
        await inference.generate(prompt(3))
    assert refusal.value.wait_s == 1.0
    gate.open.set()
    assert len(await asyncio.gather(*waiting)) == 3
    inference.check_room()


async def test_a_failed_batch_fails_its_own_requests_and_no_others(stateful: Model):
    inference = Inference(stateful, ThreadPoolExecutor(1), batch_limit=4, queue_limit=100)
    broken: Any = None
    with pytest.raises(AttributeError):
        await inference.generate(broken)
    assert len((await inference.generate(prompt(1))).text) == 20


async def test_closing_finishes_the_batch_under_way_and_turns_the_others_away(stateful: Model):
    gate = Gate()
    inference = Inference(stateful, gate, batch_limit=1, queue_limit=100)
    tasks = await start(inference, 0)
    tasks += await start(inference, 1, 2)
    closing = asyncio.create_task(inference.close())
    await asyncio.sleep(0)
    gate.open.set()
    await closing
    first, *others = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, Generated)
    assert [type(other) for other in others] == [StoppingError] * 2
    with pytest.raises(StoppingError):
        await inference.generate(prompt(3))


async def test_who_no_longer_waits_costs_nobody_anything(stateful: Model):
    gate = Gate()
    inference = Inference(stateful, gate, batch_limit=4, queue_limit=100)
    [first] = await start(inference, 0)
    impatient, patient = await start(inference, 1, 2)
    impatient.cancel()
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, patient)
    assert gate.batches == [1, 1]
