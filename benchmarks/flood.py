"""What another server's flood costs a person, and whether people are told the true wait.

    pip install -c constraints.txt -e '.[bot]'
    python benchmarks/flood.py

In one server, 300 people ask again and again. In another, one person asks now and then. A person in
the flooding server who is refused asks ten times a second.
"""

import argparse
import asyncio
import itertools
import re
import statistics
import time
from functools import partial

from measuring import medians

from bot.errors import BotError
from bot.inference.executor import LocalExecutor
from bot.inference.queue import GenerationRequest, Inference
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from charrnn import generate, load
from charrnn.generation import Prompt

FLOOD, QUIET = 0, 1  # servers
LANES = (1, 2, 4, 8, 16, 32)


numbers = itertools.count()  # random seeds


async def answer(inference: Inference, server: int, model: ModelReference) -> float:
    asked = time.perf_counter()
    prompt = Prompt("To be, or not to be", rng_seed=next(numbers))
    await inference.generate(GenerationRequest(model, prompt, server))
    return time.perf_counter() - asked


async def flood(inference: Inference, model: ModelReference, pause_s: float) -> None:
    while True:
        try:
            await answer(inference, FLOOD, model)
        except BotError:
            await asyncio.sleep(pause_s)


async def refused(inference: Inference, model: ModelReference) -> None:
    asked, told = time.perf_counter(), 0
    while True:
        try:
            await answer(inference, FLOOD, model)
            break
        except BotError as error:
            told = told or int(re.findall(r"about (\d+) second", str(error))[0])
            await asyncio.sleep(0.1)
    if told:
        print(f"told {told} s, true {time.perf_counter() - asked:.1f} s", flush=True)


async def ask(inference: Inference, model: ModelReference, name: str, times: int) -> None:
    waits = []
    for n in range(times):
        waits.append(await answer(inference, QUIET, model))
        await asyncio.sleep(0.1 + 0.37 * n % 0.6)  # at any moment of a batch
    print(f"{name}: median {statistics.median(waits):.2f} s, most {max(waits):.2f} s", flush=True)


async def measure(threads: int, times: int) -> None:
    one, other = ModelReference.of("shakespeare"), ModelReference.of("chat")
    executor = LocalExecutor(threads, LoadedModels(2**30))
    inference = Inference(executor, batch_limit=32, queue_limit=256)
    for model in one, other:
        await answer(inference, QUIET, model)
    await ask(inference, one, "alone", times)
    pauses_s = (0.5 + n / 300 for n in range(300))
    flooding = [asyncio.create_task(flood(inference, one, s)) for s in pauses_s]
    await asyncio.sleep(1)
    asking = []
    for model, name in ((one, "in a flood of the same model"), (other, "of another model")):
        asking.append(asyncio.create_task(refused(inference, one)))
        await ask(inference, model, name, times)
    await asyncio.gather(*asking)
    for person in flooding:
        person.cancel()
    await inference.finish(0)
    await executor.close()


def batches(rounds: int) -> None:
    """How long one thread takes for a batch."""
    model = load("shakespeare")
    prompts = [Prompt("To be, or not to be", rng_seed=n) for n in range(max(LANES))]
    tasks = {lanes: partial(generate, model, prompts[:lanes]) for lanes in LANES}
    for lanes, seconds in medians(tasks, rounds).items():
        print(f"a batch of {lanes}: {seconds * 1000:.0f} ms, {lanes / seconds:.1f} texts a second")


def main() -> None:
    parser = argparse.ArgumentParser(description="A person's wait during another server's flood.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--times", type=int, default=20, help="How often the person asks.")
    options = parser.parse_args()
    batches(5)
    asyncio.run(measure(options.threads, options.times))


if __name__ == "__main__":
    main()
