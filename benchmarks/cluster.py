"""How much time a Dask cluster adds to a batch, compared with writing on this machine.

    pip install -c constraints.txt -e '.[bot,dask]'
    python benchmarks/cluster.py

The worker is a process on this machine with one thread. A network to another machine adds more.
"""

import argparse
import asyncio
import statistics
import time

from distributed import LocalCluster

from bot.dask.cluster import Cluster
from bot.dask.executor import DaskExecutor
from bot.inference.executor import Executor, LocalExecutor
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from charrnn.generation import Prompt

MEMORY_BYTES = 2**28


async def measure(scheduler: str, model: str, rounds: int) -> None:
    reference = ModelReference.of(model)
    cluster = DaskExecutor(Cluster(scheduler), MEMORY_BYTES)
    executors: dict[str, Executor] = {
        "this machine": LocalExecutor(1, LoadedModels(MEMORY_BYTES)),
        "a worker": cluster,
    }
    started = time.perf_counter()
    await cluster.write(reference, [Prompt("", 1)])
    print(f"connecting, sending the model and a character: {time.perf_counter() - started:.2f} s")
    for lanes in (1, 16):
        taken_ms: dict[str, list[float]] = {name: [] for name in executors}
        for n in range(rounds + 1):
            prompts = [Prompt("To be, or not to be", rng_seed=n + lane) for lane in range(lanes)]
            for name, executor in executors.items():
                started = time.perf_counter()
                await executor.write(reference, prompts)
                if n:  # the first warms up
                    taken_ms[name].append((time.perf_counter() - started) * 1000)
        medians = {name: statistics.median(taken) for name, taken in taken_ms.items()}
        shown = ", ".join(f"{name} {ms:.1f} ms" for name, ms in medians.items())
        print(f"{lanes} of 500 characters: {shown}")
    for executor in executors.values():
        await executor.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="What a Dask cluster adds to a batch.")
    parser.add_argument("--model", default="shakespeare")
    parser.add_argument("--rounds", type=int, default=41)
    options = parser.parse_args()
    workers = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
    scheduler = workers.scheduler_address.removeprefix("tcp://")
    asyncio.run(measure(scheduler, options.model, options.rounds))
    workers.close()


if __name__ == "__main__":
    main()
