"""The bot as a process in which the machine fails: seeds say how, and a file what time it is. Who
hangs for two seconds, hangs."""

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from onnxruntime.capi.onnxruntime_pybind11_state import Fail

import bot
from bot.inference import executor
from bot.inference.queue import Inference
from charrnn.generation import Generated, Prompt
from charrnn.generation import generate as write
from charrnn.store import Model

OUT_OF_MEMORY, BROKEN, HANGING = "out of memory", "broken", "hanging"
real_time = time.time


def generate(model: Model, prompts: Sequence[Prompt]) -> list[Generated]:
    seeds = {prompt.seed for prompt in prompts}
    if OUT_OF_MEMORY in seeds:
        raise MemoryError
    if BROKEN in seeds:
        raise Fail("Non-zero status code returned while running Gemm node.")
    if HANGING in seeds:
        threading.Event().wait()
    return write(model, prompts)


def shifted_time(clock: Path) -> float:
    return real_time() + float(clock.read_text())


if __name__ == "__main__":
    executor.generate = generate
    Inference.__init__.__kwdefaults__["patience_s"] = 2.0
    clock = Path(sys.argv.pop())
    time.time = lambda: shifted_time(clock)
    bot.main()
