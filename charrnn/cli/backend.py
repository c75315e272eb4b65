"""Imports the training half of charrnn, and TensorFlow with it, only when a command needs it."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charrnn.errors import OptionError, needs_extra


def with_keras(module: str, threads: int | None = None) -> Any:
    """The module of `charrnn.training` with this name. Raises OptionError without TensorFlow.

    `threads`: processor threads that TensorFlow may use; all if None. It takes effect only in the
    first call of a process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its log is of no use to people here
    # TensorFlow leaves oneDNN off on processors without AVX-512. Measured with AVX2 on one thread,
    # 2 x 512 units: training reads 2,600 characters a second with it, and 1,300 without.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of oneDNN, and of NumPy's BLAS
    try:
        with _quiet_stderr():
            config = importlib.import_module("tensorflow").config
            if threads:
                config.threading.set_intra_op_parallelism_threads(threads)
                config.threading.set_inter_op_parallelism_threads(1)
            config.list_logical_devices()  # logs when it is called first
            return importlib.import_module(f"charrnn.training.{module}")
    except ModuleNotFoundError as error:
        raise OptionError(needs_extra("This command", error.name, "train")) from error


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
