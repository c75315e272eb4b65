"""One LSTM step over a batch of lanes, in ONNX Runtime."""

from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # pyright: ignore

from charrnn.errors import ModelError
from charrnn.spec import ModelSpec

# What ONNX Runtime raises over a graph it cannot run; its errors share no base class.
_REFUSALS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    UnicodeDecodeError,
)


class Engine:
    """Runs the graph in `model.onnx`: one character in, the next one's logits out.

    A lane is one text in the making. Lanes share a step and nothing else: what a lane gets does
    not depend on its neighbours, nor on how many there are. Safe to use from many threads, and
    the GIL is released while a step runs.
    """

    def __init__(self, graph: bytes, spec: ModelSpec, threads: int = 1):
        """Raises ModelError when ONNX Runtime refuses `graph` or it does not fit `spec`."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised, not printed
        try:
            self._session = ort.InferenceSession(graph, options, ["CPUExecutionProvider"])
        except _REFUSALS as error:
            raise ModelError(f"ONNX Runtime cannot load the graph: {_first_line(error)}") from error
        self.spec = spec
        _check_signature(self._session, spec)

    def zero_state(self, lanes: int) -> np.ndarray:
        """The state of lanes that have read nothing, float32 `(B, S)`; a row is a lane's own."""
        return np.zeros((lanes, self.spec.state_size), np.float32)

    def step(self, ids: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Let each lane read one character: ids int32 `(B,)`, state float32 `(B, S)` ->
        logits float32 `(B, V)` of the character that follows, and the new state `(B, S)`."""
        outputs: Any = self._session.run(["logits", "next_state"], {"ids": ids, "state": state})
        logits, state = outputs
        return logits, state

    def lanes(self, logits: np.ndarray, state: np.ndarray) -> "Lanes":
        """Lanes that go on from `state` `(B, S)`, whose last step gave `logits` `(B, V)`."""
        return Lanes(self._session, logits, state)

    def read(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Let fresh lanes read a text each, ids int32 `(B, T)` -> logits `(B, V)` of the character
        that follows, and the state `(B, S)`. Of no text at all, the logits are zero."""
        logits = np.zeros((len(ids), self.spec.characters), np.float32)
        state = self.zero_state(len(ids))
        for step in np.ascontiguousarray(ids.T):
            logits, state = self.step(step, state)
        return logits, state


class Lanes:
    """Lanes that read on and on, in memory that stays where it is. `Engine.step`, which hands
    arrays back and forth, takes a tenth longer for one lane."""

    def __init__(self, session: ort.InferenceSession, logits: np.ndarray, state: np.ndarray):
        self.logits = np.array(logits)  # float32 (B, V): of the characters that follow
        self._session = session
        self._ids = np.zeros(len(state), np.int32)
        # Each step's new state is the next one's old state.
        self._states = np.array(state), np.empty_like(state)
        self._now, self._next = (self._bind(*self._states), self._bind(*self._states[::-1]))

    def read(self, ids: np.ndarray) -> None:
        """Let each lane read one character, ids int32 `(B,)`; then `logits` are new."""
        self._ids[:] = ids
        self._session.run_with_iobinding(self._now)
        self._now, self._next = self._next, self._now

    def _bind(self, state: np.ndarray, next_state: np.ndarray) -> ort.IOBinding:
        binding = self._session.io_binding()
        binding.bind_cpu_input("ids", self._ids)
        binding.bind_cpu_input("state", state)
        for name, array in (("logits", self.logits), ("next_state", next_state)):
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return binding


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _check_signature(session: ort.InferenceSession, spec: ModelSpec) -> None:
    expected = {
        "ids": ("tensor(int32)", ["lanes"]),
        "state": ("tensor(float)", ["lanes", spec.state_size]),
        "logits": ("tensor(float)", ["lanes", spec.characters]),
        "next_state": ("tensor(float)", ["lanes", spec.state_size]),
    }
    found = {
        node.name: (node.type, node.shape)
        for node in (*session.get_inputs(), *session.get_outputs())
    }
    if found != expected:
        raise ModelError(f"The graph's inputs and outputs are {found}, the spec needs {expected}.")
