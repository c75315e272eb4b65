"""Replies a second of the bot's inference queue, their latency, and the event loop's delay.

    pip install -c constraints.txt -e '.[bot]'
    python benchmarks/service.py                      64 waiting at any time
    python benchmarks/service.py --training TEXT      the same beside a training (extra `train`)
    python benchmarks/service.py --batch-limits 8 16 32 64

Each person asks for 500 characters, and asks again when they arrive. A task in the same event loop
sleeps 10 ms at a time; the loop's delay is how much later the task wakes.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bot.inference.executor import LocalExecutor
from bot.inference.queue import GenerationRequest, Inference
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from charrnn.generation import Prompt

HEARTBEAT_S = 0.01


def resident_mb() -> float:
    return psutil.Process().memory_info().rss / 2**20


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


@contextmanager
def training(text: str | None, folder: Path) -> Iterator[None]:
    """A training beside, at the lowest priority."""
    if text is None:
        yield
        return
    command = [sys.executable, "-m", "charrnn", "train", text, "--base", "chat"]
    options = ["--output", folder / "model", "--epochs", "1000", "--progress", "json"]
    process = subprocess.Popen(["nice", "-n", "19", *command, *options], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it has begun
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def heartbeat(late_ms: list[float]) -> None:
    while True:
        due = time.perf_counter() + HEARTBEAT_S
        await asyncio.sleep(HEARTBEAT_S)
        late_ms.append((time.perf_counter() - due) * 1000)


async def load(threads: int, batch_limit: int, people: int, replies: int, model: str) -> None:
    """`people` ask, each again and again, until `replies` replies are given."""
    reference = ModelReference.of(model)
    executor = LocalExecutor(threads, LoadedModels(2**30))
    inference = Inference(executor, batch_limit=batch_limit, queue_limit=people)
    numbers = itertools.count()
    waits: list[float] = []
    late_ms: list[float] = []
    memory_mb: list[float] = []

    async def person(server: int) -> None:
        while (n := next(numbers)) < replies:
            asked = time.perf_counter()
            prompt = Prompt("To be, or not to be", rng_seed=n)
            await inference.generate(GenerationRequest(reference, prompt, server))
            waits.append(time.perf_counter() - asked)
            if n % 100 == 0:
                memory_mb.append(resident_mb())

    await inference.generate(GenerationRequest(reference, Prompt(""), 0))  # loaded and warm
    beating = asyncio.create_task(heartbeat(late_ms))
    started = time.perf_counter()
    await asyncio.gather(*(person(n % 8) for n in range(people)))
    seconds = time.perf_counter() - started
    beating.cancel()
    await executor.close()
    print(
        f"| {threads} | {batch_limit} | {people} | {replies / seconds:.0f} "
        f"| {statistics.median(waits):.2f} | {percentile(waits, 0.95):.2f} "
        f"| {percentile(late_ms, 0.5):.1f} | {percentile(late_ms, 0.99):.1f} "
        f"| {memory_mb[len(memory_mb) // 4]:.0f} | {memory_mb[-1]:.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The inference service under load.")
    parser.add_argument("--model", default="shakespeare")
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--batch-limits", type=int, nargs="+", default=[16])
    parser.add_argument("--people", type=int, default=64)
    parser.add_argument("--replies", type=int, default=1000)
    parser.add_argument("--training", metavar="TEXT", help="Train on this beside it.")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors" + (", beside a training" if options.training else ""))
    print(
        "\n| threads | batch limit | waiting | replies/s | wait, median s | 95 % "
        "| loop late, median ms | 99 % | MB after a quarter | MB at the end |\n"
        + "| ---: " * 10
        + "|"
    )
    with tempfile.TemporaryDirectory() as folder, training(options.training, Path(folder)):
        for threads, limit in itertools.product(options.threads, options.batch_limits):
            arguments = (threads, limit, options.people, options.replies, options.model)
            asyncio.run(load(*arguments))


if __name__ == "__main__":
    main()
