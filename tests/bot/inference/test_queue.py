import asyncio
from pathlib import Path

import pytest

from bot.errors import BotError
from bot.inference.queue import GenerationRequest, Inference
from bot.models.reference import ModelReference
from charrnn.errors import ModelError
from charrnn.generation import Generated, Prompt
from tests.bot.inference.gate import Gate

ONE, OTHER = (ModelReference(name, Path(name), 100) for name in ("one", "other"))


def service(gate: Gate, batch_limit: int = 4, queue_limit: int = 100) -> Inference:
    return Inference(gate, batch_limit=batch_limit, queue_limit=queue_limit, clock=lambda: 0.0)


async def ask(
    inference: Inference, *seeds: str, server: int = 0, model: ModelReference = ONE
) -> list[asyncio.Task[Generated]]:
    """Request texts, and let idle workers take them."""
    requests = [GenerationRequest(model, Prompt(seed), server) for seed in seeds]
    tasks = [asyncio.create_task(inference.generate(request)) for request in requests]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def texts(tasks: list[asyncio.Task[Generated]]) -> list[str]:
    return [written.text for written in await asyncio.gather(*tasks)]


async def test_requests_that_arrive_while_a_batch_is_written_form_the_next_one():
    gate = Gate()
    inference = service(gate)
    tasks = await ask(inference, "a")
    assert gate.batches == [["a"]]  # an idle worker takes a request at once
    tasks += await ask(inference, "b", "c", "d", "e", "f")
    gate.open.set()
    assert await texts(tasks) == [f"{seed} by one" for seed in "abcdef"]
    assert gate.batches == [["a"], ["b", "c", "d", "e"], ["f"]]


async def test_observers_are_told_of_each_batch():
    gate, seen = Gate(), []
    inference = service(gate, batch_limit=2)
    inference.observe(lambda requests, seconds: seen.append((requests, seconds)))
    tasks = await ask(inference, "a", "b", "c", "d")
    assert inference.waiting == 3
    gate.open.set()
    await texts(tasks)
    assert inference.waiting == 0
    assert seen == [(1, 0.0), (2, 0.0), (1, 0.0)]


async def test_every_idle_worker_takes_a_batch():
    gate = Gate(workers=2)
    inference = service(gate)
    await ask(inference, "a")
    await ask(inference, "b")
    await ask(inference, "c")
    assert gate.batches == [["a"], ["b"]]


async def test_servers_take_turns():
    gate = Gate()
    inference = service(gate, batch_limit=3)
    tasks = await ask(inference, "busy 0", "busy 1", "busy 2", "busy 3", "busy 4", "busy 5")
    tasks += await ask(inference, "quiet 0", server=1)
    tasks += await ask(inference, "quiet 1", server=2)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert gate.batches == [
        ["busy 0"],
        ["quiet 0", "quiet 1", "busy 1"],
        ["busy 2", "busy 3", "busy 4"],
        ["busy 5"],
    ]


async def test_a_request_never_waits_for_many_of_another_server_in_its_batch():
    gate = Gate()
    inference = service(gate, batch_limit=32)
    tasks = await ask(inference, *(f"busy {n}" for n in range(20)))
    tasks += await ask(inference, "quiet", server=1)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert gate.batches[:3] == [
        ["busy 0"],
        ["quiet", "busy 1"],
        [f"busy {n}" for n in range(2, 10)],  # no more, so that the next one to ask waits less
    ]


async def test_a_batch_is_for_one_model():
    gate = Gate()
    inference = service(gate)
    tasks = await ask(inference, "a", "b", "c")
    tasks += await ask(inference, "d", "e", server=1, model=OTHER)
    gate.open.set()
    assert (await texts(tasks))[3:] == ["d by other", "e by other"]
    assert gate.batches == [["a"], ["d", "e"], ["b", "c"]]


async def test_a_full_queue_refuses_with_the_expected_wait():
    gate = Gate()
    inference = service(gate, batch_limit=1, queue_limit=2)
    tasks = await ask(inference, "a", "b", "c")
    with pytest.raises(BotError, match=r"again in about 1 second\."):
        inference.check_room(0)
    gate.open.set()
    await asyncio.gather(*tasks)
    inference.check_room(0)


async def test_a_queue_filled_by_one_server_has_room_for_another():
    gate = Gate()
    inference = service(gate, queue_limit=4)
    await ask(inference, "a", "b", "c", "d", "e")
    await ask(inference, "f", server=1)
    inference.check_room(1)
    await ask(inference, "g", server=1)
    with pytest.raises(BotError, match="asking at once"):
        inference.check_room(1)


async def test_a_failed_batch_fails_only_its_own_requests():
    gate = Gate()
    gate.open.set()
    inference = service(gate)
    [failed] = await ask(inference, "broken")
    with pytest.raises(ModelError):
        await failed
    assert await texts(await ask(inference, "a")) == ["a by one"]


async def test_a_stop_refuses_new_requests_and_finishes_those_that_wait():
    gate = Gate()
    inference = service(gate, batch_limit=1)
    tasks = await ask(inference, "a", "b", "c")
    finishing = asyncio.create_task(inference.finish(grace_s=60))
    await asyncio.sleep(0)
    with pytest.raises(BotError, match="being restarted"):
        inference.check_room(0)
    gate.open.set()
    await finishing
    texts = [written.text for written in await asyncio.gather(*tasks)]
    assert texts == ["a by one", "b by one", "c by one"]


async def test_requests_that_still_wait_after_the_grace_are_refused():
    gate = Gate()
    inference = service(gate, batch_limit=1)
    tasks = await ask(inference, "a", "b")
    await inference.finish(grace_s=0)
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [error.kind for error in told] == ["stopping"] * 2


async def test_a_request_that_is_given_up_is_not_written():
    gate = Gate()
    inference = service(gate)
    tasks = await ask(inference, "a")
    impatient, patient = await ask(inference, "b", "c")
    impatient.cancel()
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(*tasks, patient)
    assert gate.batches == [["a"], ["c"]]


async def test_a_request_that_waits_too_long_is_refused():
    inference = Inference(Gate(), batch_limit=4, queue_limit=9, patience_s=0)
    for task in await ask(inference, "a", "b"):
        with pytest.raises(BotError, match="Try again in a minute"):
            await task


async def test_a_batch_that_outlasts_the_patience_is_stuck_until_it_is_written():
    gate, now = Gate(), 0.0
    inference = Inference(gate, batch_limit=4, queue_limit=9, patience_s=60, clock=lambda: now)
    tasks = await ask(inference, "a")
    now = 60.0
    assert not inference.stuck
    now = 60.1
    assert inference.stuck
    gate.open.set()
    await asyncio.gather(*tasks)
    await asyncio.sleep(0)
    assert not inference.stuck
