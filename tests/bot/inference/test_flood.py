"""Floods of requests in virtual time: what people are told, and how long they really wait."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from bot.errors import BotError
from bot.inference.queue import GenerationRequest, Inference
from bot.inference.turns import SERVER_LIMIT
from bot.models.reference import ModelReference
from charrnn.generation import Generated, Prompt
from tests.bot.inference.virtual_time import run

BATCH_LIMIT, QUEUE_LIMIT = 32, 64
QUIET = -1  # a server in which one person asks


def model(name: str) -> ModelReference:
    return ModelReference(name, Path(name), 100)


SHARED = model("shared")
Choice = Callable[[int], ModelReference]  # the model that a server wants


def shared(_: int) -> ModelReference:
    return SHARED


def own(server: int) -> ModelReference:
    return model(f"of {server}")


class Writer:
    """Takes as long as one core with AVX2, times `slowness`, and `load_s` to load a model."""

    def __init__(self, workers: int = 2, slowness: float = 4.0, load_s: float = 0.0):
        self.workers = workers
        self._slowness = slowness
        self._load_s = load_s
        self._loaded: deque[ModelReference] = deque(maxlen=4)

    def seconds(self, texts: int) -> float:
        return self._slowness * (0.06 + 0.038 * texts)

    async def write(self, model: ModelReference, prompts: Sequence[Prompt]) -> list[Generated]:
        if model not in self._loaded:
            await asyncio.sleep(self._load_s)
            self._loaded.append(model)
        await asyncio.sleep(self.seconds(len(prompts)))
        return [Generated(prompt.seed, "") for prompt in prompts]


def now() -> float:
    return asyncio.get_running_loop().time()


def service(writer: Writer) -> Inference:
    return Inference(writer, batch_limit=BATCH_LIMIT, queue_limit=QUEUE_LIMIT, clock=now)


async def answer(inference: Inference, server: int, model: ModelReference) -> float:
    """How long a person waits."""
    asked = now()
    await inference.generate(GenerationRequest(model, Prompt(""), server))
    return now() - asked


async def persist(inference: Inference, server: int, model: ModelReference) -> tuple[float, float]:
    """What a person is told, and how long they wait if they ask ten times a second."""
    asked, told = now(), 0.0
    while True:
        try:
            await answer(inference, server, model)
            return told, now() - asked
        except BotError as error:
            [seconds] = re.findall(r"about (\d+) second", str(error))
            told = told or float(seconds)
            await asyncio.sleep(0.1)


async def flood(inference: Inference, servers: Iterable[int], wanted: Choice) -> None:
    """A person for each of the servers, who asks again and again for 12 seconds."""
    end = now() + 12

    async def person(number: int, server: int) -> None:
        pause_s = 0.5 + number % 10 / 10  # after a refusal
        while now() < end:
            try:
                await answer(inference, server, wanted(server))
                await asyncio.sleep(2)
            except BotError:
                await asyncio.sleep(pause_s)

    await asyncio.gather(*(person(*each) for each in enumerate(servers)))


FLOODS = {
    "one server": (Writer(), [0] * 140, shared),
    "one server, one thread": (Writer(workers=1), [0] * 100, shared),
    "one server, a slow machine": (Writer(slowness=20), [0] * 100, shared),
    "many servers with one model": (Writer(), [*range(20)] * 7, shared),
    "many servers with their own models": (Writer(), [*range(20)] * 5, own),
    "one of many servers floods": (Writer(), [*range(6), *[0] * 120], own),
    "models that take long to load": (Writer(load_s=0.5), [*range(20)] * 5, own),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_person_who_is_refused_is_told_the_true_wait_within_a_factor_of_two(name: str):
    writer, servers, wanted = FLOODS[name]

    async def scenario() -> list[tuple[float, float]]:
        inference = service(writer)
        for _ in range(3):
            await answer(inference, QUIET, SHARED)
        flooding = asyncio.create_task(flood(inference, servers, wanted))
        await asyncio.sleep(3)
        asking = []
        for n in range(8):
            server = servers[7 * n]
            asking.append(asyncio.create_task(persist(inference, server, wanted(server))))
            await asyncio.sleep(1)
        await flooding
        return [(told, true) for told, true in await asyncio.gather(*asking) if told]

    waits = run(scenario())
    assert len(waits) >= 4
    assert [wait for wait in waits if not 0.5 <= wait[0] / wait[1] <= 2] == []


@pytest.mark.parametrize("name", ["one server", "many servers with one model"])
def test_the_first_who_is_refused_is_told_the_true_wait_too(name: str):
    writer, servers, wanted = FLOODS[name]

    async def scenario() -> tuple[float, float]:
        inference = service(writer)
        await answer(inference, QUIET, SHARED)
        people = [asyncio.create_task(answer(inference, s, wanted(s))) for s in servers[:68]]
        await asyncio.sleep(0)
        told, true = await persist(inference, 0, wanted(0))
        await asyncio.gather(*people, return_exceptions=True)
        return told, true

    told, true = run(scenario())
    assert 0.5 <= told / true <= 2


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("wanted", [shared, own])
def test_one_servers_flood_delays_another_by_one_batch_at_most(workers: int, wanted: Choice):
    writer = Writer(workers)

    async def scenario() -> list[float]:
        inference = service(writer)
        flooding = asyncio.create_task(flood(inference, [0] * 100, wanted))
        waits = []
        for _ in range(8):
            await asyncio.sleep(1.3)
            waits.append(await answer(inference, QUIET, wanted(QUIET)))
        await flooding
        return waits

    running = writer.seconds(SERVER_LIMIT)
    alongside = writer.seconds(2)  # the person's text and one of the flood
    assert max(run(scenario())) <= running + alongside + 1e-6


def test_a_queue_that_was_full_keeps_to_the_shares_until_it_is_half_empty():
    async def scenario() -> list[bool]:
        writer = Writer(workers=1)
        inference = Inference(writer, batch_limit=1, queue_limit=4, clock=now)
        requests = [asyncio.create_task(answer(inference, s, SHARED)) for s in (0, 0, 0, 1, 1)]
        await asyncio.sleep(writer.seconds(1) / 2)
        refused = []
        for _ in range(3):
            try:
                inference.check_room(0)
                refused.append(False)
            except BotError:
                refused.append(True)
            await asyncio.sleep(writer.seconds(1))
        await asyncio.gather(*requests)
        return refused

    assert run(scenario()) == [True, True, False]
