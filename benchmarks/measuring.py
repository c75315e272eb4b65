"""What the benchmarks of speed share: fair timing, and a description of the machine."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

PACKAGES = ("numpy", "onnxruntime", "tensorflow", "keras", "torch")

Name = TypeVar("Name", bound=Hashable)


def medians(tasks: Mapping[Name, Callable[[], Any]], rounds: int) -> dict[Name, float]:
    """The median time of each task, in seconds.

    The tasks take turns, so that other work on the machine slows all of them. The first round is
    not counted, since some tasks compile then."""
    seconds: dict[Name, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if number > 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def machine() -> str:
    """The processor and its cores."""
    return f"{_processor()}, {os.cpu_count()} cores"


def versions() -> str:
    """The versions of Python and of the packages that are imported."""
    modules = {name: sys.modules[name] for name in PACKAGES if name in sys.modules}
    found = [f"{name} {module.__version__}" for name, module in modules.items()]
    return ", ".join([f"python {platform.python_version()}", *found])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
