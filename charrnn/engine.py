"""LSTM steps over a batch of lanes, in ONNX Runtime."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # pyright: ignore

from charrnn.errors import ModelError
from charrnn.sampling import LaneSampling
from charrnn.spec import ModelSpec

ort.disable_telemetry_events()  # some builds of it report to their maker

# What ONNX Runtime raises over a graph it cannot run; its errors share no base class.
_REFUSALS = (
    MemoryError,
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    UnicodeDecodeError,
)


class Engine:
    """Runs the graph in `model.onnx`: one character in, N characters out, each chosen from the
    logits that the one before it gave.

    A lane is one text in the making. Lanes share a step and nothing else: what a lane gets does
    not depend on its neighbours, nor on how many there are. Safe to use from many threads, and
    the GIL is released while the graph runs. All methods raise ModelError when it cannot run.
    """

    def __init__(self, graph: bytes, spec: ModelSpec, threads: int = 1):
        """Raises ModelError when ONNX Runtime refuses `graph` or it does not fit `spec`."""
        # The key under which a graph would name a file to take weights from: a stranger's could
        # name any file of this machine.
        if b"location" in graph:
            raise ModelError("The graph keeps its weights in another file, not in itself.")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised, not printed
        try:
            # Without a fallback, which would be announced on standard output.
            self._session = ort.InferenceSession(
                graph, options, ["CPUExecutionProvider"], enable_fallback=0
            )
            found = {
                node.name: (node.type, node.shape)
                for node in (*self._session.get_inputs(), *self._session.get_outputs())
            }
        except _REFUSALS as error:
            raise ModelError(f"ONNX Runtime cannot load the graph: {_first_line(error)}") from error
        self.spec = spec
        _check_signature(found, spec)

    def zero_state(self, lanes: int) -> np.ndarray:
        """The state of lanes that have read nothing, float32 `(R, S)`. A stateful model's has a
        row for each lane; another's a row for each window that has begun, so none yet."""
        return np.zeros((lanes if self.spec.stateful else 0, self.spec.state_size), np.float32)

    def step(self, ids: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Let each lane read one character: ids int32 `(B,)`, state float32 `(R, S)` ->
        logits float32 `(B, V)` of the character that follows, and the new state."""
        # The graph chooses, too, but what it chooses is not asked for.
        anyhow = np.zeros((len(ids), 1), np.float32)
        sampling = LaneSampling(anyhow, anyhow, anyhow.astype(np.int64))
        logits, state = self._run(["logits", "next_state"], ids, state, anyhow.T, sampling)
        return logits, state

    def read(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Let fresh lanes read a text each, ids int32 `(B, T)` -> logits `(B, V)` of the character
        that follows, and the state. Of no text at all, the logits are zero."""
        logits = np.zeros((len(ids), self.spec.characters), np.float32)
        state = self.zero_state(len(ids))
        for step in np.ascontiguousarray(ids.T):
            logits, state = self.step(step, state)
        return logits, state

    def write(
        self,
        ids: np.ndarray,
        state: np.ndarray,
        uniform: np.ndarray,
        sampling: LaneSampling,
        bias: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Let each lane read one character, ids int32 `(B,)`, and write N: chosen by `uniform`
        numbers in [0, 1), float32 `(N, B)`, with `bias` `(B, V)` added to the logits
        -> ids int32 `(N, B)`, and the state, in which the last of them is not yet read."""
        chosen, state = self._run(["chosen", "next_state"], ids, state, uniform, sampling, bias)
        if chosen.min(initial=0) < 0 or chosen.max(initial=0) >= self.spec.characters:
            raise ModelError("The graph chose an unknown character.")
        return chosen, state

    def _run(
        self,
        wanted: list[str],
        ids: np.ndarray,
        state: np.ndarray,
        uniform: np.ndarray,
        sampling: LaneSampling,
        bias: np.ndarray | None = None,
    ) -> Any:
        if bias is None:
            bias = np.zeros((len(ids), self.spec.characters), np.float32)
        inputs = {
            "ids": ids,
            "state": state,
            "uniform": uniform[..., np.newaxis],
            "sharpness": sampling.sharpness,
            "top_p": sampling.top_p,
            "last_rank": sampling.last_rank,
            "bias": bias,
        }
        try:
            result, next_state = map(np.asarray, self._session.run(wanted, inputs))
        except _REFUSALS as error:
            raise ModelError(f"ONNX Runtime cannot run the graph: {_first_line(error)}") from error
        rows = len(ids) if self.spec.stateful else len(next_state)
        shapes = {"chosen": uniform.shape, "logits": bias.shape}
        if (result.shape, next_state.shape) != (shapes[wanted[0]], (rows, self.spec.state_size)):
            raise ModelError("What the graph gives is not of the shape that the spec says.")
        return result, next_state


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _check_signature(found: Mapping[str, tuple[str, list[str | int]]], spec: ModelSpec) -> None:
    size, characters = spec.state_size, spec.characters
    expected = {
        "ids": ("tensor(int32)", ["lanes"]),
        "state": ("tensor(float)", ["rows", size]),
        "uniform": ("tensor(float)", ["steps", "lanes", 1]),
        "sharpness": ("tensor(float)", ["lanes", 1]),
        "top_p": ("tensor(float)", ["lanes", 1]),
        "last_rank": ("tensor(int64)", ["lanes", 1]),
        "bias": ("tensor(float)", ["lanes", characters]),
        "chosen": ("tensor(int32)", ["steps", "lanes"]),
        "logits": ("tensor(float)", ["lanes", characters]),
        "next_state": ("tensor(float)", ["next_rows", size]),
    }
    if found != expected:
        raise ModelError(f"The graph's inputs and outputs are {found}, the spec needs {expected}.")
