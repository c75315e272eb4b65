"""Imports the training half of charrnn, and TensorFlow with it, only when a command needs it."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charrnn.errors import OptionError
from charrnn.sentences import needs_extra


def with_keras(module: str, threads: int | None = None, *, in_shares: bool = True) -> Any:
    """The module of `charrnn.training` with this name. Raises OptionError without TensorFlow.

    `threads`: processor threads that TensorFlow may use; all if None. They run operations side by
    side if `in_shares`, as `SegmentLSTM` wants it, and work on one operation together otherwise.
    Both take effect only before TensorFlow is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its log is of no use to people here
    # TensorFlow leaves oneDNN off on processors without AVX-512. On an EPYC with AVX2 only, it
    # makes training 1.3 times as fast on one thread, and 1.2 times on two.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    threads = threads or _usable_cores()
    side_by_side, together = (threads, 1) if in_shares else (1, threads)
    imported = "tensorflow" in sys.modules
    try:
        with _quiet_stderr():
            config = importlib.import_module("tensorflow").config
            if not imported:
                config.threading.set_inter_op_parallelism_threads(side_by_side)
                config.threading.set_intra_op_parallelism_threads(together)
            config.list_logical_devices()  # logs when it is called first
            return importlib.import_module(f"charrnn.training.{module}")
    except ModuleNotFoundError as error:
        raise OptionError(needs_extra("This command", error.name, "train")) from error


def _usable_cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """TensorFlow's C++ code prints to standard error before its log level is set."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
